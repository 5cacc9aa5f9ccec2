#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ziyu::cli {

/// The measured input for sizing a container, in bytes.
struct sizing_input {
  uint64_t container = 0;   ///< The container's limit.
  uint64_t fork_server = 0; ///< Resident; shared by all workers.
  uint64_t control = 0;     ///< The control process, jobs in flight included.
  uint64_t peak = 0;        ///< The most private memory that one worker had.
  uint64_t largest_job = 0; ///< The most that a single job added to a worker.
  double leak_per_job = 0;  ///< 0: no leak.
  uint32_t cores = 1;
  uint32_t slots = 0; ///< As requested; 0: as many as fit, but no more than cores.
};

/// A configuration that keeps the container below the share at which intake is reduced, even when
/// each worker is at its budget.
struct sizing {
  uint64_t budget = 0, hard_limit = 0; ///< Whole MiB.
  uint64_t max_pixels = 0;             ///< Largest image that fits between the two.
  uint32_t slots = 0;                  ///< 0: not even one slot fits.
  uint32_t standbys = 1;
  uint64_t container = 0; ///< As given.
  uint64_t needed = 0;    ///< The smallest container for `slots` (for one slot if none fits).
  bool fits = false;
  std::vector<std::string> formula; ///< How each number was computed, a line each.
};

/// Number of jobs that a leaking worker should do before it is replaced.
inline constexpr uint32_t leaking_life_jobs = 20;

/// Pure.
///
///     room       = max(32 MiB, peak / 4, 2 · 20 jobs · leak per job)
///     budget     = peak + room
///     slots      = ⌊(0.8 · container − fork server − control) / budget⌋ − 1 standby
///     hard limit = budget + max(budget / 2, largest job, what the container leaves for an image
///                  of the most pixels)
///     max pixels = configs::fitting_pixels(budget, hard limit)
sizing recommend(const sizing_input& x);

/// "96MiB", or "1.5 GiB" as "1536MiB": in the configuration's form.
std::string config_bytes(uint64_t x);

/// The lines for the configuration file.
std::string config_lines(const sizing& x);

} // namespace ziyu::cli
