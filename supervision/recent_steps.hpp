#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace ziyu::supervision {

/// What a worker's latest jobs have each added to its private memory, bytes. Allocators take
/// pages in lumps: many jobs of a steady leak add nothing, and one adds all of it. So the next
/// job is expected to add what the largest of many has, not what the last one has. Pure.
class recent_steps {
public:
  /// So many jobs are remembered.
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
