#include "supervision/backoff.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <random>

using std::chrono::milliseconds;
using ziyu::supervision::backoff;

TEST(Backoff, DoublesItsBoundsUpToTheMaximum) {
  backoff x{milliseconds{100}, milliseconds{1000}};
  for (auto cap : {100, 200, 400, 800, 1000, 1000, 1000}) {
    auto lowest = x, highest = x;
    EXPECT_EQ(lowest.next(0), milliseconds{cap / 2}) << cap;
    EXPECT_EQ(highest.next(static_cast<uint64_t>(cap / 2)), milliseconds{cap}) << cap;
    x.next(0);
  }
}

TEST(Backoff, EveryDelayBetweenTheBoundsCanCome) {
  std::mt19937_64 random{1};
  std::vector<int> seen(11);
  for (int i = 0; i < 2'000; ++i) {
    backoff x{milliseconds{10}, milliseconds{10}};
    const auto delay = x.next(random()).count();
    ASSERT_GE(delay, 5);
    ASSERT_LE(delay, 10);
    ++seen[static_cast<size_t>(delay)];
  }
  for (size_t ms = 5; ms <= 10; ++ms)
    EXPECT_GT(seen[ms], 200) << ms << " ms is rarer than its sixth";
}

TEST(Backoff, BeginsAnewAfterASuccess) {
  backoff x{milliseconds{100}, milliseconds{60'000}};
  for (int i = 0; i < 5; ++i)
    x.next(0);
  EXPECT_EQ(x.attempts(), 5u);
  x.reset();
  EXPECT_EQ(x.attempts(), 0u);
  EXPECT_EQ(x.next(0), milliseconds{50});
}

TEST(Backoff, NeverOverflowsHoweverLongItGoesOn) {
  backoff x{std::chrono::hours{1}, std::chrono::hours{24}};
  for (int i = 0; i < 10'000; ++i) {
    const auto delay = x.next(std::numeric_limits<uint64_t>::max());
    ASSERT_GT(delay.count(), 0) << i;
    ASSERT_LE(delay, std::chrono::hours{24}) << i;
  }
}
