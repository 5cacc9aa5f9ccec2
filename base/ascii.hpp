#pragma once

#include <string>
#include <string_view>

namespace ziyu {

/// `text` with the letters A to Z in lower case; all other bytes are kept, whatever the locale.
std::string ascii_lower(std::string_view text);

/// True if `text` is the number of a port: 1 to 65535, digits only, at most five.
bool is_port(std::string_view text);

} // namespace ziyu
