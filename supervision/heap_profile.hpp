#pragma once

#include "base/error.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace ziyu::supervision {

/// An executable part of a file in some process's memory.
struct mapping {
  uint64_t begin = 0, end = 0; ///< Addresses, end excluded.
  uint64_t offset = 0;         ///< In the file.
  std::string path;            ///< " (deleted)" at its end: the file was replaced.
  bool operator==(const mapping&) const = default;
};

/// Reads lines of `/proc/<pid>/maps`. Keeps only executable mappings of files, at most 16384, in
/// the order of their addresses. Skips invalid lines.
std::vector<mapping> parse_maps(std::string_view text);

/// Memory that one call stack has allocated and still holds, as sampled (biased).
struct heap_stack {
  std::vector<uint64_t> addresses; ///< Return addresses, the innermost first.
  uint64_t objects = 0, bytes = 0; ///< Of the samples.
  uint32_t threads = 0;            ///< How many threads hold some of it.
  bool operator==(const heap_stack&) const = default;
};

/// One dump of jemalloc's heap profiler.
struct heap_profile {
  uint64_t sample_bytes = 0;      ///< One sample per so many bytes, on average.
  std::vector<heap_stack> stacks; ///< Each stack once.
  std::vector<mapping> mappings;  ///< From MAPPED_LIBRARIES, if the dump has it.
  uint64_t skipped_bytes = 0;     ///< Sampled bytes of stacks beyond `max_stacks`.
  bool operator==(const heap_profile&) const = default;
};

/// Bounds for a dump that is read: it takes at most about 30 MB.
struct heap_limits {
  size_t max_dump_bytes = 64u << 20;
  size_t max_stacks = 50'000;
  size_t max_depth = 256; ///< Outer frames beyond it are dropped (jemalloc: 128).
};

/// Reads jemalloc's text format `heap_v2` (jemalloc(3), "HEAP PROFILE FORMAT"):
///
///     heap_v2/<mean bytes between samples>
///       t*: <objects>: <bytes> [<objects ever>: <bytes ever>]   over all threads
///       t<thread>: ...
///     @ <address> <address> ...                                  innermost first
///       t*: <objects>: <bytes> [0: 0]
///       t<thread>: ...
///     MAPPED_LIBRARIES:
///     <lines of /proc/<pid>/maps>
///
/// `io` with the line's number for anything else, also for a dump that ends in the
/// middle of a line or of a stack.
expected<heap_profile> parse_heap_profile(std::string_view text, const heap_limits& limits = {});

/// Reads the same text without storing it: each stack is passed to `visit` and is valid during the
/// call. For processes whose memory must not grow with the text.
expected<void> visit_heap_profile(
  std::string_view text, const heap_limits& limits,
  const std::function<void(const heap_stack&, uint64_t sample_bytes)>& visit);

/// An amount of memory as estimated from samples.
struct heap_amount {
  double objects = 0, bytes = 0;
};

/// Removes the sampling's bias. jemalloc samples a Poisson process along the allocated bytes,
/// so that an object of s bytes is seen with probability 1 − e^(−s/R), R = `sample_bytes`.
/// Hence both numbers are divided by 1 − e^(−m/R), where m is the mean size of the sampled
/// objects. This is the formula of jeprof (AdjustSamples, "heap_v2"). It would be wrong for
/// stacks whose objects vary in size. But since 5.3.0 jemalloc removes the bias object by
/// object and adds it again for the mean (prof_do_unbias), so that the division gives the true
/// estimate.
heap_amount remove_bias(uint64_t objects, uint64_t bytes, uint64_t sample_bytes);

/// How much more one call stack holds than before.
struct stack_growth {
  std::vector<uint64_t> addresses; ///< Innermost first.
  double objects = 0, bytes = 0;   ///< Unbiased; negative: it holds less.
  uint32_t threads = 0;            ///< Threads that hold some of it afterwards.
};

/// Growth from `before` to `after` of one process, stack by stack, the largest
/// first; stacks that did not change are left out. Both dumps must have been sampled
/// at the same rate without a restart in between (`invalid_usage`); an empty
/// `before` stands for the moment when sampling was switched on.
expected<std::vector<stack_growth>> diff(const heap_profile& before, const heap_profile& after);

/// The log2 of the sampling rate for a leak of about `bytes_per_job` that is watched over
/// `jobs` jobs: enough samples for an estimate good to ±10 % (two standard errors). In
/// 9..19. The cost is bounded elsewhere: a worker samples only as many jobs as it can
/// afford.
uint8_t choose_sample_rate(double bytes_per_job, uint64_t jobs);

} // namespace ziyu::supervision
