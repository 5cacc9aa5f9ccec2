// What the supervisor knows of a worker's memory: reports, readings, and whether they agree.

#include "supervision/pool/worker_memory.hpp"

#include <gtest/gtest.h>

namespace ziyu::supervision {

namespace {

constexpr uint64_t mib = 1u << 20;

worker_memory::reading reading(uint64_t anonymous, uint64_t moment, bool idle = true) {
  worker_memory::reading x;
  x.pages.anonymous = anonymous;
  x.pages.private_bytes = anonymous;
  x.moment = moment;
  x.idle = idle;
  return x;
}

memory_report report(uint64_t anonymous, uint64_t moment) {
  memory_report x;
  x.said.rss_anon = x.said.live = x.private_bytes = anonymous;
  x.moment = moment;
  x.jobs.resize(1);
  return x;
}

/// Ready with 10 MiB.
worker_memory fresh() {
  worker_memory x;
  x.ready({.live = 5 * mib});
  x.read(reading(10 * mib, 0));
  x.note_baseline();
  return x;
}

} // namespace

TEST(WorkerMemory, CountsNothingOfItsForkServerAsItsOwn) {
  worker_memory x{300 * mib};
  x.read(reading(310 * mib, 0)); // its server has died before any reading
  EXPECT_EQ(x.private_bytes(), 10 * mib);
  auto with_server = reading(310 * mib, 0);
  with_server.pages.private_bytes = 12 * mib;
  with_server.server_lives = true;
  x.read(with_server);
  EXPECT_EQ(x.private_bytes(), 12 * mib);
  x.read(reading(320 * mib, 0)); // pages that nobody shares any more
  EXPECT_EQ(x.private_bytes(), 22 * mib) << "only what is new counts";
}

TEST(WorkerMemory, ARunningJobsMemoryIsPresentButNotKept) {
  auto x = fresh();
  x.after_job(report(12 * mib, 2));
  x.read(reading(400 * mib, 3, false));
  EXPECT_EQ(x.private_bytes(), 12 * mib);
  EXPECT_EQ(x.present_bytes(), 400 * mib);
  EXPECT_EQ(x.peak_bytes(), 400 * mib);
  EXPECT_EQ(x.most_bytes(), 400 * mib);
  x.read(reading(11 * mib, 3, false));
  EXPECT_EQ(x.private_bytes(), 11 * mib) << "less than it was said to keep";
}

TEST(WorkerMemory, AStepIsAtMostTheGrowth) {
  auto x = fresh();
  auto liar = report(14 * mib, 2);
  liar.step_bytes = 500 * mib;
  x.after_job(liar);
  EXPECT_EQ(x.step_bytes(), 4 * mib);
  EXPECT_EQ(x.private_grown(), 4 * mib);
}

TEST(WorkerMemory, AContradictionMustStandThreeTimes) {
  auto x = fresh();
  x.after_job(report(10 * mib, 2));
  for (auto i = 0; i < 2; ++i) {
    x.read(reading(200 * mib, 2));
    EXPECT_FALSE(x.compare()) << i;
  }
  x.read(reading(200 * mib, 2));
  const auto found = x.compare();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->said, 10 * mib);
  EXPECT_EQ(found->seen, 200 * mib);
}

TEST(WorkerMemory, OnlyWhatIsOfOneMomentIsCompared) {
  auto x = fresh();
  x.after_job(report(10 * mib, 2));
  for (auto i = 0; i < 9; ++i) {
    x.read(reading(200 * mib, 3, false)); // in a job
    EXPECT_FALSE(x.compare());
    x.read(reading(200 * mib, 4)); // after a job whose report is under way
    EXPECT_FALSE(x.compare());
  }
  EXPECT_TRUE(x.begin_trim());
  x.read(reading(200 * mib, 2)); // the trim may be under way
  EXPECT_FALSE(x.compare());
  x.trim_reported({.rss_anon = 5 * mib}, 2);
  x.after_job(report(10 * mib, 2)); // ended before the trim
  for (auto i = 0; i < 9; ++i) {
    x.read(reading(200 * mib, 2));
    EXPECT_FALSE(x.compare());
  }
}

