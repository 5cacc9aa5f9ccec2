#pragma once

#include "wire/frames.hpp"

#include <string>

namespace ziyu::worker {

/// The exact memory counters of this process. One thread only: jemalloc's counters
/// are per thread.
class memory_counters {
public:
  memory_counters();

  /// Bytes allocated − deallocated by this thread since it began; 0 without jemalloc.
  int64_t live() const {
    return allocated_ ? static_cast<int64_t>(*allocated_ - *deallocated_) : 0;
  }

  /// All readings; allocates nothing.
  wire::memory_reading read() const;

  /// Gives what the allocator holds back to the system.
  void trim() const;

private:
  const uint64_t* allocated_ = nullptr;
  const uint64_t* deallocated_ = nullptr;
  int statm_ = -1; ///< Kept open: a reading costs 10 µs.
};

/// Empty without jemalloc.
std::string jemalloc_version();

} // namespace ziyu::worker
