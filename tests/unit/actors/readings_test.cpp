// What the supervisor concludes from its own readings of workers: of those with a running job, of
// pages that became a worker's own, and of workers whose reports differ.

#include "tests/support/supervisor_stage.hpp"

namespace ziyu::actors {

namespace {

using namespace ziyu::test;

class Readings : public supervisor_fixture {
protected:
  Readings() { settings.explain = false; }

  /// Jobs of slot 0 wait for `finish`.
  void hold_jobs() {
    host->on_job = [this](fake_host::worker& x, const wire::batch& job) {
      if (x.slot != 0)
        return false;
      open.push_back(job);
      return true;
    };
  }

  void finish(fake_host::worker& x) {
    ASSERT_FALSE(open.empty());
    const auto job = open.front();
    open.erase(open.begin());
    host->answer(x, job);
    run();
  }

  std::vector<wire::batch> open;
};

} // namespace

TEST_F(Readings, WhatARunningJobTakesIsNoGrowth) {
  start();
  auto& x = serving(0);
  work(0, 3);
  hold_jobs();
  for (auto job = 0; job < 10; ++job) {
    const auto outcome = request(0);
    x.private_bytes += 150 * mib; // of 100 MiB of budget, below the hard limit
    advance(3s);
    x.private_bytes -= 150 * mib;
    finish(x);
    ASSERT_TRUE(*outcome);
    ASSERT_FALSE((*outcome)->failure) << (*outcome)->failure->describe();
  }
  EXPECT_TRUE(x.alive);
  EXPECT_EQ(serving(0).id, x.id);
  EXPECT_TRUE(details("worker_replaced").empty());
  EXPECT_TRUE(details("worker_trimmed").empty());
  const auto workers = workers_json(status())["workers"];
  EXPECT_EQ(workers[0]["private_bytes"], 10 * mib) << "what it keeps";
  EXPECT_EQ(workers[0]["peak_private_bytes"], 160 * mib) << "what it had";
}

TEST_F(Readings, TheHardLimitCountsWhatARunningJobTakes) {
  start();
  auto& x = serving(0);
  hold_jobs();
  const auto outcome = request(0);
  x.private_bytes = 200 * mib;
  advance(1s);
  EXPECT_FALSE(x.alive);
  EXPECT_EQ((*outcome)->failure->code, errc::hard_limit);
}

TEST_F(Readings, OneLargeJobIsTrimmedAndItsWorkerGoesOn) {
  start();
  auto& x = serving(0);
  work(0, 10);
  hold_jobs();
  const auto outcome = request(0);
  x.private_bytes += 60 * mib; // kept by its allocator: as much again would be too much
  x.trimmable = 60 * mib;
  finish(x);
  EXPECT_FALSE((*outcome)->failure);
  host->on_job = nullptr;
  work(0, 10);
  const auto trimmed = details("worker_trimmed");
  ASSERT_EQ(trimmed.size(), 1u);
  EXPECT_EQ(trimmed[0]["enough"], true);
  EXPECT_TRUE(details("worker_replaced").empty());
  EXPECT_EQ(serving(0).id, x.id);
}

TEST_F(Readings, ATrimIsJudgedByWhatItLeftNotByTheJobBehindIt) {
  start();
  auto& x = serving(0);
  work(0, 100); // in its first jobs memory settles
  x.hoard = 2 * mib;
  x.slow_trim = true;
  while (x.trimmed.duration_us == 0 && x.jobs < 160) {
    x.trimmable = x.private_bytes - 10 * mib;
    work(0, 1);
  }
  ASSERT_GT(x.trimmed.duration_us, 0u);
  x.hoard = 0;
  hold_jobs();
  // Its next job runs when the supervisor hears of the trim.
  request(0);
  ASSERT_EQ(open.size(), 1u);
  x.private_bytes += 80 * mib;
  host->finish_trim(x);
  run();
  const auto trimmed = details("worker_trimmed");
  ASSERT_EQ(trimmed.size(), 1u);
  EXPECT_EQ(trimmed[0]["enough"], true) << trimmed[0];
  EXPECT_TRUE(details("worker_replaced").empty());
}

TEST_F(Readings, AWorkerThatIsTrimmedAtItsBudgetGetsNoJobBeforeThat) {
  start();
  auto& x = serving(0);
  work(0, 10);
  x.slow_trim = true;
  hold_jobs();
  request(0);
  x.private_bytes += 60 * mib;
  x.trimmable = 60 * mib;
  finish(x);
  EXPECT_EQ((*request(0))->failure->code, errc::unavailable);
  host->finish_trim(x);
  run();
  request(0);
  EXPECT_EQ(open.size(), 1u);
  EXPECT_TRUE(details("worker_replaced").empty());
}

TEST_F(Readings, ATrimThatNeverEndsIsLeftToTheDeadlineOfTheNextJob) {
  start();
  auto& x = serving(0);
  work(0, 10);
  x.slow_trim = true;
  hold_jobs();
  request(0);
  x.private_bytes += 60 * mib;
  finish(x);
  advance(2s);
  const auto outcome = request(0);
  advance(6s);
  ASSERT_TRUE(*outcome);
  EXPECT_EQ((*outcome)->failure->code, errc::deadline_exceeded);
}

TEST_F(Readings, AWorkerNearItsBudgetThatIsNotKnownToGrowIsNotSaidToHoard) {
  start();
  auto& x = serving(0);
  work(0, 10);
  hold_jobs();
  request(0);
  x.private_bytes += 60 * mib; // and no trim helps
  finish(x);
  run();
  const auto replaced = details("worker_replaced");
  ASSERT_EQ(replaced.size(), 1u);
  EXPECT_EQ(details("worker_trimmed").size(), 1u) << "the rung before";
  EXPECT_EQ(replaced[0]["cause"], "budget");
  EXPECT_NE(replaced[0]["verdict"], "hoarding");
}

TEST_F(Readings, ASlowJobIsNotHeldAgainstAnHonestWorker) {
  start();
  auto& x = serving(0);
  work(0, 5);
  hold_jobs();
  for (auto job = 0; job < 4; ++job) {
    const auto outcome = request(0);
    x.private_bytes += 120 * mib;
    advance(4s); // four probes
    x.private_bytes -= 120 * mib;
    finish(x);
    ASSERT_TRUE(*outcome);
    EXPECT_FALSE((*outcome)->failure);
  }
  EXPECT_TRUE(details("worker_killed").empty());
}

TEST_F(Readings, ATrimThatASlowJobFollowsIsNotHeldAgainstAnHonestWorker) {
  start();
  auto& x = serving(0);
  work(0, 100); // in its first jobs memory settles
  x.hoard = 2 * mib;
  while (details("worker_trimmed").empty() && x.jobs < 160) {
    x.trimmable = x.private_bytes - 10 * mib;
    work(0, 1);
  }
  ASSERT_EQ(details("worker_trimmed").size(), 1u);
  x.hoard = 0;
  hold_jobs();
  const auto outcome = request(0);
  x.private_bytes += 120 * mib;
  advance(4s); // of the 5 that a job may take
  EXPECT_TRUE(x.alive);
  x.private_bytes -= 120 * mib;
  finish(x);
  EXPECT_FALSE((*outcome)->failure);
  advance(10s);
  EXPECT_TRUE(details("worker_killed").empty());
}

TEST_F(Readings, AnIdleWorkerWhosePagesWereSwappedOutIsNotHeldAgainstIt) {
  settings.healing.budget_bytes = settings.judge.budget_bytes = 1000 * mib;
  settings.healing.hard_limit_bytes = 2000 * mib;
  start();
  auto& x = serving(0);
  x.private_bytes = 200 * mib;
  work(0, 5);
  x.swapped = 190 * mib;
  advance(10s);
  EXPECT_TRUE(x.alive);
  EXPECT_TRUE(details("worker_killed").empty());
}

TEST_F(Readings, AnIdleLiarIsKilled) {
  start();
  auto& x = serving(0);
  work(0, 3);
  x.hidden = 70 * mib;
  x.private_bytes += 70 * mib;
  work(0, 1);
  advance(5s);
  ASSERT_EQ(details("worker_killed").size(), 1u);
  EXPECT_EQ(details("worker_killed")[0]["code"], "misreported");
  EXPECT_FALSE(x.alive);
}

TEST_F(Readings, ALiarThatIsNeverIdleIsHeldForAMomentAndKilled) {
  start();
  auto& x = serving(0);
  work(0, 3);
  x.hidden = 70 * mib;
  x.private_bytes += 70 * mib;
  hold_jobs();
  auto outcome = request(0);
  auto held = 0;
  for (auto second = 0; second < 60 && x.alive; ++second) {
    advance(1s); // each probe falls into a job
    if (!x.alive || second % 2 == 0)
      continue;
    finish(x);
    ASSERT_TRUE(*outcome);
    held += !(*outcome)->slot_up;
    if (x.alive)
      outcome = request(0);
  }
  EXPECT_GE(held, 3);
  ASSERT_FALSE(details("worker_killed").empty());
  EXPECT_EQ(details("worker_killed")[0]["code"], "misreported");
}

TEST_F(Readings, AnHonestWorkerThatIsNeverIdleServesOn) {
  start();
  auto& x = serving(0);
  hold_jobs();
  auto done = 0;
  auto outcome = request(0);
  for (auto second = 0; second < 60; ++second) {
    advance(1s);
    if (second % 2 == 0)
      continue;
    finish(x);
    ASSERT_TRUE(*outcome);
    ASSERT_FALSE((*outcome)->failure) << (*outcome)->failure->describe();
    ++done;
    outcome = request(0);
  }
  EXPECT_EQ(done, 30);
  EXPECT_EQ(serving(0).id, x.id);
  EXPECT_EQ(status().slots_held, 0u);
}

TEST_F(Readings, PagesOfADeadForkServerAreNobodysGrowth) {
  host->server_anonymous = 300 * mib;
  host->prepare = [](auto& x) { x.shared = 300 * mib; };
  start();
  work(0, 5);
  auto& x = serving(0);
  host->auto_server = false; // the next one takes its time
  host->server_dies();
  run();
  advance(20s);
  work(0, 5);
  EXPECT_TRUE(x.alive) << "its 310 MiB are private now, above every limit";
  EXPECT_EQ(workers_json(status())["workers"][0]["private_bytes"], 10 * mib);
  x.leak = 6 * mib; // what it takes itself still counts
  for (auto i = 0; i < 20 && x.alive; ++i)
    work(0, 1);
  EXPECT_FALSE(x.alive);
  EXPECT_EQ(serving(0).generation, 2u) << "by the standby, which shares as much";
  EXPECT_LT(x.private_bytes, 100 * mib);
  EXPECT_TRUE(details("worker_killed").empty());
  EXPECT_TRUE(fatal.empty());
}

TEST_F(Readings, AWorkerThatIsReadyAfterItsForkServerDiedIsNotTakenForALargeOne) {
  host->server_anonymous = 300 * mib;
  host->prepare = [](auto& x) { x.shared = 300 * mib; };
  host->auto_ready = false;
  start();
  host->auto_server = false;
  host->server_dies();
  run();
  for (auto& [id, x] : host->workers)
    host->ready(x);
  run();
  EXPECT_TRUE(fatal.empty()) << fatal[0].describe();
  work(0, 5);
  work(1, 5);
  advance(10s);
  EXPECT_EQ(serving(0).generation, 1u);
  EXPECT_TRUE(details("worker_killed").empty());
}

} // namespace ziyu::actors
