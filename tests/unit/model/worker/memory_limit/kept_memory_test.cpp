#include "model/worker/kept_memory.hpp"

#include <gtest/gtest.h>

namespace ziyu::worker {
namespace {

constexpr uint64_t mib = 1u << 20;

wire::memory_reading at(uint64_t live, uint64_t anonymous) {
  return {live * mib, anonymous * mib, 0, 0};
}

TEST(KeptMemory, IsWhatGrewAndIsHeldByNobody) {
  kept_memory x{at(100, 150), 20 * mib};
  EXPECT_FALSE(x.is_too_much(at(100, 150)));
  EXPECT_FALSE(x.is_too_much(at(100, 170))) << "as much as may be kept";
  EXPECT_TRUE(x.is_too_much(at(100, 171)));
  EXPECT_FALSE(x.is_too_much(at(130, 200))) << "a leak cannot be given back";
  EXPECT_FALSE(x.is_too_much(at(90, 100))) << "less than when it was ready";
}

TEST(KeptMemory, WhatCannotBeGivenBackIsNotTriedAgain) {
  kept_memory x{at(100, 150), 20 * mib};
  EXPECT_TRUE(x.is_too_much(at(100, 400)));
  x.gave_back(at(100, 200));
  EXPECT_FALSE(x.is_too_much(at(100, 220)));
  EXPECT_TRUE(x.is_too_much(at(100, 221)));
}

TEST(KeptMemory, WhatEachJobNeedsAnewIsNotHeldAgainstIt) {
  kept_memory x{at(100, 150), 20 * mib};
  x.gave_back(at(100, 120)); // with the pages of the warm-up
  EXPECT_FALSE(x.is_too_much(at(100, 165)));
}

TEST(KeptMemory, TheBoundLeavesTheBudgetFarAway) {
  EXPECT_EQ(most_kept(256 * mib, 16 * mib), 60 * mib);
  EXPECT_EQ(most_kept(uint64_t{4096} * mib, 16 * mib), 64 * mib);
  EXPECT_EQ(most_kept(0, 16 * mib), 64 * mib);
  EXPECT_EQ(most_kept(10 * mib, 16 * mib), 0u);
}

} // namespace
} // namespace ziyu::worker
