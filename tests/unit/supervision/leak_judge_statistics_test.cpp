#include "supervision/growth_test.hpp"
#include "supervision/robust.hpp"
#include "supervision/shape_census.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

using namespace ziyu::supervision;

TEST(TheilSen, IsExactOnALine) {
  const std::vector<double> x{1, 2, 3, 4, 5, 6, 7}, y{5, 8, 11, 14, 17, 20, 23};
  std::vector<double> scratch;
  const auto s = theil_sen(x, y, 0.99, scratch);
  EXPECT_DOUBLE_EQ(s.bytes_per_job, 3);
  EXPECT_DOUBLE_EQ(s.lower, 3);
  EXPECT_DOUBLE_EQ(s.upper, 3);
}

TEST(TheilSen, ShrugsOffAFifthOfWildValues) {
  std::vector<double> x, y, scratch;
  for (int i = 0; i < 40; ++i) {
    x.push_back(i);
    y.push_back(i % 5 == 0 ? 1e9 : 10. * i);
  }
  EXPECT_NEAR(theil_sen(x, y, 0.99, scratch).bytes_per_job, 10, 1e-9);
}

TEST(TheilSen, BoundsHoldTheTruthAsOftenAsTheySay) {
  std::mt19937 random{1};
  std::normal_distribution noise{0., 20.};
  std::vector<double> x, y, scratch;
  int above = 0, below = 0;
  for (int round = 0; round < 1000; ++round) {
    x.clear();
    y.clear();
    for (int i = 0; i < 30; ++i) {
      x.push_back(i);
      y.push_back(3 * i + noise(random));
    }
    const auto s = theil_sen(x, y, 0.95, scratch);
    ASSERT_LE(s.lower, s.bytes_per_job);
    ASSERT_GE(s.upper, s.bytes_per_job);
    above += s.lower > 3;
    below += s.upper < 3;
  }
  EXPECT_LT(above, 75);
  EXPECT_LT(below, 75);
  EXPECT_GT(above + below, 20); // not merely wide
}

TEST(MannKendall, IsAntisymmetricAndZeroWhenFlat) {
  std::vector<double> y{3, 1, 4, 1, 5, 9, 2, 6, 5, 3};
  const auto there = mann_kendall(y);
  std::reverse(y.begin(), y.end());
  EXPECT_DOUBLE_EQ(mann_kendall(y), -there);
  EXPECT_EQ(mann_kendall(std::vector<double>(20, 7.)), 0);
}

TEST(Wilson, StaysWithinZeroAndOneAndNarrows) {
  const auto few = wilson(4, 4, 2.33), many = wilson(400, 400, 2.33);
  EXPECT_DOUBLE_EQ(few.upper, 1);
  EXPECT_LT(few.lower, many.lower);
  EXPECT_EQ(wilson(0, 0, 2).upper, 1);
  EXPECT_NEAR(wilson(0, 10, 2).lower, 0, 1e-12);
}

TEST(Cusum, FindsAShiftAndLearnsAnew) {
  cusum aut{32, 0.75, 12, 0.1};
  const auto wave = [](int i) { return i % 3 - 1.; }; // −1, 0, 1
  int alarms = 0;
  for (int i = 0; i < 200; ++i)
    alarms += aut.observe(wave(i));
  EXPECT_EQ(alarms, 0);
  for (int i = 0; i < 200; ++i)
    alarms += aut.observe(wave(i) + 5);
  EXPECT_EQ(alarms, 1);
}

