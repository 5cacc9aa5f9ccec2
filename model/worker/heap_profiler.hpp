#pragma once

#include "base/error.hpp"
#include "model/worker/sampling_budget.hpp"

#include <cstdint>
#include <string>

namespace ziyu::worker {

/// The content of a dump; see `wire::profiled`.
struct heap_dump {
  std::string heap, maps;
};

/// jemalloc's heap-profile sampling of this process. It costs nothing while it is off, and a
/// bounded share of the time while it is on: see `sampling_budget`. Its own tables are jemalloc's
/// internal memory. They count neither as allocated nor as freed, so the exact live bytes of a job
/// stay exact.
///
/// While it is on, a *sampled* small object takes a page run of its own (16 KiB), so
/// private memory grows faster than live memory: judge by live bytes meanwhile.
class heap_profiler {
public:
  /// Forgets earlier samples and samples from now on, one per 2^`log2_sample` bytes
  /// on average (9 to 30). `unavailable` when jemalloc is not linked or profiling was
  /// switched off by MALLOC_CONF.
  expected<void> start(uint8_t log2_sample);

  /// Memory that was allocated since `start` and is still held. A dump above `max_bytes` is cut
  /// before the stack that exceeds it.
  expected<heap_dump> dump(size_t max_bytes = 8u << 20);

  void stop();

  /// Call both around each batch of `jobs`. The first decides whether the batch is sampled.
  void begin_batch();
  void end_batch(uint64_t jobs);

  uint64_t jobs() const { return jobs_; }                 ///< Since `start`.
  uint64_t sampled_jobs() const { return sampled_jobs_; } ///< Of these.

private:
  bool started_ = false; ///< There is something to dump.
  bool on_ = false;      ///< Sampling is on.
  bool sampling_ = false;
  uint64_t jobs_ = 0, sampled_jobs_ = 0;
  uint64_t random_ = 0x9e3779b97f4a7c15; ///< State of a xorshift generator.
  double begin_us_ = 0;
  sampling_budget budget_;
};

/// The lines of this process's /proc/self/maps that may hold code.
std::string executable_maps();

} // namespace ziyu::worker
