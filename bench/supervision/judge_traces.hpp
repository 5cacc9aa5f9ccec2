#pragma once

#include "supervision/leak_judge.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace ziyu::bench {

/// What one job, or one batch, leaves: the judge's input, and what other systems look at.
struct reading {
  supervision::job_memory memory;
  uint64_t rss = 0;      ///< Private and shared, after the job.
  uint64_t peak_rss = 0; ///< Highest so far, also within jobs.
};

/// The truth about a trace.
enum class truth : uint8_t { healthy, leak, hoarding, mixed };

/// A worker's life, labelled.
struct trace {
  std::string kind;
  truth what = truth::healthy;
  uint64_t onset = 0;       ///< First reading (from 1) that leaks or hoards; 0: none.
  double bytes_per_job = 0; ///< Of the leak, else of the hoarding; mean over its jobs.
  bool beyond = false; ///< Healthy, but of a kind that is taken for a leak unless it is declared.
  std::vector<reading> jobs;
};

/// All kinds that `generate` knows.
std::vector<std::string> healthy_kinds();
std::vector<std::string> growing_kinds();
std::vector<std::string> beyond_kinds();

/// Generates a trace: the inputs (one size, few, many, or any; bad ones; batches), the live bytes,
/// and the private memory that an allocator makes of them (pages, extents, settling arenas,
/// high-water marks, copy-on-write). `bytes_per_job` is for growing kinds. The trace ends when a
/// worker would reach `budget`.
trace generate(const std::string& kind, double bytes_per_job, uint64_t budget, uint64_t seed);

} // namespace ziyu::bench
