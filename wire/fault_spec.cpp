#include "wire/fault_spec.hpp"

#include "base/bytes.hpp"

#include <charconv>

namespace ziyu::wire {

namespace {

constexpr std::string_view known = "retain_tensors[:bytes], retain_images, reload_model, "
                                   "native_malloc[:bytes], crash, hang, slow:ms";

tl::unexpected<error> unknown(std::string_view text) {
  return fail(errc::invalid_config,
              "\"" + std::string{text} + "\" is no fault; known are: " + std::string{known});
}

} // namespace

expected<fault_spec> parse_fault(std::string_view text) {
  using kind = fault_spec::kind;
  const auto colon = text.find(':');
  const auto name = text.substr(0, colon);
  const auto has_value = colon != std::string_view::npos;
  const auto value = has_value ? text.substr(colon + 1) : std::string_view{};
  fault_spec x;
  if (name == "retain_tensors" || name == "native_malloc") {
    x.what = name == "retain_tensors" ? kind::retain_tensors : kind::native_malloc;
    x.bytes = name == "retain_tensors" ? 0 : uint64_t{1} << 20;
    if (has_value) {
      auto bytes = parse_bytes(value);
      if (!bytes)
        return tl::unexpected(bytes.error());
      x.bytes = *bytes;
    }
    return x;
  }
  if (name == "slow") {
    x.what = kind::slow;
    auto [end, status] = std::from_chars(value.data(), value.data() + value.size(), x.ms);
    if (status != std::errc{} || end != value.data() + value.size())
      return unknown(text);
    return x;
  }
  if (has_value)
    return unknown(text);
  if (name == "retain_images")
    x.what = kind::retain_images;
  else if (name == "reload_model")
    x.what = kind::reload_model;
  else if (name == "crash")
    x.what = kind::crash;
  else if (name == "hang")
    x.what = kind::hang;
  else if (!name.empty())
    return unknown(text);
  return x;
}

} // namespace ziyu::wire
