#pragma once

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

namespace ziyu::cli {

// Fields of JSON from elsewhere: a field that is missing or of another type reads as null, empty or
// 0.

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

inline double real_from(const nlohmann::json& x) {
  return x.is_number() && std::isfinite(x.get<double>()) ? x.get<double>() : 0;
}

/// Rounded, and within ±10^15, so that sums cannot overflow.
inline int64_t whole_from(const nlohmann::json& x) {
  return static_cast<int64_t>(std::clamp(std::round(real_from(x)), -1e15, 1e15));
}

inline double real_in(const nlohmann::json& x, const char* key) { return real_from(field(x, key)); }
inline int64_t whole_in(const nlohmann::json& x, const char* key) {
  return whole_from(field(x, key));
}
/// Never negative.
inline uint64_t count_in(const nlohmann::json& x, const char* key) {
  return static_cast<uint64_t>(std::max<int64_t>(0, whole_in(x, key)));
}

} // namespace ziyu::cli
