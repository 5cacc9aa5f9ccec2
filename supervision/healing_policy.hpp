#pragma once

#include "base/error.hpp"
#include "supervision/leak_judge.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace ziyu::supervision {

/// Why a worker's memory grows: the named cause of a replacement.
enum class leak_cause : uint8_t {
  retained_tensors,
  retained_images,
  model_reloaded,
  native_allocation,
  hoarding,
  unknown,
};
std::string_view to_string(leak_cause x) noexcept;

/// What is known when a cause is to be named, bytes.
struct cause_evidence {
  growth kind = growth::healthy;
  double live_per_job = 0;    ///< Median slope of live bytes.
  double private_per_job = 0; ///< Median slope of private memory.
  double encoded_per_job = 0; ///< Mean size of the encoded images of late.
  double decoded_per_job = 0; ///< Mean size of the decoded images of late.
  uint64_t model_bytes = 0;   ///< What loading the model takes; 0: unknown.
  /// Correlation (Pearson, −1..1) of a job's live delta with its decoded size;
  /// 0 when one of them does not vary.
  double delta_image_correlation = 0;
};

/// A first guess from counters alone, documented in docs/leak-judgement.md;
/// `unknown` when the numbers do not single one out. Pure.
leak_cause name_cause(const cause_evidence& x);

/// The rungs of the ladder, in their order.
enum class rung : uint8_t { none, trim, replace, kill };
std::string_view to_string(rung x) noexcept;

/// What to do about one worker, and why (a sentence with the numbers).
struct healing_step {
  rung action = rung::none;
  std::string reason;
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
  };

  /// One worker's state.
  struct worker {
    leak_judge::verdict verdict;
    uint64_t baseline_bytes = 0;  ///< Private, when it was ready.
    uint64_t private_bytes = 0;   ///< Now.
    uint64_t last_step_bytes = 0; ///< Growth of private memory by its latest job.
    bool trimmed = false;         ///< The trim rung was tried and was not enough.
  };

  explicit healing_policy(settings x) : settings_(x) {}

  /// Refuses (`invalid_config`, with the numbers) a budget that a fresh worker's
  /// own footprint leaves no room in.
  expected<void> check_baseline(uint64_t baseline_bytes) const;

  /// kill: private ≥ hard limit. replace: confirmed growth and
  /// (private − baseline) ≥ replace_at · (budget − baseline) or jobs_left ≤
  /// forecast_jobs, after min_life_jobs; or one more step like the last would
  /// reach the budget, whatever the verdict. Hoarding is trimmed first. Disabled:
  /// always none.
  healing_step decide(const worker& x) const;

  /// How many of `slots` may be without their own worker for replacements at once.
  uint32_t max_replacing(uint32_t slots) const;

private:
  settings settings_;
};

} // namespace ziyu::supervision
