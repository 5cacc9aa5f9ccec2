// The promises of the service, over thousands of seeds of faults in virtual time
// (docs/simulation.md). A failure prints the command that replays it.

#include "tests/simulation/simulation.hpp"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

namespace ziyu::simulation {

namespace {

class Simulation : public ::testing::Test {
protected:
  void SetUp() override { spdlog::set_level(spdlog::level::off); }
  void TearDown() override { spdlog::set_level(spdlog::level::info); }

  static std::string tell(const scenario& x, const violation& v) {
    return v.promise + " is broken after " + std::to_string(v.at_us / 1'000) + " ms: " + v.what
           + "\n  bench/simulate " + shrink(x).arguments() + " --trace";
  }

  /// The runs of twenty seeds with these faults only; no promise is broken in them.
  static std::vector<outcome> runs_with(std::initializer_list<fault> faults) {
    std::vector<outcome> runs;
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      auto x = scenario::of(seed);
      x.faults.reset();
      for (const auto each : faults)
        x.faults.set(static_cast<size_t>(each));
      runs.push_back(run(x));
      const auto& broken = runs.back().violations;
      EXPECT_TRUE(broken.empty()) << tell(x, broken.front());
    }
    return runs;
  }
};

/// Sanitizers slow it down.
#if defined(__SANITIZE_ADDRESS__)
constexpr uint64_t seeds_of_a_shard = 20;
#else
constexpr uint64_t seeds_of_a_shard = 200;
#endif
constexpr uint64_t shards = 10;

class Seeds : public Simulation, public ::testing::WithParamInterface<uint64_t> {};

TEST_P(Seeds, KeepEveryPromise) {
  for (uint64_t i = 0; i < seeds_of_a_shard; ++i) {
    const auto x = scenario::of(1 + GetParam() * seeds_of_a_shard + i);
    const auto found = run(x);
    ASSERT_TRUE(found.violations.empty()) << tell(x, found.violations.front());
  }
}

INSTANTIATE_TEST_SUITE_P(Simulation, Seeds, ::testing::Range<uint64_t>(0, shards));

TEST_F(Simulation, ReplaysASeedExactly) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const auto x = scenario::of(seed);
    const auto once = run(x), again = run(x);
    EXPECT_EQ(once.hash, again.hash) << "seed " << seed;
    EXPECT_EQ(once.steps, again.steps) << "seed " << seed;
    EXPECT_EQ(once.simulated_us, again.simulated_us) << "seed " << seed;
  }
}

TEST_F(Simulation, FinishesEachJobOnceWhenNothingGoesWrong) {
  auto x = scenario::of(7);
  x.faults.reset();
  x.services = 1;
  x.jobs = 40;
  const auto found = run(x);
  ASSERT_TRUE(found.violations.empty()) << tell(x, found.violations.front());
  EXPECT_EQ(found.jobs, 40u);
  EXPECT_EQ(found.results, 40u);
  EXPECT_EQ(found.dead_letters, 0u);
  EXPECT_EQ(found.repeated, 0u);
  EXPECT_EQ(found.worker_deaths, 0u);
}

TEST_F(Simulation, MakesEachFaultHappen) {
  // A fault that changes nothing proves nothing.
  for (size_t i = 0; i < fault_count; ++i) {
    auto seen = false;
    for (uint64_t seed = 1; seed <= 10 && !seen; ++seed) {
      auto with = scenario::of(seed);
      with.jobs = 40;
      with.fault_ms = 10'000;
      with.faults.reset();
      auto without = with;
      with.faults.set(i);
      seen = run(with).hash != run(without).hash;
    }
    EXPECT_TRUE(seen) << to_string(static_cast<fault>(i));
  }
}

TEST_F(Simulation, AnInstanceComesBackFromMaintenance) {
  uint64_t resumptions = 0;
  // With attempts that outlive the drain.
  for (const auto& found : runs_with({fault::maintenance, fault::job_hang}))
    resumptions += found.resumptions;
  // An order may also come before its service has started.
  EXPECT_GE(resumptions, 20u);
}

TEST_F(Simulation, AnotherVersionOfTheModelTakesOver) {
  uint64_t rollouts = 0;
  for (const auto& found : runs_with({fault::rollout, fault::worker_kill}))
    rollouts += found.rollouts;
  EXPECT_GE(rollouts, 10u) << "some are refused, and some versions are unfit";
}

TEST_F(Simulation, MemoryPressureOpensTheBreakerAndPausesTheConsumer) {
  // Of some memory pressures: the others only reduce the credit.
  uint64_t openings = 0, pauses = 0, neither = 0;
  for (const auto& found : runs_with({fault::memory_pressure})) {
    openings += found.openings;
    pauses += found.pauses;
    neither += found.openings + found.pauses == 0;
  }
  EXPECT_GT(openings, 0u);
  EXPECT_GT(pauses, 0u);
  EXPECT_GT(neither, 0u);
}

} // namespace

} // namespace ziyu::simulation
