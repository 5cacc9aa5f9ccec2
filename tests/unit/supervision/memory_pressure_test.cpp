#include "supervision/memory_pressure.hpp"

#include <gtest/gtest.h>

#include <random>

using namespace ziyu::supervision;
using level = memory_pressure::level;

TEST(MemoryPressure, ShrinksTheCreditInStepsAndSaysWhy) {
  memory_pressure x{{}};
  EXPECT_FALSE(x.read(0.59));
  EXPECT_EQ(x.credit_share(), 1);
  auto t = x.read(0.6);
  ASSERT_TRUE(t);
  EXPECT_EQ(t->to, level::eased);
  EXPECT_EQ(x.credit_share(), 0.5);
  EXPECT_EQ(t->reason,
            "container memory at 60.0 %, at or above the mark of 60 %; 0.5 of the credit");
  t = x.read(0.8);
  ASSERT_TRUE(t);
  EXPECT_EQ(t->to, level::tight);
  EXPECT_EQ(x.credit_share(), 0.125);
  t = x.read(0.95);
  ASSERT_TRUE(t);
  EXPECT_EQ(t->to, level::critical);
}

TEST(MemoryPressure, SkipsStepsUpwardsButNotDownwards) {
  memory_pressure x{{}};
  auto t = x.read(0.99);
  ASSERT_TRUE(t);
  EXPECT_EQ(t->from, level::none);
  EXPECT_EQ(t->to, level::critical);
  for (auto wanted : {level::tight, level::eased, level::none}) {
    t = x.read(0.1);
    ASSERT_TRUE(t);
    EXPECT_EQ(t->to, wanted);
  }
  EXPECT_FALSE(x.read(0.1));
}

TEST(MemoryPressure, GivesCreditBackOnlyBelowTheMarkByItsMargin) {
  memory_pressure x{{}};
  x.read(0.81);
  EXPECT_FALSE(x.read(0.79));
  EXPECT_FALSE(x.read(0.75));
  const auto t = x.read(0.74);
  ASSERT_TRUE(t);
  EXPECT_EQ(t->to, level::eased);
  EXPECT_EQ(t->reason, "container memory at 74.0 %, below the mark of 75 %; 0.5 of the credit");
}

// A reading that swings by less than the margin changes the level once at most.
TEST(MemoryPressureProperty, SwingsWithinTheMarginChangeNothingTwice) {
  for (uint32_t seed = 0; seed < 2'000; ++seed) {
    std::mt19937 random{seed};
    std::uniform_real_distribution<double> anywhere{0, 1.02}, swing{-0.024, 0.024};
    memory_pressure x{{}};
    for (int i = 0; i < 5; ++i)
      x.read(anywhere(random));
    const auto around = anywhere(random);
    for (int i = 0; i < 4; ++i)
      x.read(around);
    int changes = 0;
    for (int i = 0; i < 50; ++i)
      changes += x.read(around + swing(random)) ? 1 : 0;
    ASSERT_LE(changes, 1) << "seed " << seed;
  }
}
