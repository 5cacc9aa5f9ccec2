#pragma once

#include "wire/frames.hpp"

#include <string>

namespace ziyu::worker {

/// The exact memory counters of this process: of the thread that made this, and of all
/// threads that were started after that (pthread_create is ours for it; jemalloc's
/// counters are per thread). For one thread.
class memory_counters {
public:
  memory_counters();

  /// Bytes allocated − deallocated since this thread began, ended threads included;
  /// 0 without jemalloc. Exact whenever the other threads rest.
  int64_t live() const {
    return allocated_ ? static_cast<int64_t>(*allocated_ - *deallocated_) + live_of_other_threads()
                      : 0;
  }

  /// All readings; allocates nothing.
  wire::memory_reading read() const;

  /// Gives what the allocator holds back to the system.
  void trim() const;

  /// The same for the arena that serves the jobs, without those that somebody made besides.
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
