#include "supervision/forecast.hpp"

#include <gtest/gtest.h>

using namespace ziyu::supervision;

TEST(Forecast, CountsTheJobsThatStillFit) {
  const auto f = forecast_jobs({100, 1100, {100, 50, 200}, 0});
  ASSERT_TRUE(f);
  EXPECT_EQ(f->jobs, 10u);
  EXPECT_EQ(f->earliest, 5u);
  EXPECT_EQ(f->latest, 20u);
}

TEST(Forecast, TakesUpsAndDownsOffTheRoomForTheEarliest) {
  const auto f = forecast_jobs({100, 1100, {100, 100, 100}, 500});
  ASSERT_TRUE(f);
  EXPECT_EQ(f->jobs, 10u);
  EXPECT_EQ(f->earliest, 5u);
  EXPECT_EQ(f->latest, 15u);
}

TEST(Forecast, SaysNoneAtTheBudget) {
  const auto f = forecast_jobs({1100, 1000, {100, 90, 110}, 0});
  ASSERT_TRUE(f);
  EXPECT_EQ(f->jobs, 0u);
  EXPECT_EQ(f->earliest, 0u);
}

TEST(Forecast, MayNeverReachTheBudgetWhenTheLowerBoundIsZero) {
  const auto f = forecast_jobs({0, 1000, {10, 0, 20}, 0});
  ASSERT_TRUE(f);
  EXPECT_EQ(f->latest, UINT64_MAX);
}

TEST(Forecast, IsEmptyWithoutBudgetOrGrowth) {
  EXPECT_FALSE(forecast_jobs({10, 0, {10, 10, 10}, 0}));
  EXPECT_FALSE(forecast_jobs({10, 100, {0, 0, 0}, 0}));
  EXPECT_FALSE(forecast_jobs({10, 100, {-5, -9, 0}, 0}));
}
