#include "actors/intake.hpp"
#include "actors/recent_ids.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <random>
#include <thread>

namespace ziyu::actors {

using namespace std::chrono_literals;

TEST(Intake, ClosesAtItsLimitOfJobs) {
  intake x{{2, 1'000}};
  x.take(1);
  EXPECT_TRUE(x.open());
  x.take(1);
  EXPECT_FALSE(x.open());
  x.give(1);
  EXPECT_TRUE(x.open());
  EXPECT_EQ(x.jobs(), 1u);
  EXPECT_EQ(x.bytes(), 1u);
}

TEST(Intake, ClosesAtItsLimitOfBytesWhichOneRecordMayOvershoot) {
  intake x{{10, 1'000}};
  x.take(5'000);
  EXPECT_FALSE(x.open());
  EXPECT_EQ(x.bytes(), 5'000u);
  x.give(5'000);
  EXPECT_TRUE(x.open());
  x.take(999);
  EXPECT_TRUE(x.open());
  x.take(1);
  EXPECT_FALSE(x.open());
}

TEST(Intake, StaysClosedOnHoldWhateverTheCredit) {
  intake x{{10, 1'000}};
  x.hold(true);
  EXPECT_FALSE(x.open());
  x.take(1);
  x.give(1);
  EXPECT_FALSE(x.open());
  x.hold(false);
  EXPECT_TRUE(x.open());
}

TEST(Intake, ShrinksItsLimitsAndRestoresThem) {
  intake x{{16, 1'000}};
  for (auto i = 0; i < 4; ++i)
    x.take(10);
  x.shrink_to(0.125);
  EXPECT_EQ(x.granted().jobs, 2u);
  EXPECT_EQ(x.granted().bytes, 125u);
  EXPECT_FALSE(x.open()) << "more is out than there would be now";
  x.give(10);
  x.give(10);
  EXPECT_FALSE(x.open());
  x.give(10);
  EXPECT_TRUE(x.open());
  x.shrink_to(0.01);
  EXPECT_EQ(x.granted().jobs, 1u) << "or nothing would ever go on";
  EXPECT_FALSE(x.open());
  x.shrink_to(1);
  EXPECT_TRUE(x.open());
  EXPECT_EQ(x.granted().jobs, 16u);
}

TEST(Intake, WakesWhoWaitsWhenItsLimitsAreRestored) {
  intake x{{8, 1'000}};
  x.take(1);
  x.shrink_to(0.125);
  std::atomic<bool> opened{false};
  std::thread waiter{[&] {
    x.wait_open(30s);
    opened = x.open();
  }};
  x.shrink_to(1);
  waiter.join();
  EXPECT_TRUE(opened);
}

TEST(Intake, WakesWhoWaitsForCredit) {
  intake x{{1, 1'000}};
  x.take(1);
  std::atomic<bool> opened{false};
  std::thread waiter{[&] {
    x.wait_open(30s);
    opened = x.open();
  }};
  x.give(1);
  waiter.join();
  EXPECT_TRUE(opened);
}

TEST(Intake, WakesWhoWaitsForTheEndOfAHold) {
  intake x{{1, 1'000}};
  x.hold(true);
  std::atomic<bool> opened{false};
  std::thread waiter{[&] {
    x.wait_open(30s);
    opened = x.open();
  }};
  x.hold(false);
  waiter.join();
  EXPECT_TRUE(opened);
}

TEST(Intake, WaitsNoLongerThanAsked) {
  intake x{{1, 1'000}};
  x.hold(true);
  x.wait_open(1ms);
  EXPECT_FALSE(x.open());
}

TEST(Intake, IsClosedWhileWhatIsPrefetchedIsGivenUp) {
  intake x{{10, 1000}};
  x.give_up_prefetched(true);
  EXPECT_FALSE(x.open());
  x.wait_open(1ms); // or whoever waits for credit would wait no moment, and ask again and again
  x.give_up_prefetched(false);
  EXPECT_TRUE(x.open());
}

TEST(IntakeDeathTest, CrashesWhenMoreIsGivenBackThanWasTaken) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  intake x{{2, 1'000}};
  x.take(5);
  EXPECT_DEATH(x.give(6), "more credit given back than taken");
  x.give(5);
  EXPECT_DEATH(x.give(0), "more credit given back than taken");
}

TEST(RecentIds, KnowsAnIdThatCameWithAnotherRecord) {
  recent_ids x{10};
  EXPECT_FALSE(x.seen_elsewhere("a", {"t", 0, 1}));
  EXPECT_TRUE(x.seen_elsewhere("a", {"t", 0, 2}));
  EXPECT_TRUE(x.seen_elsewhere("a", {"t", 1, 1}));
  EXPECT_FALSE(x.seen_elsewhere("b", {"t", 0, 2}));
}

TEST(RecentIds, TakesARecordThatIsFetchedAgainForNoDuplicate) {
  recent_ids x{10};
  EXPECT_FALSE(x.seen_elsewhere("a", {"t", 0, 1}));
  EXPECT_FALSE(x.seen_elsewhere("a", {"t", 0, 1}));
}

TEST(RecentIds, ForgetsTheOldestBeyondItsCapacity) {
  recent_ids x{2};
  x.seen_elsewhere("a", {"t", 0, 1});
  x.seen_elsewhere("b", {"t", 0, 2});
  x.seen_elsewhere("c", {"t", 0, 3});
  EXPECT_FALSE(x.seen_elsewhere("a", {"t", 0, 4}));
  EXPECT_TRUE(x.seen_elsewhere("c", {"t", 0, 5}));
}

TEST(RecentIds, AgreesWithAListOfTheLatestIds) {
  std::mt19937 random{11};
  recent_ids x{50};
  std::deque<std::pair<std::string, messaging::record_id>> latest;
  for (int64_t i = 0; i < 20'000; ++i) {
    const auto id = std::to_string(random() % 90);
    const messaging::record_id source{"t", 0, i};
    const auto known = std::any_of(latest.begin(), latest.end(),
                                   [&](const auto& e) { return e.first == id; });
    ASSERT_EQ(x.seen_elsewhere(id, source), known) << i;
    if (!known) {
      latest.emplace_back(id, source);
      if (latest.size() > 50)
        latest.pop_front();
    }
  }
}

} // namespace ziyu::actors
