#include "supervision/wire/fault_spec.hpp"

#include "base/bytes.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace ziyu::wire {

namespace {

constexpr std::string_view known =
  "retain_tensors[:bytes], retain_images[:bytes], reload_model, native_malloc[:bytes], "
  "slow_leak:bytes:every, thread_local[:bytes], fragment[:bytes], gpu_cache[:bytes], crash, "
  "hang, slow:ms, garbage, oom";

tl::unexpected<error> unknown(std::string_view text) {
  return fail(errc::invalid_config,
              "\"" + std::string{text}
                + "\" is not a fault; known faults are: " + std::string{known});
}

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t x = 0;
  const auto end = text.data() + text.size();
  auto [stop, status] = std::from_chars(text.data(), end, x);
  if (status != std::errc{} || stop != end)
    return std::nullopt;
  return x;
}

/// What may follow a fault's name.
enum class takes { nothing, optional_bytes, ms, bytes_and_every };

struct entry {
  std::string_view name;
  fault_spec::kind what;
  takes value;
  uint64_t bytes = 0; ///< The default when no amount is given.
};

using kind = fault_spec::kind;
constexpr uint64_t mib = 1 << 20;
constexpr entry table[] = {
  {"retain_tensors", kind::retain_tensors, takes::optional_bytes},
  {"retain_images", kind::retain_images, takes::optional_bytes},
  {"reload_model", kind::reload_model, takes::nothing},
  {"native_malloc", kind::native_malloc, takes::optional_bytes, mib},
  {"slow_leak", kind::slow_leak, takes::bytes_and_every},
  {"thread_local", kind::of_thread, takes::optional_bytes, mib},
  {"fragment", kind::fragment, takes::optional_bytes, mib},
  {"gpu_cache", kind::gpu_cache, takes::optional_bytes, mib},
  {"crash", kind::crash, takes::nothing},
  {"hang", kind::hang, takes::nothing},
  {"slow", kind::slow, takes::ms},
  {"garbage", kind::garbage, takes::nothing},
  {"oom", kind::oom, takes::nothing},
};

} // namespace

expected<fault_spec> parse_fault(std::string_view text) {
  fault_spec x;
  if (text.empty())
    return x;
  const auto colon = text.find(':');
  const auto has_value = colon != std::string_view::npos;
  auto value = has_value ? text.substr(colon + 1) : std::string_view{};
  const auto found = std::find_if(std::begin(table), std::end(table),
                                  [&](const entry& e) { return e.name == text.substr(0, colon); });
  if (found == std::end(table))
    return unknown(text);
  x.what = found->what;
  x.bytes = found->bytes;
  switch (found->value) {
  case takes::nothing:
    if (has_value)
      return unknown(text);
    return x;
  case takes::ms:
    if (auto ms = parse_number(value)) {
      x.ms = *ms;
      return x;
    }
    return unknown(text);
  case takes::bytes_and_every: {
    const auto second = value.find(':');
    const auto every = second == std::string_view::npos ? std::nullopt
                                                        : parse_number(value.substr(second + 1));
    if (!every || *every == 0)
      return unknown(text);
    x.every = *every;
    value = value.substr(0, second);
    break;
  }
  case takes::optional_bytes:
    if (!has_value)
      return x;
    break;
  }
  auto bytes = parse_bytes(value);
  if (!bytes)
    return tl::unexpected(bytes.error());
  x.bytes = *bytes;
  return x;
}

} // namespace ziyu::wire
