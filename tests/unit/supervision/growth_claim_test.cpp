// Growth is a fact, a leak is a forecast: what is called `growing`, what `leak`, and what is
// remembered of growth that has ended.

#include "supervision/growth_history.hpp"
#include "supervision/healing_policy.hpp"
#include "supervision/leak_judge.hpp"

#include <gmock/gmock.h>

#include <deque>
#include <functional>
#include <random>

using namespace ziyu::supervision;
using testing::HasSubstr;

namespace {

constexpr uint64_t kib = 1024, mib = 1024 * 1024;

leak_judge::settings with_budget(uint64_t bytes) {
  leak_judge::settings s;
  s.budget_bytes = bytes;
  return s;
}

job_memory at(uint64_t grown) {
  job_memory x;
  x.live = 5 * mib + grown;
  x.private_bytes = 10 * mib + grown;
  x.decoded_bytes = 150'528;
  x.encoded_bytes = 10'000;
  return x;
}

/// The first job at which `kind` or a higher one is reached, 0: never.
uint64_t first(leak_judge& aut, growth kind, uint64_t jobs,
               const std::function<uint64_t(uint64_t)>& grown) {
  for (uint64_t i = 1; i <= jobs; ++i)
    if (aut.observe(at(grown(i))).kind >= kind)
      return i;
  return 0;
}

std::function<uint64_t(uint64_t)> cache_of(uint64_t entries, uint64_t bytes) {
  return [=](uint64_t i) { return std::min(i, entries) * bytes; };
}

} // namespace

TEST(GrowthClaim, ACacheOfTheLatestInputsThatFillsIsGrowingAndNeverALeak) {
  // Entries, bytes of each, budget: what the model of a feature cache does, and its siblings.
  const struct {
    uint64_t entries, bytes, budget;
  } cases[] = {
    {500, 66 * kib, 64 * mib},   {100, 66 * kib, 64 * mib},    {1000, 4 * kib, 256 * mib},
    {2000, 16 * kib, 256 * mib}, {64, mib, 256 * mib},         {200, 512 * kib, 256 * mib},
    {30, 3 * mib, 256 * mib},    {1000, 200 * kib, 256 * mib},
  };
  for (const auto& x : cases) {
    leak_judge aut{with_budget(x.budget)};
    EXPECT_EQ(first(aut, growth::hoarding, 3 * x.entries + 100, cache_of(x.entries, x.bytes)), 0u)
      << x.entries << " of " << x.bytes << ": " << explain(aut.last());
    EXPECT_EQ(aut.last().kind, growth::healthy);
    EXPECT_NEAR(static_cast<double>(aut.last().ended_jobs), static_cast<double>(x.entries), 1);
    EXPECT_EQ(aut.last().ended_bytes, (x.entries - 1) * x.bytes);
    EXPECT_THAT(explain(aut.last()), HasSubstr("growth over"));
    leak_judge again{with_budget(x.budget)};
    const auto found = first(again, growth::growing, x.entries, cache_of(x.entries, x.bytes));
    EXPECT_GT(found, 0u) << "it does grow";
    EXPECT_LE(found, 24u);
    EXPECT_THAT(explain(again.last()), HasSubstr("a leak, or a cache that is not full yet"));
  }
}

TEST(GrowthClaim, ACacheThatFillsInGroupsOrWithSomeInputsIsNoLeak) {
  for (const uint64_t group : {2, 7, 32})
    for (const auto one_at_a_time : {true, false}) {
      leak_judge aut{with_budget(256 * mib)};
      const auto kept = [&](uint64_t i) {
        return one_at_a_time ? std::min<uint64_t>(i / group, 300) * 64 * kib
                             : std::min<uint64_t>(i / group * group, 300) * 64 * kib;
      };
      EXPECT_EQ(first(aut, growth::hoarding, 300 * group + 3000, kept), 0u)
        << group << ": " << explain(aut.last());
    }
}

TEST(GrowthClaim, ALeakThatFillsItsBudgetInFewJobsIsNamedAsSoonAsItCouldBeReplaced) {
  for (const auto budget : {100 * mib, 128 * mib, 256 * mib}) {
    leak_judge aut{with_budget(budget)};
    const auto job = first(aut, growth::leak, 100, [](uint64_t i) { return i * 6 * mib; });
    ASSERT_GT(job, 0u) << budget;
    // At four tenths of its room it may be replaced: the earliest by jitter.
    const auto room = budget - 16 * mib;
    EXPECT_LE(job, std::max<uint64_t>(14, room * 4 / 10 / (6 * mib) + 1)) << budget;
    EXPECT_EQ(aut.last().kind, growth::leak);
  }
}

TEST(GrowthClaim, GrowthBeyondTheEntriesThatACacheMayHaveIsALeak) {
  leak_judge aut{with_budget(256 * mib)};
  const auto leak = [](uint64_t i) { return i * 64 * kib; };
  const auto job = first(aut, growth::leak, 3000, leak);
  EXPECT_GT(job, 1024u);
  EXPECT_LT(job, 1050u);
  leak_judge small{with_budget(256 * mib)};
  EXPECT_EQ(first(small, growth::leak, 4000, [](uint64_t i) { return i * kib; }), 0u)
    << "a cache of many small entries";
  EXPECT_GT(first(small, growth::leak, 1000, [](uint64_t i) { return (i + 4000) * kib; }), 0u);
}

