#include "base/ascii.hpp"

#include <algorithm>

namespace ziyu {

std::string ascii_lower(std::string_view text) {
  std::string result{text};
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return result;
}

bool is_port(std::string_view text) {
  constexpr size_t most_digits = 5;
  constexpr int last_port = 65'535;
  if (text.empty() || text.size() > most_digits
      || text.find_first_not_of("0123456789") != std::string_view::npos)
    return false;
  const auto port = std::stoi(std::string{text});
  return port >= 1 && port <= last_port;
}

} // namespace ziyu
