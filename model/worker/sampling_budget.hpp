#pragma once

#include <algorithm>
#include <cstdint>

namespace ziyu::worker {

/// Decides which jobs are sampled, so that heap-profile sampling never costs more than a
/// given share of the time. At the finest rate a small model's job of 1 ms would lose a
/// third of its speed, a large model's job of 50 ms nothing. The cost of a sampled job is
/// not bounded; it is paid for by unsampled jobs after it. When sampling is cheap, every job
/// is sampled. The spacing is random; otherwise a leak of every k-th job could be missed.
/// Pure.
class sampling_budget {
public:
  /// @param share Share of the time for sampling.
  explicit sampling_budget(double share = 0.05) : share_(share) {}

  /// Whether the next job must be sampled.
  bool admit() const { return debt_us_ <= 0; }

  /// @param cpu_us Processor time of the job.
  /// @param random Evenly distributed in [0, 1).
  void finished(bool sampled, double cpu_us, double random) {
    if (!sampled) {
      plain_us_ = plain_us_ == 0 ? cpu_us : plain_us_ + (cpu_us - plain_us_) * weight;
    } else if (plain_us_ > 0) {
      const auto extra = cpu_us - plain_us_;
      cost_us_ += (std::max(extra, 0.0) - cost_us_) * weight;
      // May be below 0: jobs differ, and that evens out. A random factor from 0.5 to 1.5 keeps the
      // mean, but prevents a fixed rhythm.
      debt_us_ += extra * (0.5 + random);
    }
    // At most the credit for one sampled job is kept.
    debt_us_ = std::clamp(debt_us_ - share_ * plain_us_, -cost_us_, most_jobs * plain_us_);
  }

  /// Sampling begins anew; the time of a plain job stays known.
  void restart() { debt_us_ = cost_us_ = 0; }

private:
  static constexpr double weight = 0.1;
  /// Bounds the memory of an outlier (the first stacks of a process touch cold pages).
  static constexpr double most_jobs = 1;

  double share_;
  double plain_us_ = 0; ///< Mean time of a job that is not sampled; 0: not known yet.
  double cost_us_ = 0;  ///< Mean time that sampling adds to a job.
  double debt_us_ = 0;  ///< Time spent on sampling that is not paid for.
};

} // namespace ziyu::worker