TEST(GrowthClaim, ADeclaredCacheDecides) {
  auto s = with_budget(256 * mib);
  s.model_cache_bytes = 20 * mib;
  leak_judge aut{s};
  const auto leak = [](uint64_t i) { return i * 64 * kib; };
  EXPECT_EQ(first(aut, growth::leak, 1000, leak), 20 * mib / (64 * kib) + 2);
  s.model_cache_bytes = 0;
  leak_judge none{s};
  EXPECT_LE(first(none, growth::leak, 100, leak), 16u);
  s.model_cache_bytes = 100 * mib; // of many more entries than are usual
  leak_judge many{s};
  EXPECT_EQ(first(many, growth::hoarding, 9000, cache_of(6000, 16 * kib)), 0u)
    << explain(many.last());
}

TEST(GrowthClaim, WhatAnEarlierWorkersCacheHeldIsNoLeakOfTheNextOne) {
  // 6000 small entries: a leak, unless they are declared.
  const auto cache = cache_of(6000, 16 * kib);
  leak_judge one{with_budget(256 * mib)};
  growth_history history;
  auto claimed = false;
  for (uint64_t i = 1; i <= 7000; ++i) {
    one.observe(at(cache(i)));
    claimed = claimed || one.last().kind == growth::leak;
  }
  EXPECT_TRUE(claimed);
  ASSERT_GT(one.last().ended_jobs, 0u);
  history.note_end(one.last().ended_bytes);
  leak_judge next{with_budget(256 * mib)};
  next.expect_cache(history.cache_bytes());
  EXPECT_EQ(first(next, growth::hoarding, 7000, cache), 0u) << explain(next.last());
  // Beyond it the next one is judged like any other.
  leak_judge leaking{with_budget(256 * mib)};
  leaking.expect_cache(history.cache_bytes());
  EXPECT_GT(first(leaking, growth::leak, 14'000, [](uint64_t i) { return i * 16 * kib; }), 7000u);
}

TEST(GrowthClaim, ThreeLargeStepsInARowAreReportedAndAreNoLeak) {
  // Parts of a model that are loaded when they are first needed: more than a third of the
  // room, at odds of 100,000 to 1. Of a million healthy lives that is too many.
  const auto steps = [](uint64_t most) {
    return [=](uint64_t i) { return i < 300 ? 0 : std::min(i - 299, most) * 30 * mib; };
  };
  leak_judge aut{with_budget(256 * mib)};
  auto worst = growth::healthy;
  for (uint64_t i = 1; i <= 600; ++i)
    worst = std::max(worst, aut.observe(at(steps(3)(i))).kind);
  EXPECT_EQ(worst, growth::growing) << explain(aut.last());
  EXPECT_EQ(aut.last().kind, growth::healthy) << explain(aut.last());
  leak_judge leaking{with_budget(256 * mib)};
  EXPECT_EQ(first(leaking, growth::leak, 600, steps(6)), 303u) << "the fourth settles it";
}

TEST(GrowthClaim, AnAllocatorThatTakesTenStepsAndThenRestsIsNotCalledHoarding) {
  const auto worst_of = [](uint64_t jobs) {
    leak_judge aut{with_budget(256 * mib)};
    auto worst = growth::warming_up;
    for (uint64_t i = 1; i <= 600; ++i) {
      auto x = at(0);
      x.private_bytes += i <= 200 ? 0 : std::min(i - 200, jobs) * 4 * mib;
      worst = std::max(worst, aut.observe(x).kind);
    }
    return worst;
  };
  EXPECT_LT(worst_of(20), growth::hoarding) << "ten blocks of two jobs: odds of 2.5 million to 1";
  EXPECT_EQ(worst_of(30), growth::hoarding);
}

TEST(GrowthHistory, RemembersTheHighestEndUntilTheModelChanges) {
  growth_history x;
  EXPECT_EQ(x.cache_bytes(), 0u);
  x.note_end(30 * mib);
  x.note_end(2 * mib);
  EXPECT_EQ(x.cache_bytes(), 30 * mib);
  x.forget();
  EXPECT_EQ(x.cache_bytes(), 0u);
}

TEST(GrowthClaim, AWorkerIsNotReplacedForACacheThatFitsAndIsForOneThatDoesNot) {
  const auto replaced_at = [](uint64_t budget, std::string* why) {
    healing_policy::settings heal;
    heal.budget_bytes = budget;
    const healing_policy policy{heal};
    leak_judge aut{with_budget(budget)};
    const auto kept = cache_of(500, 66 * kib);
    for (uint64_t i = 1; i <= 2000; ++i) {
      healing_policy::worker w;
      const auto x = at(kept(i));
      w.verdict = aut.observe(x);
      w.baseline_bytes = 10 * mib;
      w.private_bytes = x.private_bytes;
      w.chance = 1;
      if (const auto step = policy.decide(w); step.action == rung::replace) {
        *why = step.reason;
        return i;
      }
    }
    return uint64_t{0};
  };
  std::string why;
  EXPECT_EQ(replaced_at(64 * mib, &why), 0u) << why;
  EXPECT_GT(replaced_at(32 * mib, &why), 300u) << "most of the room is used first: " << why;
  EXPECT_THAT(why, HasSubstr("memory.worker_budget_bytes is too small for a cache"));
  EXPECT_THAT(why, HasSubstr("memory.model_cache_bytes"));
}
