#include "supervision/healing_policy.hpp"
#include "supervision/recent_steps.hpp"

#include <gtest/gtest.h>

using namespace ziyu::supervision;

namespace {

constexpr uint64_t mib = 1 << 20;

healing_policy::settings usual() {
  healing_policy::settings s;
  s.budget_bytes = 200 * mib;
  s.hard_limit_bytes = 300 * mib;
  s.replace_at = 0.5;
  s.forecast_jobs = 4;
  s.min_life_jobs = 4;
  return s;
}

/// A worker at its baseline with a healthy history.
healing_policy::worker healthy() {
  healing_policy::worker x;
  x.verdict.kind = growth::healthy;
  x.verdict.jobs = 50;
  x.baseline_bytes = 20 * mib;
  x.private_bytes = 20 * mib;
  return x;
}

/// One whose growth is known, at `private_bytes`.
healing_policy::worker growing(growth kind, uint64_t private_bytes) {
  auto x = healthy();
  x.verdict.kind = kind;
  x.verdict.live = {6.0 * mib, 5.9 * mib, 6.1 * mib};
  x.verdict.private_memory = {3.0 * mib, 2.9 * mib, 3.1 * mib};
  x.private_bytes = private_bytes;
  return x;
}

rung decide(const healing_policy::worker& x, const healing_policy::settings& s = usual()) {
  return healing_policy{s}.decide(x).action;
}

} // namespace

TEST(HealingPolicy, LeavesAHealthyWorkerAlone) {
  const auto step = healing_policy{usual()}.decide(healthy());
  EXPECT_EQ(step.action, rung::none);
  EXPECT_EQ(step.reason, "");
  auto x = healthy();
  x.private_bytes = 199 * mib;
  EXPECT_EQ(decide(x), rung::none) << "large, but it does not grow";
}

TEST(HealingPolicy, KillsAtTheHardLimitWhateverTheVerdict) {
  for (auto kind :
       {growth::warming_up, growth::healthy, growth::suspected, growth::leak, growth::hoarding}) {
    auto x = growing(kind, 300 * mib);
    x.verdict.jobs = 0;
    EXPECT_EQ(decide(x), rung::kill) << to_string(kind);
  }
  const auto step = healing_policy{usual()}.decide(growing(growth::leak, 301 * mib));
  EXPECT_EQ(step.reason, "private memory is 301.0 MiB, the hard limit 300.0 MiB");
}

