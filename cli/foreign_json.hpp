#pragma once

#include <nlohmann/json.hpp>

#include <cstddef>
#include <string_view>

namespace ziyu::cli {

/// Whether brackets nest deeper than 64. A document is copied and written by recursion, so its
/// depth can exhaust the stack: a record of 300 kB is enough. Ziyu's own nest less than 12 deep.
inline bool nests_too_deep(std::string_view text) {
  constexpr size_t most = 64;
  size_t depth = 0;
  auto in_text = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = text[i];
    if (in_text) {
      i += c == '\\';
      in_text = c != '"';
    } else if (c == '"') {
      in_text = true;
    } else if (c == '[' || c == '{') {
      if (++depth > most)
        return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

/// JSON that anybody may have written (a record, an answer over HTTP); discarded when it is none
/// or nests too deep.
template <class Json = nlohmann::json>
Json parse_foreign(std::string_view text) {
  return nests_too_deep(text) ? Json(nlohmann::json::value_t::discarded)
                              : Json::parse(text, nullptr, false);
}

} // namespace ziyu::cli
