#include "base/bytes.hpp"

#include "base/ascii.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace ziyu {

namespace {

struct unit {
  std::string_view name;
  uint64_t factor;
};

constexpr std::array units{
  unit{"", 1},
  unit{"b", 1},
  unit{"kb", 1'000},
  unit{"mb", 1'000'000},
  unit{"gb", 1'000'000'000},
  unit{"kib", uint64_t{1} << 10},
  unit{"mib", uint64_t{1} << 20},
  unit{"gib", uint64_t{1} << 30},
};

} // namespace

expected<uint64_t> parse_bytes(std::string_view text) {
  uint64_t number = 0;
  auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string rest{end, text.data() + text.size()};
  if (!rest.empty() && rest.front() == ' ')
    rest.erase(0, 1);
  rest = ascii_lower(rest);
  for (const auto& x : units)
    if (status == std::errc{} && rest == x.name) {
      uint64_t result = 0;
      if (__builtin_mul_overflow(number, x.factor, &result))
        break;
      return result;
    }
  return fail(errc::invalid_config, "\"" + std::string{text}
                                      + "\" is not an amount of bytes such as 4096, 64KiB or 6MiB");
}

std::string format_bytes(int64_t bytes) {
  const auto magnitude = std::abs(static_cast<double>(bytes));
  char buffer[32];
  if (magnitude < 10'000) {
    std::snprintf(buffer, sizeof buffer, "%lld B", static_cast<long long>(bytes));
    return buffer;
  }
  constexpr std::array names{"KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes) / 1024;
  size_t i = 0;
  while (std::abs(value) >= 999.95 && i + 1 < names.size()) {
    value /= 1024;
    ++i;
  }
  std::snprintf(buffer, sizeof buffer, "%.1f %s", value, names[i]);
  return buffer;
}

} // namespace ziyu
