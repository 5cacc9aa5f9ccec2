#include "supervision/restart_intensity.hpp"

#include <gtest/gtest.h>

using namespace std::chrono_literals;
using ziyu::supervision::restart_intensity;

namespace {

const restart_intensity::clock::time_point start{1000h};

} // namespace

TEST(RestartIntensity, AdmitsSoManyWithinAPeriodAndNoMore) {
  restart_intensity x{3, 10s};
  EXPECT_TRUE(x.admit(start));
  EXPECT_TRUE(x.admit(start + 1s));
  EXPECT_TRUE(x.admit(start + 2s));
  EXPECT_FALSE(x.admit(start + 3s));
  EXPECT_EQ(x.recent(start + 3s), 4u);
}

TEST(RestartIntensity, RestartsGrowOld) {
  restart_intensity x{2, 10s};
  EXPECT_TRUE(x.admit(start));
  EXPECT_TRUE(x.admit(start + 5s));
  EXPECT_TRUE(x.admit(start + 10s)) << "the first is a whole period ago";
  EXPECT_FALSE(x.admit(start + 14s));
  EXPECT_EQ(x.recent(start + 14s), 3u);
  EXPECT_EQ(x.recent(start + 20s), 1u);
  EXPECT_EQ(x.recent(start + 24s), 0u);
  EXPECT_TRUE(x.admit(start + 24s));
}

TEST(RestartIntensity, RefusedOnesCount) {
  restart_intensity x{1, 10s};
  EXPECT_TRUE(x.admit(start));
  EXPECT_FALSE(x.admit(start + 6s));
  EXPECT_FALSE(x.admit(start + 12s)) << "it keeps failing: the refused one is recent";
  EXPECT_TRUE(x.admit(start + 22s));
}

TEST(RestartIntensity, ZeroForbidsAny) {
  restart_intensity x{0, 10s};
  EXPECT_FALSE(x.admit(start));
  EXPECT_FALSE(x.admit(start + 100s));
}

TEST(RestartIntensity, StartsWithNone) {
  const restart_intensity x{1, 10s};
  EXPECT_EQ(x.recent(start), 0u);
}

TEST(RestartIntensity, WhatIsExcusedDoesNotCount) {
  restart_intensity x{1, 10s};
  EXPECT_TRUE(x.admit(start, {{0, 1}}));
  EXPECT_FALSE(x.admit(start, {{1, 1}}));
  x.excuse({0, 1}, start);
  EXPECT_EQ(x.recent(start), 1u);
  x.excuse({1, 1}, start);
  EXPECT_EQ(x.recent(start), 0u);
  EXPECT_TRUE(x.admit(start + 1s));
}

TEST(RestartIntensity, AnExcuseMayComeBeforeTheRestart) {
  restart_intensity x{0, 10s};
  x.excuse({0, 7}, start);
  EXPECT_TRUE(x.admit(start, {{0, 7}}));
  EXPECT_FALSE(x.admit(start, {{0, 8}})) << "of this one nobody spoke";
  EXPECT_FALSE(x.admit(start + 1s, {{0, 7}})) << "an excuse holds once";
}

TEST(RestartIntensity, AnAccusationCountsAsOfWhenItWas) {
  restart_intensity x{1, 10s};
  EXPECT_TRUE(x.admit(start, {{0, 1}}));
  x.excuse({0, 1}, start);
  EXPECT_TRUE(x.admit(start + 5s));
  EXPECT_FALSE(x.accuse({0, 1}, start + 6s));
  EXPECT_EQ(x.recent(start + 6s), 2u);
  EXPECT_EQ(x.recent(start + 11s), 1u);
  EXPECT_TRUE(x.accuse({0, 1}, start + 20s)) << "too long ago";
  EXPECT_EQ(x.recent(start + 20s), 0u);
}

TEST(RestartIntensity, AnExcuseWithoutARestartIsForgottenInTime) {
  restart_intensity x{0, 10s};
  x.excuse({0, 1}, start);
  EXPECT_TRUE(x.accuse({0, 1}, start)) << "nothing died";
  x.excuse({0, 1}, start);
  EXPECT_FALSE(x.admit(start + 11s, {{0, 1}}));
}
