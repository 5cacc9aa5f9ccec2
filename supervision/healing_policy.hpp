#pragma once

#include "base/error.hpp"
#include "supervision/leak_cause.hpp"
#include "supervision/leak_judge.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace ziyu::supervision {

/// The rungs of the ladder, in order.
enum class rung : uint8_t { none, trim, replace, kill };
std::string_view to_string(rung x) noexcept;

/// What to do with one worker, and why (a sentence with the numbers).
struct healing_step {
  rung action = rung::none;
  std::string reason;
  bool last_resort = false; ///< The next job may reach the budget: the worker takes no job.
};

/// Decides about one worker after each of its jobs and readings. Pure.
class healing_policy {
public:
  struct settings {
    bool enabled = true;
    uint64_t budget_bytes = 0;     ///< Private; replaced before this.
    uint64_t hard_limit_bytes = 0; ///< Private; killed at this.
    double replace_at = 0.5;       ///< See configs::config::healing.
    uint32_t forecast_jobs = 4;
    uint64_t min_life_jobs = 4;
    double max_unavailable = 0.5;
    /// Share of `replace_at` that is subtracted at random for each worker, 0..1, so that workers of
    /// one age with the same leak are replaced one after the other. Nothing is ever added.
    double jitter = 0.2;
  };

  /// One worker's state.
  struct worker {
    leak_judge::verdict verdict;
    uint64_t baseline_bytes = 0; ///< Private, when it was ready.
    uint64_t private_bytes = 0;  ///< Between two jobs: the memory that it keeps.
    /// At present, a running job included; 0: as `private_bytes`. Only the hard limit considers it:
    /// memory that a job takes and gives back is not growth.
    uint64_t present_bytes = 0;
    uint64_t step_bytes = 0;      ///< The largest amount that one of its latest jobs has added.
    int64_t live_grown_bytes = 0; ///< What it has allocated and not freed since it was ready.
    /// Growth of its GPU allocator's reservation since it was ready; compared with the same room as
    /// private memory.
    uint64_t gpu_grown_bytes = 0;
    double chance = 0;    ///< A random number for its life, 0 to 1.
    bool trimmed = false; ///< The trim rung was tried and was not enough.
  };

  explicit healing_policy(settings x) : settings_(x) {}

  /// Refuses (`invalid_config`, with the numbers) a budget that a fresh worker's own memory nearly
  /// fills.
  expected<void> check_baseline(uint64_t baseline_bytes) const;

  /// kill: present ≥ hard limit. replace: growth is confirmed, the worker is older than
  /// min_life_jobs, and either (private − baseline), or growth on the GPU, ≥ replace_at · (1 −
  /// jitter · chance) · (budget − baseline) or jobs_left ≤ forecast_jobs. replace, whatever the
  /// verdict: one more step like the largest recent one would reach the budget. trim comes first
  /// for hoarding, and for memory that is free by the worker's own counters. none: when disabled.
  healing_step decide(const worker& x) const;

  bool enabled() const { return settings_.enabled; }

  /// The last resort: whether one more job that adds `step_bytes` would reach the budget (0: there
  /// is no budget).
  static bool next_reaches_budget(uint64_t private_bytes, uint64_t step_bytes,
                                  uint64_t budget_bytes);

  /// As `next_reaches_budget`, for a reading that is not exact. A worker's own report leaves out
  /// shared pages that it has copied since the supervisor's latest reading; a 32nd of the budget is
  /// reserved for those.
  static bool may_reach_budget(uint64_t private_bytes, uint64_t step_bytes, uint64_t budget_bytes);

  /// How many jobs that add `step_bytes` each may run together without reaching the budget, by the
  /// same reading. At least 1: whether that one may run is for `may_reach_budget`.
  static uint32_t jobs_of_room(uint64_t private_bytes, uint64_t step_bytes, uint64_t budget_bytes);

  /// A worker takes no job that may reach this; 0: healing is off, or there is no budget.
  uint64_t budget_bytes() const { return settings_.enabled ? settings_.budget_bytes : 0; }

  /// How many of `slots` may be without their own worker at once because of replacements.
  uint32_t max_replacing(uint32_t slots) const;

private:
  settings settings_;
};

} // namespace ziyu::supervision
