#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace ziyu::supervision {

/// Names of growth, as in `docs/leak-judgement.md`.
enum class growth : uint8_t {
  warming_up, ///< Too few jobs to say.
  healthy,
  suspected, ///< Grows, but not yet beyond doubt.
  leak,      ///< Live bytes grow per job.
  hoarding,  ///< Private memory grows per job while live bytes do not.
};
std::string_view to_string(growth x) noexcept;

/// One finished job of a worker, in bytes.
struct job_memory {
  uint64_t live = 0;          ///< After the job.
  uint64_t private_bytes = 0; ///< After the job.
};

/// Judges one generation of one worker: robust slope of live bytes (and of
/// private memory) per job, Theil–Sen estimator (Sen 1968) with its one-sided
/// lower confidence bound from Kendall's variance, after warm-up, against a
/// minimum effect. Jobs are the x-axis, never seconds. Pure; not thread-safe.
class leak_judge {
public:
  struct settings {
    uint32_t warmup_jobs = 3;
    uint32_t min_jobs = 5;
    uint32_t window_jobs = 64;
    uint64_t min_effect_bytes = 512;
    double confidence = 0.99;
    uint64_t budget_bytes = 0; ///< Of private memory; 0: no forecast.
    /// Private memory is read in pages and steps, and an allocator's arenas settle
    /// slowly: smaller total growth than this over the window is never hoarding;
    /// nor is growth below a tenth of the budget.
    uint64_t hoarding_min_total_bytes = 4u << 20;
  };

  struct slope {
    double bytes_per_job = 0;    ///< Median of the pairwise slopes.
    double lower = 0, upper = 0; ///< Confidence bounds.
  };

  struct verdict {
    growth kind = growth::warming_up;
    slope live, private_memory;
    uint64_t jobs = 0; ///< Finished by this generation.
    /// Jobs until `budget_bytes` at the present slope: most likely, and at the
    /// earliest (upper bound of the slope). Empty when it does not grow.
    std::optional<uint64_t> jobs_left, jobs_left_earliest;
  };

  explicit leak_judge(settings x);

  /// Takes the reading after one more job and judges.
  verdict observe(job_memory x);

  const verdict& last() const { return last_; }

private:
  struct point {
    uint64_t job;
    job_memory memory;
  };
  settings settings_;
  std::deque<point> window_;
  uint64_t jobs_ = 0;
  verdict last_;
};

/// The Theil–Sen slope of (x, y) with two-sided confidence bounds at
/// 2·confidence − 1. @pre same sizes, at least 2 points, x strictly increasing.
leak_judge::slope theil_sen(const std::deque<double>& x, const std::deque<double>& y,
                            double confidence);

} // namespace ziyu::supervision
