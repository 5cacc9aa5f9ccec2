#include "supervision/restart_pause.hpp"

#include <gtest/gtest.h>

using namespace ziyu::supervision;
using namespace std::chrono_literals;

namespace {

const restart_pause::clock::time_point start{};

} // namespace

TEST(RestartPause, GrowsWithDeathsThatFollowEachOther) {
  restart_pause x{100ms, 5000ms, 60s};
  EXPECT_EQ(x.next(0, start), 50ms);
  EXPECT_EQ(x.next(0, start + 1s), 100ms);
  EXPECT_EQ(x.next(0, start + 2s), 200ms);
  x.reset();
  EXPECT_EQ(x.next(0, start + 3s), 50ms);
}

TEST(RestartPause, BeginsAnewAfterACalmPeriod) {
  restart_pause x{100ms, 5000ms, 60s};
  for (auto death = 0; death < 100; ++death)
    EXPECT_EQ(x.next(0, start + death * 60s), 50ms) << "weeks of rare deaths do not add up";
  EXPECT_EQ(x.next(0, start + 99 * 60s + 59s), 100ms);
}
