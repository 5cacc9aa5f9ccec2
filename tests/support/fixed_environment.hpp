#pragma once

#include "base/clock.hpp"

namespace ziyu::test {

/// Time that stands still unless it is moved, and a generator with a seed. For tests on one
/// thread.
class fixed_environment : public environment {
public:
  explicit fixed_environment(uint64_t seed = 1) : seed_(seed) {}

  int64_t wall_ms() override { return 1'700'000'000'000 + us / 1000; }
  int64_t monotonic_us() override { return us; }

  /// splitmix64
  uint64_t random() override {
    auto z = (seed_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  int64_t us = 1'000'000;

private:
  uint64_t seed_;
};

} // namespace ziyu::test
