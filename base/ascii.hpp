#pragma once

#include <string>
#include <string_view>

namespace ziyu {

/// `text` with the letters A to Z in lower case; all other bytes are kept, whatever the locale.
std::string ascii_lower(std::string_view text);

/// The value of a hexadecimal digit, in upper or lower case; −1 for any other byte.
constexpr int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

/// True if `text` is the number of a port: 1 to 65535, digits only, at most five.
bool is_port(std::string_view text);

} // namespace ziyu
