#include "cli/view/svg.hpp"

#include "base/text.hpp"

#include <cmath>
#include <cstdio>

namespace ziyu::cli::svg {

std::string number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.8g", std::round(x * 100) / 100);
  return text;
}

std::string escape(const std::string& text) {
  std::string result;
  for (const auto c : to_utf8(text)) {
    const auto byte = static_cast<unsigned char>(c);
    result += c == '&'                                             ? "&amp;"
              : c == '<'                                           ? "&lt;"
              : c == '>'                                           ? "&gt;"
              : c == '"'                                           ? "&quot;"
              : byte < 0x20 && c != '\t' && c != '\n' && c != '\r' ? "\uFFFD"
                                                                   : std::string(1, c);
  }
  return result;
}

} // namespace ziyu::cli::svg
