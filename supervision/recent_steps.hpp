#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace ziyu::supervision {

/// The private memory that each of a worker's latest jobs has added, bytes. Allocators take pages
/// in lumps: with a steady leak many jobs add nothing, and one adds all of it. So the next job is
/// expected to add as much as the largest of many, not as much as the last one. Pure.
class recent_steps {
public:
  /// How many jobs are remembered.
  static constexpr size_t jobs = 32;

  void add(uint64_t bytes) {
    steps_[next_] = bytes;
    next_ = (next_ + 1) % jobs;
  }

  /// 0 before the first job.
  uint64_t largest() const { return *std::max_element(steps_.begin(), steps_.end()); }

private:
  std::array<uint64_t, jobs> steps_{};
  size_t next_ = 0;
};

} // namespace ziyu::supervision
