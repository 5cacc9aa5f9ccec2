#pragma once

// JSON that anybody may have written: a record, an answer over HTTP. A field that is missing or of
// another type reads as null, empty or 0.

#include "messaging/record.hpp"

#include <nlohmann/json.hpp>

#include <cmath>
#include <string>
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

/// Discarded when it is no JSON or nests too deep.
template <class Json = nlohmann::json>
Json parse_foreign(std::string_view text) {
  return nests_too_deep(text) ? Json(nlohmann::json::value_t::discarded)
                              : Json::parse(text, nullptr, false);
}

/// The value of a record; null without one.
inline nlohmann::json value_of(const messaging::record& x) {
  return x.value ? parse_foreign(*x.value) : nlohmann::json{};
}

/// In one line, or in several with so many columns of `indent`. Always UTF-8.
template <class Json>
std::string dumped(const Json& x, int indent = -1) {
  return x.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// `x[key]`, or null.
inline const nlohmann::json& field(const nlohmann::json& x, const char* key) {
  static const nlohmann::json nothing;
  const auto i = x.find(key); // The end if `x` is not an object.
  return i == x.end() ? nothing : *i;
}

inline std::string text_in(const nlohmann::json& x, const char* key) {
  const auto& value = field(x, key);
  return value.is_string() ? value.get<std::string>() : std::string{};
}

inline double real_in(const nlohmann::json& x, const char* key) {
  const auto& value = field(x, key);
  return value.is_number() && std::isfinite(value.get<double>()) ? value.get<double>() : 0;
}

/// Any value for people: a text as it is, other JSON in one line, "?" if it is missing.
inline std::string shown_in(const nlohmann::json& x, const char* key) {
  const auto i = x.find(key);
  return i == x.end() ? "?" : i->is_string() ? i->get<std::string>() : dumped(*i);
}

} // namespace ziyu::cli
