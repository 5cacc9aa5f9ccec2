#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace ziyu {

/// Parses an amount of bytes: a whole number with an optional unit `B`, `kB`,
/// `MB`, `GB` (powers of 1000) or `KiB`, `MiB`, `GiB` (powers of 1024), e.g.,
/// "6MiB". Case and one space before the unit do not matter.
expected<uint64_t> parse_bytes(std::string_view text);

/// Formats for people: "0 B", "4392 B", "6.0 MiB" (powers of 1024), in 9 columns at most.
std::string format_bytes(int64_t bytes);

} // namespace ziyu
