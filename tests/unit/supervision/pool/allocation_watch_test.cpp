#include "supervision/pool/allocation_watch.hpp"

#include "base/log.hpp"

#include "supervision/heap_profile.hpp"

#include <gtest/gtest.h>

namespace ziyu::supervision {

namespace {

using namespace std::chrono_literals;
using wire::profile;

constexpr auto mib = 1 << 20;

/// A worker whose allocations are watched: does jobs, and answers when asked.
class AllocationWatch : public testing::Test {
protected:
  /// Does a job; returns the frame that follows.
  std::optional<profile> job(int64_t delta, growth kind = growth::healthy, bool explained = false) {
    return aut.after_job({.jobs = ++jobs,
                          .last_delta = delta,
                          .kind = kind,
                          .growth_per_job = delta > 0 ? static_cast<double>(delta) : 0.,
                          .explained = explained},
                         how, now);
  }

  /// Does `n` jobs; returns the frames that follow.
  std::vector<profile> do_jobs(uint64_t n, int64_t delta, growth kind = growth::healthy,
                               bool explained = false) {
    std::vector<profile> result;
    for (uint64_t i = 0; i < n; ++i)
      if (const auto x = job(delta, kind, explained))
        result.push_back(*x);
    return result;
  }

  /// A worker that is past its warm-up and sampled.
  void sample() {
    do_jobs(how.warmup_jobs, 0);
    ASSERT_TRUE(job(mib));
    aut.started(jobs, 77);
  }

  allocation_watch::settings how{
    .warmup_jobs = 3, .min_effect_bytes = 512, .room_bytes = 256.0 * mib};
  allocation_watch aut;
  allocation_watch::clock::time_point now{1h};
  uint64_t jobs = 0;
};

} // namespace

TEST_F(AllocationWatch, LeavesAHealthyWorkerAlone) {
  EXPECT_TRUE(do_jobs(1'000, 0).empty());
  EXPECT_TRUE(do_jobs(100, 511).empty()) << "below what counts as growth";
  EXPECT_FALSE(aut.is_sampled());
}

TEST_F(AllocationWatch, ExcusesGrowthDuringWarmUp) {
  EXPECT_TRUE(do_jobs(3, mib).empty());
  EXPECT_TRUE(job(mib));
}

TEST_F(AllocationWatch, SamplesFromTheFirstGrowthAtARateThatFitsIt) {
  do_jobs(3, 0);
  const auto asked = job(6 * mib);
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->what, profile::start);
  // 256 MiB are room for 42 jobs of 6 MiB.
  EXPECT_EQ(asked->log2_sample, choose_sample_rate(6. * mib, 42));
  EXPECT_TRUE(aut.awaits_start());
  EXPECT_FALSE(job(6 * mib)) << "asks once";
  aut.started(jobs, 77);
  EXPECT_TRUE(aut.is_sampled());
  EXPECT_EQ(aut.live_at_start(), 77u);
}

TEST_F(AllocationWatch, SamplesASuspectEvenIfItsLatestJobDidNotGrow) {
  do_jobs(3, 0);
  EXPECT_FALSE(job(0, growth::hoarding)) << "there are no call stacks of what the allocator keeps";
  EXPECT_TRUE(job(0, growth::suspected));
}

TEST_F(AllocationWatch, DoesNotAskAWorkerAgainThatCannotBeSampled) {
  do_jobs(3, 0);
  ASSERT_TRUE(job(mib));
  // The worker's answer was an error: nobody calls started().
  EXPECT_TRUE(do_jobs(500, mib, growth::leak).empty());
}

TEST_F(AllocationWatch, AsksForTheDumpOfALeakWhenItsSamplesAreEnough) {
  sample();
  EXPECT_TRUE(do_jobs(47, mib, growth::leak).empty());
  const auto asked = job(mib, growth::leak);
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->what, profile::dump);
  EXPECT_TRUE(aut.awaits_dump());
  EXPECT_FALSE(aut.dumped());
  EXPECT_TRUE(do_jobs(1'000, mib, growth::leak).empty()) << "one report is enough";
}

TEST_F(AllocationWatch, DoesNotAskForTheDumpOfALeakThatIsExplained) {
  sample();
  EXPECT_TRUE(do_jobs(1'000, mib, growth::leak, true).empty());
}

TEST_F(AllocationWatch, DoesNotAskForTheDumpOfACacheThatFills) {
  sample();
  EXPECT_TRUE(do_jobs(1'000, mib, growth::growing).empty());
}

TEST_F(AllocationWatch, StopsWhenNothingHasGrownForLong) {
  sample();
  EXPECT_TRUE(do_jobs(127, 0).empty());
  const auto told = job(0);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->what, profile::stop);
  EXPECT_FALSE(aut.is_sampled());
  EXPECT_TRUE(job(mib)) << "it may be sampled again";
}

TEST_F(AllocationWatch, StopsForGoodAfterSoManyJobs) {
  sample();
  const auto told = do_jobs(3'000, mib, growth::growing);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].what, profile::stop);
  EXPECT_TRUE(do_jobs(100, mib, growth::growing).empty());
}

TEST_F(AllocationWatch, DumpsASlowLeakBeforeItStopsForGood) {
  sample();
  EXPECT_TRUE(do_jobs(1'999, mib, growth::leak, true).empty());
  const auto asked = job(mib, growth::leak, true);
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->what, profile::dump);
  const auto told = aut.dumped();
  ASSERT_TRUE(told);
  EXPECT_EQ(told->what, profile::stop);
}

TEST_F(AllocationWatch, WaitsForADumpForABoundedTime) {
  sample();
  aut.ask_for_dump(now);
  EXPECT_FALSE(aut.is_late(now + 1'999ms));
  EXPECT_TRUE(aut.is_late(now + 2s));
}

TEST_F(AllocationWatch, AbortsOnAnswersThatNobodyAskedFor) {
  ASSERT_TRUE(init_log("info", "text")); // on standard error, where death tests look
  EXPECT_DEATH(aut.dumped(), "nobody has asked for");
  EXPECT_DEATH(aut.started(1, 2), "without being asked to");
  EXPECT_DEATH(aut.ask_for_dump(now), "not sampled");
}

} // namespace ziyu::supervision
