#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace ziyu::supervision {

/// The private memory that each job of a worker's latest attempts has added, bytes. Allocators
/// take pages in lumps: with a steady leak many jobs add nothing, and one adds all of it. So the
/// next job is expected to add as much as the largest of many, not as much as the last one. Pure.
class recent_steps {
public:
  /// How many attempts are remembered.
  static constexpr size_t attempts = 32;

  /// `jobs` that ran together have added so much, each of them as much as the others.
  void add(uint64_t bytes, uint64_t jobs = 1) {
    steps_[next_] = (bytes + jobs - 1) / jobs;
    next_ = (next_ + 1) % attempts;
  }

  /// Of one job; 0 before the first.
  uint64_t largest() const { return *std::max_element(steps_.begin(), steps_.end()); }

private:
  std::array<uint64_t, attempts> steps_{};
  size_t next_ = 0;
};

} // namespace ziyu::supervision
