#include "model/worker/sampling_budget.hpp"

#include <gtest/gtest.h>

#include <random>

namespace ziyu::worker {
namespace {

struct outcome {
  int sampled = 0;
  double overhead = 0; ///< Time over that of the same jobs unsampled.
};

/// `jobs` jobs of 1 ms with 20 % of noise, `cost` times as long when sampled.
outcome run(double cost, int jobs, uint32_t seed = 1) {
  std::mt19937 random{seed};
  std::uniform_real_distribution<double> uniform;
  sampling_budget budget;
  outcome result;
  double plain = 0, real = 0;
  for (auto i = 0; i < 20; ++i) // before sampling was switched on
    budget.finished(false, 900 + 200 * uniform(random), uniform(random));
  budget.restart();
  for (auto i = 0; i < jobs; ++i) {
    const auto sampled = budget.admit();
    const auto own = 900 + 200 * uniform(random);
    const auto taken = sampled ? own * cost : own;
    budget.finished(sampled, taken, uniform(random));
    result.sampled += sampled ? 1 : 0;
    plain += own;
    real += taken;
  }
  result.overhead = real / plain - 1;
  return result;
}

TEST(SamplingBudget, SamplesMostJobsWhereItCostsNothing) { EXPECT_GE(run(1.0, 1000).sampled, 700); }

TEST(SamplingBudget, KeepsTheCostBelowATenthWhateverASampleTakes) {
  for (auto cost : {1.0, 1.05, 1.2, 1.5, 2.0, 2.9}) {
    const auto x = run(cost, 2000);
    EXPECT_LT(x.overhead, 0.1) << cost;
    EXPECT_GT(x.sampled, 40) << cost;
  }
}

TEST(SamplingBudget, SamplesTheFirstJobOfAFreshWorker) { EXPECT_TRUE(sampling_budget{}.admit()); }

TEST(SamplingBudget, DoesNotKeepStepWithALeakOfEveryKthJob) {
  for (auto every = 2; every <= 12; ++every) {
    std::mt19937 random{7};
    std::uniform_real_distribution<double> uniform;
    sampling_budget budget;
    budget.finished(false, 1000, 0.5);
    auto hit = 0;
    for (auto i = 0; i < 6000; ++i) {
      const auto sampled = budget.admit();
      hit += sampled && i % every == 0 ? 1 : 0;
      budget.finished(sampled, sampled ? 1400 : 1000, uniform(random));
    }
    EXPECT_GT(hit, 6000 / every / 15) << every;
  }
}

TEST(SamplingBudget, ForgetsAFreakInTime) {
  sampling_budget budget;
  budget.finished(false, 1000, 0.5);
  ASSERT_TRUE(budget.admit());
  budget.finished(true, 1e9, 0.5); // cold pages, or the machine slept
  auto jobs = 0;
  while (!budget.admit() && jobs < 1000) {
    budget.finished(false, 1000, 0.5);
    ++jobs;
  }
  EXPECT_LT(jobs, 50);
}

} // namespace
} // namespace ziyu::worker
