#pragma once

#include <algorithm>
#include <cstdint>

namespace ziyu::worker {

/// Which jobs are sampled, so that heap-profile sampling never costs more than a given
/// part of the time: a small model's job of 1 ms would lose a third of its speed at
/// the finest rate, a large one's of 50 ms nothing. A sampled job may take what it
/// takes; then as many jobs go unsampled as pay for it. When sampling is cheap, every
/// job is sampled. The spacing is random, or a leak of every k-th job could hide in
/// it. Pure.
class sampling_budget {
public:
  /// @param share Of the time, for sampling.
  explicit sampling_budget(double share = 0.05) : share_(share) {}

  /// Whether the next job is to be sampled.
  bool admit() const { return debt_us_ <= 0; }

  /// @param cpu_us Processor time of the job.
  /// @param random Evenly distributed in [0, 1).
  void finished(bool sampled, double cpu_us, double random) {
    if (!sampled) {
      plain_us_ = plain_us_ == 0 ? cpu_us : plain_us_ + (cpu_us - plain_us_) * weight;
    } else if (plain_us_ > 0) {
      const auto extra = cpu_us - plain_us_;
      cost_us_ += (std::max(extra, 0.0) - cost_us_) * weight;
      // Also below 0: jobs differ, and it evens out. Half to one and a half times what
      // it was: in the mean the same, but never in step with anything.
      debt_us_ += extra * (0.5 + random);
    }
    // Credit is not hoarded beyond one sampled job.
    debt_us_ = std::clamp(debt_us_ - share_ * plain_us_, -cost_us_, most_jobs * plain_us_);
  }

  /// Sampling begins anew; what a plain job takes stays known.
  void restart() { debt_us_ = cost_us_ = 0; }

private:
  static constexpr double weight = 0.1;
  /// A freak (the first stacks of a process touch cold pages) is forgotten in time.
  static constexpr double most_jobs = 1;

  double share_;
  double plain_us_ = 0; ///< Mean of a job that is not sampled; 0: not known yet.
  double cost_us_ = 0;  ///< Mean of what sampling adds to a job.
  double debt_us_ = 0;  ///< Spent on sampling and not yet paid for.
};

} // namespace ziyu::worker
