#include "supervision/replacement_schedule.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <random>

using namespace ziyu::supervision;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(ReplacementSchedule, StartsTheMostUrgentFirst) {
  const replacement_schedule aut{2};
  const auto plan = aut.decide({{0, 15, 10}, {1, 12, 10}, {2, 18, 10}}, 0);
  EXPECT_THAT(plan.start, ElementsAre(1, 0));
  EXPECT_THAT(plan.wait, ElementsAre(2));
}

TEST(ReplacementSchedule, CountsThoseUnderWay) {
  const replacement_schedule aut{2};
  EXPECT_THAT(aut.decide({{0, 15, 10}, {1, 12, 10}}, 1).start, ElementsAre(1));
  EXPECT_THAT(aut.decide({{0, 15, 10}, {1, 12, 10}}, 2).start, IsEmpty());
  EXPECT_THAT(aut.decide({{0, 15, 10}, {1, 12, 10}}, 5).start, IsEmpty()) << "out of turn";
}

TEST(ReplacementSchedule, HoldsWhoseNextJobMayReachTheBudgetWhileNoTurnIsFree) {
  const replacement_schedule aut{1};
  const auto plan = aut.decide({{4, 1, 10}, {5, 8, 10}}, 1);
  EXPECT_THAT(plan.start, IsEmpty());
  EXPECT_THAT(plan.hold, ElementsAre(4));
  EXPECT_THAT(plan.wait, ElementsAre(5));
}

TEST(ReplacementSchedule, PutsIdleWorkersLast) {
  const replacement_schedule aut{1};
  const auto plan = aut.decide({{1, 2, 0}, {2, 1'000, 1}}, 0);
  EXPECT_THAT(plan.start, ElementsAre(2));
  EXPECT_THAT(plan.wait, ElementsAre(1));
}

TEST(ReplacementSchedule, KeepsItsLimitsInSimulatedPools) {
  std::mt19937 random{7};
  auto pick = [&](uint32_t a, uint32_t b) { return std::uniform_int_distribution{a, b}(random); };
  for (int round = 0; round < 200; ++round) {
    const auto slots = pick(2, 16);
    const auto out = pick(1, std::max(1u, slots / 2));
    const auto takes = pick(1, 4); // ticks; each worker does one job per tick
    const replacement_schedule aut{out};
    std::vector<uint64_t> left(slots);
    for (auto& x : left)
      x = pick(1, 60);
    std::map<uint32_t, uint32_t> under_way; // slot -> ticks to go
    uint32_t replaced = 0;
    for (int tick = 0; tick < 400; ++tick) {
      std::vector<doomed_worker> doomed;
      for (uint32_t i = 0; i < slots; ++i)
        if (!under_way.count(i))
          doomed.push_back({i, left[i], 1});
      const auto plan = aut.decide(doomed, static_cast<uint32_t>(under_way.size()));
      ASSERT_EQ(plan.start.size() + plan.hold.size() + plan.wait.size(), doomed.size());
      for (auto i : plan.start)
        under_way[i] = takes;
      ASSERT_LE(under_way.size(), out);
      for (uint32_t i = 0; i < slots; ++i) {
        const auto held = std::find(plan.hold.begin(), plan.hold.end(), i) != plan.hold.end();
        if (held || under_way.count(i))
          continue;
        // One job; it must not have been the one that reaches the budget.
        ASSERT_GT(left[i], 1u) << "slot " << i << " reached its budget while it waited";
        --left[i];
      }
      for (auto i = under_way.begin(); i != under_way.end();)
        if (--i->second == 0) {
          left[i->first] = pick(20, 60);
          ++replaced;
          i = under_way.erase(i);
        } else {
          ++i;
        }
    }
    EXPECT_GT(replaced, 0u);
  }
}
