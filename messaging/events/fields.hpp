#pragma once

// How events become JSON and how they are read again. A struct lists its values once, in
// `static void fields(self, f)`, which calls `f(name, value)` for each; both directions use
// that list.

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace ziyu::events {

/// Further numbers of an event, by names with units in them.
using numbers = std::map<std::string, double>;

namespace detail {

template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};

template <class T>
struct is_vector : std::false_type {};
template <class T>
struct is_vector<std::vector<T>> : std::true_type {};

struct ignore {
  template <class T>
  void operator()(const char*, T&&) {}
  template <class T>
  void part(T&&) {}
  template <class T>
  void rest(T&&) {}
};

template <class T>
concept has_fields = requires(T& x, ignore f) {
  T::fields(x, f);
};

/// A value with a form of its own: `nlohmann::json to_json() const` and
/// `void read(const nlohmann::json&)`.
template <class T>
concept has_form = requires(T& x, const nlohmann::json& from) {
  x.to_json();
  x.read(from);
};

template <class T>
nlohmann::json encoded(const T& x);

class writer {
public:
  explicit writer(nlohmann::json& to) : to_(to) {}

  template <class T>
  void operator()(const char* name, const T& x) {
    if constexpr (is_optional<T>::value) {
      if (x)
        to_[name] = encoded(*x);
    } else {
      to_[name] = encoded(x);
    }
  }

  /// The values of `x` beside those of the struct that contains it.
  template <class T>
  void part(const T& x) {
    T::fields(x, *this);
  }

  void rest(const numbers& x) {
    for (const auto& [name, value] : x)
      to_[name] = value;
  }

private:
  nlohmann::json& to_;
};

template <class T>
nlohmann::json encoded(const T& x) {
  if constexpr (has_form<T>) {
    return x.to_json();
  } else if constexpr (has_fields<T>) {
    auto result = nlohmann::json::object();
    writer to{result};
    T::fields(x, to);
    return result;
  } else if constexpr (is_vector<T>::value) {
    auto result = nlohmann::json::array();
    for (const auto& item : x)
      result.push_back(encoded(item));
    return result;
  } else {
    return x;
  }
}

/// False, and `x` unchanged, if `from` is of another type.
template <class T>
bool decode(const nlohmann::json& from, T& x);

/// Reads what others wrote, who may be of another version: a value that is missing, or of another
/// type, leaves the default.
class reader {
public:
  explicit reader(const nlohmann::json& from) : from_(from) {}

  template <class T>
  void operator()(const char* name, T& x) {
    known_.emplace_back(name);
    if (const auto i = from_.find(name); i != from_.end())
      decode(*i, x);
  }

  template <class T>
  void part(T& x) {
    T::fields(x, *this);
  }

  /// All numbers that no field has taken. To be called last.
  void rest(numbers& x) {
    if (!from_.is_object())
      return;
    for (const auto& [name, value] : from_.items())
      if (value.is_number() && std::find(known_.begin(), known_.end(), name) == known_.end())
        x[name] = value.get<double>();
  }

private:
  const nlohmann::json& from_;
  std::vector<std::string> known_;
};

/// Bound for the integers that are read, so that sums of them cannot overflow.
constexpr double largest_integer = 1e15;

/// A double as the integer next to it that `T` can hold, within ±10^15; 0 for NaN.
template <class T>
T clamped(double x) {
  if (std::isnan(x))
    return 0;
  const auto lowest = static_cast<double>(std::numeric_limits<T>::min());
  const auto highest = static_cast<double>(std::numeric_limits<T>::max());
  return static_cast<T>(std::clamp(std::round(x), std::max(lowest, -largest_integer),
                                   std::min(highest, largest_integer)));
}

template <class T>
bool decode(const nlohmann::json& from, T& x) {
  if constexpr (std::is_same_v<T, nlohmann::json>) {
    x = from;
    return true;
  } else if constexpr (std::is_same_v<T, bool>) {
    x = from.is_boolean() ? from.get<bool>() : x;
    return from.is_boolean();
  } else if constexpr (std::is_floating_point_v<T>) {
    const auto good = from.is_number() && std::isfinite(from.get<double>());
    x = good ? from.get<T>() : x;
    return good;
  } else if constexpr (std::is_integral_v<T>) {
    x = from.is_number() ? clamped<T>(from.get<double>()) : x;
    return from.is_number();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (from.is_string())
      x = from.get<std::string>();
    return from.is_string();
  } else if constexpr (is_optional<T>::value) {
    typename T::value_type value{};
    const auto good = decode(from, value);
    if (good)
      x = std::move(value);
    return good;
  } else if constexpr (is_vector<T>::value) {
    if (!from.is_array())
      return false;
    x.clear();
    for (const auto& item : from)
      decode(item, x.emplace_back());
    return true;
  } else if constexpr (has_form<T>) {
    x.read(from);
    return true;
  } else {
    reader with{from};
    T::fields(x, with);
    return from.is_object();
  }
}

} // namespace detail

} // namespace ziyu::events
