#pragma once

#include "supervision/wire/frames.hpp"

#include <string>

namespace ziyu::worker {

/// The exact memory counters of this process: of the thread that made this object, and of all
/// threads that were started after it. (jemalloc's counters are per thread; this program replaces
/// pthread_create.) For one thread.
class memory_counters {
public:
  memory_counters();

  /// Bytes allocated − deallocated since this thread began, including ended threads; 0 without
  /// jemalloc. Exact while the other threads are idle.
  int64_t live() const {
    return allocated_ ? static_cast<int64_t>(*allocated_ - *deallocated_) + live_of_other_threads()
                      : 0;
  }

  /// All readings; allocates nothing.
  wire::memory_reading read() const;

  /// Returns free memory of the allocator to the system.
  void trim() const;

  /// As `trim`, but only for the arena that serves the jobs.
  void give_back() const;

private:
  static int64_t live_of_other_threads();

  const uint64_t* allocated_ = nullptr;
  const uint64_t* deallocated_ = nullptr;
  int statm_ = -1; ///< Kept open: a reading costs 10 µs.
};

/// Empty without jemalloc.
std::string jemalloc_version();

} // namespace ziyu::worker
