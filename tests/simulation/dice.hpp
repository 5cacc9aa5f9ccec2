#pragma once

#include <cstdint>
#include <string_view>

namespace ziyu::simulation {

/// A stream of random numbers (splitmix64) that depends only on a seed and a name. So one source of
/// chance can be removed without changing the others.
class dice {
public:
  explicit dice(uint64_t seed, std::string_view stream = {}) : state_(seed) {
    for (const auto c : stream)
      state_ = (state_ ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    next();
  }

  uint64_t next() {
    auto z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  /// 0 up to, not including, `limit`. @pre limit > 0
  uint64_t below(uint64_t limit) { return next() % limit; }

  /// From `low` up to and including `high`.
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(below(static_cast<uint64_t>(high - low) + 1));
  }

  bool one_in(uint64_t n) { return below(n) == 0; }

private:
  uint64_t state_;
};

} // namespace ziyu::simulation