TEST(WorkerMemory, WhatIsSwappedOutIsNoLie) {
  auto x = fresh();
  x.after_job(report(200 * mib, 2));
  for (auto i = 0; i < 9; ++i) {
    auto cold = reading(20 * mib, 2);
    cold.pages.swapped = 150 * mib;
    x.read(cold);
    EXPECT_FALSE(x.compare());
  }
}

TEST(WorkerMemory, AHonestReadingBetweenForgives) {
  auto x = fresh();
  x.after_job(report(10 * mib, 2));
  for (auto i = 0; i < 12; ++i) {
    x.read(reading(i % 3 == 2 ? 10 * mib : 200 * mib, 2));
    EXPECT_FALSE(x.compare()) << i;
  }
}

TEST(WorkerMemory, WantsAReadingWithoutAJobAfterThreeThatFellIntoOne) {
  auto x = fresh();
  x.read(reading(10 * mib, 3, false));
  EXPECT_FALSE(x.wants_idle_reading(false));
  EXPECT_FALSE(x.wants_idle_reading(false));
  EXPECT_FALSE(x.wants_idle_reading(true)) << "it is replaced anyway";
  EXPECT_TRUE(x.wants_idle_reading(false));
  EXPECT_FALSE(x.wants_idle_reading(false)) << "counts anew";
}

TEST(WorkerMemory, ATrimThatBroughtHalfOfTheGrowthBackIsEnough) {
  auto x = fresh();
  x.after_job(report(50 * mib, 2));
  EXPECT_TRUE(x.begin_trim());
  EXPECT_FALSE(x.begin_trim()) << "one at a time";
  x.read(reading(20 * mib, 2)); // sees the trim's effect before its report
  x.trim_reported({.rss_anon = 20 * mib}, 2);
  EXPECT_TRUE(x.was_trimmed());
  x.read(reading(20 * mib, 2));
  const auto found = x.end_trim({.rss_anon = 20 * mib});
  EXPECT_EQ(found.recovered, 30 * mib);
  EXPECT_FALSE(found.gpu_recovered);
  EXPECT_TRUE(found.enough);
  EXPECT_FALSE(x.was_trimmed()) << "the rung may be used again";
}

TEST(WorkerMemory, ATrimThatBroughtLittleIsNotEnough) {
  auto x = fresh();
  x.after_job(report(50 * mib, 2));
  x.begin_trim();
  x.trim_reported({.rss_anon = 45 * mib}, 3);
  x.read(reading(300 * mib, 3, false)); // its next job runs: only its report tells
  const auto found = x.end_trim({.rss_anon = 45 * mib});
  EXPECT_EQ(found.recovered, 5 * mib);
  EXPECT_FALSE(found.enough);
  EXPECT_TRUE(x.was_trimmed());
  EXPECT_EQ(x.private_bytes(), 45 * mib);
}

TEST(WorkerMemory, TheGpusMemoryIsPartOfATrimsOutcome) {
  worker_memory x;
  x.ready({.live = 1, .gpu_reserved = 100 * mib});
  x.read(reading(10 * mib, 0));
  x.note_baseline();
  auto after = report(10 * mib, 2);
  after.said.gpu_reserved = 300 * mib;
  x.after_job(after);
  EXPECT_EQ(x.gpu_grown(), 200 * mib);
  x.begin_trim();
  x.trim_reported({.rss_anon = 10 * mib, .gpu_reserved = 120 * mib}, 2);
  x.read(reading(10 * mib, 2));
  const auto found = x.end_trim({.rss_anon = 10 * mib, .gpu_reserved = 120 * mib});
  EXPECT_EQ(found.gpu_recovered, 180 * mib);
  EXPECT_TRUE(found.enough);
}

TEST(WorkerMemory, KnowsWhetherGrowthFollowsTheImages) {
  auto x = fresh();
  for (uint64_t i = 1; i <= 100; ++i) {
    auto each = report(10 * mib, 2 * i);
    each.jobs[0].decoded_bytes = i * 1'000;
    each.delta_live = static_cast<int64_t>(i) * 500;
    x.after_job(each);
  }
  EXPECT_NEAR(x.delta_image_correlation(), 1, 1e-9);
  EXPECT_EQ(x.recent().size(), worker_memory::recent_limit);
  EXPECT_EQ(x.recent().back().job, 100u);
  EXPECT_DOUBLE_EQ(x.decoded_per_job(), 50'500);
}

} // namespace ziyu::supervision