TEST(HealingPolicy, WithoutAHardLimitNothingIsKilled) {
  auto s = usual();
  s.hard_limit_bytes = 0;
  EXPECT_EQ(decide(growing(growth::leak, 10'000 * mib), s), rung::replace);
}

TEST(HealingPolicy, ReplacesALeakAtItsShareOfTheRoom) {
  // The room is 180 MiB; half of it is 90 MiB above the baseline.
  EXPECT_EQ(decide(growing(growth::leak, 110 * mib - 1)), rung::none);
  const auto step = healing_policy{usual()}.decide(growing(growth::leak, 110 * mib));
  EXPECT_EQ(step.action, rung::replace);
  EXPECT_EQ(step.reason,
            "leak of 6.0 MiB per job (5.9 MiB to 6.1 MiB): 110.0 MiB of 200.0 MiB are used");
}

TEST(HealingPolicy, ReplacesALeakWhenTheForecastIsShort) {
  auto x = growing(growth::leak, 30 * mib);
  x.verdict.jobs_left = 5;
  EXPECT_EQ(decide(x), rung::none);
  x.verdict.jobs_left = 4;
  const auto step = healing_policy{usual()}.decide(x);
  EXPECT_EQ(step.action, rung::replace);
  EXPECT_EQ(step.reason,
            "leak of 6.0 MiB per job (5.9 MiB to 6.1 MiB): 4 jobs left until 200.0 MiB");
  x.verdict.jobs_left = 0;
  EXPECT_EQ(decide(x), rung::replace);
}

TEST(HealingPolicy, ChanceSpreadsWorkersOfOneAge) {
  auto s = usual();
  s.jitter = 0.2;
  // Five workers grow alike, and are due in turn: the last where all were without jitter.
  std::vector<uint64_t> due;
  for (auto chance : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    auto x = growing(growth::leak, 20 * mib);
    x.chance = chance;
    while (decide(x, s) == rung::none)
      x.private_bytes += mib;
    due.push_back(x.private_bytes / mib);
  }
  EXPECT_EQ(due, (std::vector<uint64_t>{110, 106, 101, 97, 92}));
  s.jitter = 0;
  auto x = growing(growth::leak, 109 * mib);
  x.chance = 1;
  EXPECT_EQ(decide(x, s), rung::none);
}

TEST(HealingPolicy, JitterLeavesTheLastResortAndTheKillAlone) {
  auto s = usual();
  s.jitter = 0.9;
  auto x = healthy();
  x.chance = 1;
  x.private_bytes = 199 * mib;
  EXPECT_EQ(decide(x, s), rung::none) << "what does not grow is not replaced by chance";
  x.step_bytes = mib;
  x.live_grown_bytes = 179 * mib;
  EXPECT_EQ(decide(x, s), rung::replace);
  x.private_bytes = 300 * mib;
  EXPECT_EQ(decide(x, s), rung::kill);
}

TEST(HealingPolicy, HoldsTheGpusGrowthAgainstTheSameRoom) {
  auto x = growing(growth::hoarding, 20 * mib);
  x.verdict.on_gpu = true;
  x.verdict.gpu = {2.0 * mib, 1.9 * mib, 2.1 * mib};
  x.gpu_grown_bytes = 89 * mib;
  EXPECT_EQ(decide(x), rung::none);
  x.gpu_grown_bytes = 90 * mib;
  EXPECT_EQ(decide(x), rung::trim);
  x.trimmed = true;
  EXPECT_EQ(decide(x), rung::replace);
  x.verdict.on_gpu = false; // the growth is another
  EXPECT_EQ(decide(x), rung::none);
}

TEST(HealingPolicy, NeedsConfirmedGrowth) {
  for (auto kind : {growth::warming_up, growth::healthy, growth::suspected}) {
    auto x = growing(kind, 150 * mib);
    x.verdict.jobs_left = 0;
    EXPECT_EQ(decide(x), rung::none) << to_string(kind);
  }
}

TEST(HealingPolicy, SparesAYoungWorkerUnlessTheBudgetIsAtStake) {
  auto x = growing(growth::leak, 150 * mib);
  x.verdict.jobs = 3;
  EXPECT_EQ(decide(x), rung::none);
  x.step_bytes = 50 * mib;
  EXPECT_EQ(decide(x), rung::replace);
  x.step_bytes = 0;
  x.verdict.jobs = 4;
  EXPECT_EQ(decide(x), rung::replace);
}

TEST(HealingPolicy, ReplacesBeforeTheNextStepReachesTheBudget) {
  for (auto kind : {growth::warming_up, growth::healthy, growth::suspected, growth::leak}) {
    auto x = growing(kind, 100 * mib);
    x.verdict.jobs = 1;
    x.live_grown_bytes = 80 * mib;
    x.step_bytes = 100 * mib - 1;
    EXPECT_EQ(decide(x), rung::none) << to_string(kind);
    x.step_bytes = 100 * mib;
    EXPECT_EQ(decide(x), rung::replace) << to_string(kind);
  }
  auto x = healthy();
  x.private_bytes = 150 * mib;
  x.live_grown_bytes = 130 * mib;
  x.step_bytes = 60 * mib;
  EXPECT_EQ(
    healing_policy{usual()}.decide(x).reason,
    "private memory is 150.0 MiB, a job like the largest recent one (60.0 MiB) would reach the "
    "budget of 200.0 MiB");
  EXPECT_TRUE(healing_policy{usual()}.decide(x).last_resort);
  x.private_bytes = 250 * mib;
  x.step_bytes = 0;
  EXPECT_EQ(decide(x), rung::replace) << "over the budget already";
}

TEST(HealingPolicy, TrimsHoardingFirstAndReplacesWhenThatWasNotEnough) {
  auto x = growing(growth::hoarding, 120 * mib);
  const auto step = healing_policy{usual()}.decide(x);
  EXPECT_EQ(step.action, rung::trim);
  EXPECT_EQ(step.reason,
            "hoarding of 3.0 MiB per job (2.9 MiB to 3.1 MiB): 120.0 MiB of 200.0 MiB are used");
  x.trimmed = true;
  EXPECT_EQ(decide(x), rung::replace);
  x.trimmed = false;
  x.private_bytes = 30 * mib;
  x.verdict.jobs_left = 2;
  EXPECT_EQ(decide(x), rung::trim) << "the forecast, too";
  x.private_bytes = 199 * mib;
  x.step_bytes = 5 * mib;
  EXPECT_EQ(decide(x), rung::trim) << "the last resort, too";
  x.trimmed = true;
  EXPECT_EQ(decide(x), rung::replace);
}

TEST(HealingPolicy, TrimsWhatIsFreeBeforeItReplacesAWorkerThatIsNotKnownToGrow) {
  for (auto kind : {growth::warming_up, growth::healthy, growth::caching, growth::suspected}) {
    auto x = growing(kind, 150 * mib); // 130 MiB more than when it was ready
    x.step_bytes = 60 * mib;
    x.live_grown_bytes = 64 * mib;
    const auto step = healing_policy{usual()}.decide(x);
    EXPECT_EQ(step.action, rung::trim) << to_string(kind);
    EXPECT_TRUE(step.last_resort);
    x.trimmed = true;
    EXPECT_EQ(decide(x), rung::replace) << to_string(kind);
    x.trimmed = false;
    x.live_grown_bytes = 65 * mib;
    EXPECT_EQ(decide(x), rung::replace) << "a trim would not bring enough";
  }
}

TEST(HealingPolicy, OnlyTheHardLimitCountsWhatARunningJobTakes) {
  auto x = growing(growth::leak, 50 * mib);
  x.step_bytes = 10 * mib;
  x.present_bytes = 299 * mib;
  EXPECT_EQ(decide(x), rung::none);
  x.present_bytes = 300 * mib;
  EXPECT_EQ(decide(x), rung::kill);
}

TEST(HealingPolicy, AnInexactReadingLeavesRoomForPagesThatWereCopiedSince) {
  EXPECT_FALSE(healing_policy::next_reaches_budget(90, 5, 96));
  EXPECT_TRUE(healing_policy::next_reaches_budget(90, 6, 96));
  EXPECT_FALSE(healing_policy::may_reach_budget(90, 2, 96));
  EXPECT_TRUE(healing_policy::may_reach_budget(90, 3, 96));
  EXPECT_FALSE(healing_policy::may_reach_budget(1'000, 1'000, 0)) << "there is no budget";
}

TEST(HealingPolicy, GivesABatchNoMoreJobsThanThereIsRoomFor) {
  EXPECT_EQ(healing_policy::jobs_of_room(50, 5, 96), 8u) << "3 of 96 are kept free";
  EXPECT_EQ(healing_policy::jobs_of_room(90, 5, 96), 1u);
  EXPECT_EQ(healing_policy::jobs_of_room(200, 5, 96), 1u);
  EXPECT_GT(healing_policy::jobs_of_room(50, 0, 96), 1'000u) << "it does not grow";
  EXPECT_GT(healing_policy::jobs_of_room(50, 5, 0), 1'000u) << "there is no budget";
}

TEST(RecentSteps, AreOfOneJobAlsoAfterABatch) {
  recent_steps aut;
  aut.add(17, 8);
  EXPECT_EQ(aut.largest(), 3u);
}

TEST(RecentSteps, AreForgottenAfterAWhile) {
  recent_steps x;
  EXPECT_EQ(x.largest(), 0u);
  x.add(7);
  x.add(3);
  for (size_t i = 2; i < recent_steps::attempts; ++i)
    x.add(0);
  EXPECT_EQ(x.largest(), 7u) << "an allocator takes pages in lumps";
  x.add(0);
  EXPECT_EQ(x.largest(), 3u);
  x.add(0);
  EXPECT_EQ(x.largest(), 0u);
}

TEST(HealingPolicy, ALeakIsNeverTrimmed) {
  for (auto trimmed : {false, true}) {
    auto x = growing(growth::leak, 150 * mib);
    x.trimmed = trimmed;
    EXPECT_EQ(decide(x), rung::replace);
  }
}

TEST(HealingPolicy, SwitchedOffItDoesNothing) {
  auto s = usual();
  s.enabled = false;
  for (auto bytes : {150 * mib, 250 * mib, 400 * mib})
    EXPECT_EQ(decide(growing(growth::leak, bytes), s), rung::none);
}

TEST(HealingPolicy, WithoutABudgetOnlyTheHardLimitCounts) {
  auto s = usual();
  s.budget_bytes = 0;
  EXPECT_EQ(decide(growing(growth::leak, 299 * mib), s), rung::none);
  EXPECT_EQ(decide(growing(growth::leak, 300 * mib), s), rung::kill);
}

TEST(HealingPolicy, RefusesABudgetThatAFreshWorkerFills) {
  const healing_policy policy{usual()};
  EXPECT_TRUE(policy.check_baseline(199 * mib));
  const auto refused = policy.check_baseline(200 * mib);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ziyu::errc::invalid_config);
  EXPECT_EQ(refused.error().message,
            "memory.worker_budget_bytes is 200.0 MiB, but a fresh worker already has 200.0 MiB of "
            "private memory: set a larger budget");
  auto s = usual();
  s.budget_bytes = 0;
  EXPECT_TRUE(healing_policy{s}.check_baseline(1'000'000 * mib));
}

TEST(HealingPolicy, ReplacesOnlyAPartAtOnceButAlwaysOne) {
  const healing_policy half{usual()};
  EXPECT_EQ(half.max_replacing(1), 1u);
  EXPECT_EQ(half.max_replacing(2), 1u);
  EXPECT_EQ(half.max_replacing(3), 1u);
  EXPECT_EQ(half.max_replacing(8), 4u);
  auto s = usual();
  s.max_unavailable = 1;
  EXPECT_EQ(healing_policy{s}.max_replacing(8), 8u);
  s.max_unavailable = 0;
  EXPECT_EQ(healing_policy{s}.max_replacing(8), 1u);
}

TEST(LeakCause, IsNamedWhenTheNumbersSingleItOut) {
  cause_evidence x;
  x.kind = growth::leak;
  x.live_per_job = 6e6;
  x.encoded_per_job = 1e5;
  x.decoded_per_job = 3e6;
  x.model_bytes = 45 * mib;
  EXPECT_EQ(name_cause(x), leak_cause::unknown) << "tensors look like any other memory";

  auto images = x;
  images.delta_image_correlation = 0.99;
  EXPECT_EQ(name_cause(images), leak_cause::retained_images);
  images.delta_image_correlation = 0; // all of one size: nothing to correlate
  images.live_per_job = 3.1e6;
  EXPECT_EQ(name_cause(images), leak_cause::retained_images) << "encoded and decoded";
  images.live_per_job = 3.0e6;
  EXPECT_EQ(name_cause(images), leak_cause::retained_images) << "decoded only";

  auto model = x;
  model.live_per_job = 40e6;
  EXPECT_EQ(name_cause(model), leak_cause::model_reloaded);
  model.model_bytes = 0;
  EXPECT_EQ(name_cause(model), leak_cause::unknown) << "its size is not known";

  x.kind = growth::hoarding;
  EXPECT_EQ(name_cause(x), leak_cause::hoarding);
  // An event never says "hoarding" of a worker that is healthy by its own verdict.
  cause_evidence large;
  large.private_grown = 120. * mib;
  for (auto kind : {growth::warming_up, growth::healthy, growth::caching}) {
    large.kind = kind;
    EXPECT_EQ(name_cause(large), leak_cause::budget) << to_string(kind);
  }
  large.kind = growth::suspected;
  EXPECT_EQ(name_cause(large), leak_cause::hoarding);
  for (auto kind : {growth::warming_up, growth::healthy, growth::suspected}) {
    images.kind = kind;
    EXPECT_NE(name_cause(images), leak_cause::retained_images) << to_string(kind);
  }
}

TEST(HealingNames, AreStable) {
  EXPECT_EQ(to_string(rung::none), "none");
  EXPECT_EQ(to_string(rung::trim), "trim");
  EXPECT_EQ(to_string(rung::replace), "replace");
  EXPECT_EQ(to_string(rung::kill), "kill");
  EXPECT_EQ(to_string(leak_cause::retained_tensors), "retained_tensors");
  EXPECT_EQ(to_string(leak_cause::retained_images), "retained_images");
  EXPECT_EQ(to_string(leak_cause::model_reloaded), "model_reloaded");
  EXPECT_EQ(to_string(leak_cause::native_allocation), "native_allocation");
  EXPECT_EQ(to_string(leak_cause::hoarding), "hoarding");
  EXPECT_EQ(to_string(leak_cause::budget), "budget");
  EXPECT_EQ(to_string(leak_cause::unknown), "unknown");
}
