#include "actors/intake.hpp"
#include "actors/recent_ids.hpp"
#include "base/log.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <optional>
#include <random>
#include <thread>
#include <vector>

namespace ziyu::actors {

using namespace std::chrono_literals;

namespace {

auto make_intake(uint64_t jobs, uint64_t bytes) {
  return std::make_shared<intake>(intake::limits{jobs, bytes});
}

} // namespace

TEST(Intake, ClosesAtItsLimitOfJobs) {
  const auto x = make_intake(2, 1'000);
  const credit first{x, 1};
  EXPECT_TRUE(x->open());
  {
    const credit second{x, 1};
    EXPECT_FALSE(x->open());
  }
  EXPECT_TRUE(x->open());
  EXPECT_EQ(x->jobs(), 1u);
  EXPECT_EQ(x->bytes(), 1u);
}

TEST(Intake, ClosesAtItsLimitOfBytesWhichOneRecordMayOvershoot) {
  const auto x = make_intake(10, 1'000);
  {
    const credit large{x, 5'000};
    EXPECT_FALSE(x->open());
    EXPECT_EQ(x->bytes(), 5'000u);
  }
  EXPECT_TRUE(x->open());
  const credit most{x, 999};
  EXPECT_TRUE(x->open());
  const credit rest{x, 1};
  EXPECT_FALSE(x->open());
}

TEST(Intake, StaysClosedOnHoldWhateverTheCredit) {
  const auto x = make_intake(10, 1'000);
  x->hold(true);
  EXPECT_FALSE(x->open());
  { const credit taken{x, 1}; }
  EXPECT_FALSE(x->open());
  x->hold(false);
  EXPECT_TRUE(x->open());
}

TEST(Intake, ShrinksItsLimitsAndRestoresThem) {
  const auto x = make_intake(16, 1'000);
  std::vector<credit> out;
  for (auto i = 0; i < 4; ++i)
    out.emplace_back(x, 10);
  x->shrink_to(0.125);
  EXPECT_EQ(x->granted().jobs, 2u);
  EXPECT_EQ(x->granted().bytes, 125u);
  EXPECT_FALSE(x->open()) << "more is out than there would be now";
  out.pop_back();
  out.pop_back();
  EXPECT_FALSE(x->open());
  out.pop_back();
  EXPECT_TRUE(x->open());
  x->shrink_to(0.01);
  EXPECT_EQ(x->granted().jobs, 1u) << "or nothing would ever go on";
  EXPECT_FALSE(x->open());
  x->shrink_to(1);
  EXPECT_TRUE(x->open());
  EXPECT_EQ(x->granted().jobs, 16u);
}

namespace {

/// How often `x` tells that it opens while `change` happens.
size_t openings(intake& x, const std::function<void()>& change) {
  size_t count = 0;
  x.on_open([&] { ++count; });
  change();
  x.on_open({});
  return count;
}

} // namespace

TEST(Intake, WakesWhoWaitsWhenItsLimitsAreRestored) {
  const auto x = make_intake(8, 1'000);
  const credit one{x, 1};
  x->shrink_to(0.125);
  EXPECT_EQ(openings(*x, [&] { x->shrink_to(1); }), 1u);
}

TEST(Intake, WakesWhoWaitsForCredit) {
  const auto x = make_intake(1, 1'000);
  std::optional<credit> one{std::in_place, x, 1};
  EXPECT_EQ(openings(*x, [&] { one.reset(); }), 1u);
}

TEST(Intake, WakesWhoWaitsForTheEndOfAHold) {
  const auto x = make_intake(1, 1'000);
  x->hold(true);
  EXPECT_EQ(openings(*x, [&] { x->hold(false); }), 1u);
}

TEST(Intake, GrantsMoreWhileSlotsStarveThoughAllCreditIsUsed) {
  const auto x = make_intake(200, 10'000);
  EXPECT_EQ(x->granted().jobs, 64u);
  x->starve();
  EXPECT_EQ(x->granted().jobs, 64u) << "there is credit: more would not help";
  std::vector<credit> out;
  const auto use = [&](size_t jobs) {
    while (out.size() < jobs)
      out.emplace_back(x, 1);
  };
  use(64);
  EXPECT_EQ(openings(*x, [&] { x->starve(); }), 1u);
  EXPECT_EQ(x->granted().jobs, 128u);
  use(128);
  x->starve();
  EXPECT_EQ(x->granted().jobs, 200u) << "the limit";
  x->shrink_to(0.5);
  EXPECT_EQ(x->granted().jobs, 100u) << "memory is short";
  x->shrink_to(1);
  x->end_period();
  EXPECT_EQ(x->granted().jobs, 200u) << "more than half was needed";
  out.clear();
  x->end_period();
  EXPECT_EQ(x->granted().jobs, 200u) << "so it was at the beginning of this period";
  x->end_period();
  EXPECT_EQ(x->granted().jobs, 100u);
  x->end_period();
  x->end_period();
  EXPECT_EQ(x->granted().jobs, 64u);
}

TEST(Intake, GrantsNoMoreWhileItIsHeld) {
  const auto x = make_intake(200, 10'000);
  std::vector<credit> out;
  while (x->open())
    out.emplace_back(x, 1);
  x->hold(true);
  x->starve();
  EXPECT_EQ(x->granted().jobs, 64u);
}

TEST(Intake, IsClosedWhileWhatIsPrefetchedIsGivenUp) {
  intake x{{10, 1000}};
  x.give_up_prefetched(true);
  EXPECT_FALSE(x.open());
  EXPECT_EQ(openings(x, [&] { x.give_up_prefetched(false); }), 1u);
  EXPECT_TRUE(x.open());
}

TEST(Credit, IsGivenBackOnceHoweverOftenItIsMoved) {
  const auto from = make_intake(4, 1'000);
  {
    credit a{from, 10};
    credit b{std::move(a)};
    EXPECT_EQ(a.bytes(), 0u); // NOLINT(bugprone-use-after-move): it holds nothing
    EXPECT_EQ(b.bytes(), 10u);
    credit c{from, 20};
    c = std::move(b);
    EXPECT_EQ(c.bytes(), 10u);
    EXPECT_EQ(from->jobs(), 1u) << "what it held before is given back";
    EXPECT_EQ(from->bytes(), 10u);
  }
  EXPECT_EQ(from->jobs(), 0u);
  EXPECT_EQ(from->bytes(), 0u);
}

TEST(Credit, IsGivenBackWithWhatItHasGrownBy) {
  const auto from = make_intake(4, 1'000);
  {
    credit x{from, 10};
    x.grow(300);
    EXPECT_EQ(from->bytes(), 310u);
    x.shrink(100);
    EXPECT_EQ(from->bytes(), 210u);
    EXPECT_EQ(x.bytes(), 210u);
    EXPECT_EQ(from->jobs(), 1u) << "of one job";
  }
  EXPECT_EQ(from->jobs(), 0u);
  EXPECT_EQ(from->bytes(), 0u);
}

TEST(Credit, IsGivenBackOnAnyThreadAndAfterItsSourceIsGone) {
  auto source = make_intake(1'000'000, 1'000'000);
  const auto watch = source;
  std::vector<std::thread> threads;
  for (auto n = 0; n < 4; ++n) {
    std::vector<credit> some;
    for (auto i = 0; i < 1'000; ++i)
      some.emplace_back(source, 3);
    threads.emplace_back([some = std::move(some)]() mutable {
      while (!some.empty())
        some.pop_back();
    });
  }
  source.reset();
  for (auto& x : threads)
    x.join();
  EXPECT_EQ(watch->jobs(), 0u);
  EXPECT_EQ(watch->bytes(), 0u);
  std::optional<credit> last{std::in_place, make_intake(1, 1), 1};
  EXPECT_EQ(last->bytes(), 1u) << "it keeps its intake alive";
}

TEST(CreditDeathTest, CrashesWhenAJobGivesBackMoreThanItHolds) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  ASSERT_TRUE(init_log("info", "text")); // on standard error, where death tests look
  const auto from = make_intake(2, 1'000);
  const credit other{from, 100};
  credit x{from, 5};
  EXPECT_DEATH(x.shrink(6), "no more credit than it holds");
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