TEST(ShapeCensus, CountsVisitsAndForetellsKinds) {
  shape_census aut;
  EXPECT_EQ(aut.visit(7), 1u);
  EXPECT_EQ(aut.visit(7), 2u);
  EXPECT_EQ(aut.visit(0), 1u);
  EXPECT_EQ(aut.distinct(), 2u);
  std::mt19937 random{4};
  shape_census many;
  for (int i = 0; i < 300; ++i)
    many.visit(random() % 200);
  EXPECT_NEAR(many.expected(), 200, 30);
  for (int i = 0; i < 10'000; ++i)
    many.visit(random() % 200);
  EXPECT_EQ(many.distinct(), 200u);
  EXPECT_DOUBLE_EQ(many.expected(), 200);
  EXPECT_DOUBLE_EQ(many.unseen(), 0);
}

TEST(ShapeCensus, StaysWithinItsMemory) {
  shape_census aut{64};
  for (uint64_t i = 0; i < 10'000; ++i)
    EXPECT_EQ(aut.visit(i), 1u);
  EXPECT_EQ(aut.visit(3), 2u);    // remembered
  EXPECT_EQ(aut.visit(9000), 1u); // came too late
}

TEST(GrowthTest, SeldomConvictsHealthAtItsBound) {
  // Events exactly as probable as health allows: evidence 100 in at most 1 of 100 lives.
  std::mt19937 random{6};
  std::uniform_real_distribution chance{0., 1.};
  int convicted = 0;
  for (int life = 0; life < 1000; ++life) {
    growth_test aut;
    uint64_t value = 1000;
    bool found = false;
    for (int job = 1; job <= 500; ++job) {
      growth_test::input x;
      x.chance = std::min(1., 2. / job);
      x.alike = false;
      value += chance(random) < x.chance ? 1 + random() % 100'000 : 0;
      x.value = value;
      aut.observe(x);
      found = found || aut.evidence() >= 100;
    }
    convicted += found;
  }
  EXPECT_LE(convicted, 20);
}

TEST(GrowthTest, DoesNotConvictRecordsOfATrendlessCounter) {
  std::mt19937 random{8};
  for (int life = 0; life < 200; ++life) {
    growth_test aut;
    for (int job = 1; job <= 2000; ++job) {
      growth_test::input x;
      x.chance = std::clamp(2. / job, 1e-3, 1.);
      x.alike = false;
      x.value = random();
      aut.observe(x);
      ASSERT_LT(aut.evidence(), 1000) << "life " << life << ", job " << job;
    }
  }
}

TEST(GrowthTest, UndoesASpike) {
  growth_test aut;
  growth_test::input x;
  x.chance = 0.01;
  x.alike = false;
  for (int job = 1; job <= 50; ++job) {
    x.value = job == 40 ? 9000 : 1000;
    aut.observe(x);
  }
  EXPECT_EQ(aut.current().events, 0u);
  EXPECT_LT(aut.evidence(), 0.1);
}

TEST(GrowthTest, CountsAStepUnderNoiseOnce) {
  for (uint32_t seed = 1; seed <= 50; ++seed) {
    std::mt19937 random{seed};
    growth_test aut;
    int events = 0;
    for (int job = 1; job <= 400; ++job) {
      growth_test::input x;
      x.exact = false;
      x.least = 64 * 1024;
      x.value = 50'000'000 + random() % 5'000'000 + (job > 200 ? 10'000'000 : 0);
      const auto rise = aut.observe(x);
      events += job > 200 && rise > 0;
    }
    EXPECT_LE(events, 2) << "seed " << seed; // the second where the noise itself sets a record
    EXPECT_GE(events, 1) << "seed " << seed;
  }
}

TEST(GrowthTest, ForgetsAnOutlierOfTheNoise) {
  growth_test aut;
  growth_test::input x;
  x.exact = false;
  x.least = 64 * 1024;
  for (int job = 1; job <= 50; ++job) {
    x.value = job % 25 == 0 ? 10'000'000 : 50'000'000;
    aut.observe(x);
  }
  EXPECT_GT(aut.noise(), 30'000'000u);
  for (int job = 1; job <= 500; ++job)
    aut.observe(x);
  EXPECT_LT(aut.noise(), 100'000u);
}

TEST(GrowthTest, FollowsARunBackToRisesOfItsPaceBeforeItsOnset) {
  // For ten jobs growth must be expected and its sizes differ: the evidence begins in their midst.
  const auto grown_before_onset = [](uint64_t early, uint64_t paused_job) {
    growth_test aut;
    growth_test::input x;
    x.alike = false;
    for (uint64_t job = 1; job <= 16; ++job) {
      x.chance = job <= 10 ? 1 : 0.05;
      const auto rise = job <= 5 ? early + job : job <= 10 ? 6'000'000 + job : 6'000'000;
      x.value += job == paused_job ? 0 : rise;
      aut.observe(x);
    }
    EXPECT_EQ(aut.current().onset, 6u);
    return aut.grown_at_its_pace() - aut.current().grown;
  };
  EXPECT_EQ(grown_before_onset(6'000'000, 0), 4 * 6'000'000u + 2 + 3 + 4 + 5)
    << "the value after the first job is the first level";
  EXPECT_EQ(grown_before_onset(6'000'000, 4), 6'000'005u) << "a pause";
  EXPECT_EQ(grown_before_onset(60'000'000, 0), 0u) << "larger steps";
  EXPECT_EQ(grown_before_onset(600, 0), 0u) << "smaller steps";
}
