// How the supervisor heals growing memory. The causes of growth are in explanations_test.cpp.

#include "tests/support/supervisor_stage.hpp"

namespace ziyu::actors {

namespace {

using namespace ziyu::test;
using trigger = supervision::circuit_breaker::trigger;

class Healing : public supervisor_fixture {
protected:
  Healing() { settings.explain = false; }

  /// The only standby dies, and none becomes ready for now.
  void withhold_standbys() {
    host->auto_ready = false;
    host->die(host->workers.at(3), SIGKILL);
    run();
  }

  /// So many of the waiting workers become ready.
  void supply_standbys(size_t most = SIZE_MAX) {
    for (auto& [id, x] : host->workers)
      if (most > 0 && x.alive && x.generation == 0) {
        host->ready(x);
        --most;
      }
  }
};

} // namespace

TEST_F(Healing, ReplacesALeakingWorkerBeforeItsBudget) {
  start();
  auto& old = serving(0);
  old.leak = 6 * mib;
  for (auto i = 0; i < 20; ++i)
    work(0, 1);
  EXPECT_FALSE(old.alive);
  const auto peak = old.private_bytes;
  EXPECT_TRUE(old.signals.empty()) << "it was asked to stop, not killed";
  EXPECT_LT(peak, 100 * mib);
  EXPECT_EQ(serving(0).generation, 2u);
  const auto replaced = details("worker_replaced");
  ASSERT_EQ(replaced.size(), 1u);
  EXPECT_EQ(replaced[0]["slot"], 0);
  EXPECT_EQ(replaced[0]["generation"], 1);
  EXPECT_EQ(replaced[0]["verdict"], "leak");
  EXPECT_EQ(replaced[0]["bytes_recovered"], peak - 10 * mib);
  EXPECT_TRUE(replaced[0]["ms"].is_number());
  EXPECT_NEAR(replaced[0]["live_slope"]["bytes_per_job"].get<double>(), 6. * mib, 1);
  EXPECT_FALSE(replaced[0]["series"]["rows"].empty());
  EXPECT_EQ(details("leak_confirmed").size(), 1u);
  EXPECT_TRUE(details("worker_died").empty()) << "a wanted end is no death";
  EXPECT_EQ(serving(1).generation, 1u);
}

TEST_F(Healing, ReplacesAgainWhileTheWorkerRelievedBeforeIsStillEnding) {
  settings.grace = 60s;
  host->prepare = [](auto& x) {
    x.leak = 12 * mib;
    x.ignores_stop = true;
  };
  start();
  auto& first = serving(0);
  auto work_until = [this](uint64_t generation) {
    for (auto i = 0; i < 40 && serving(0).generation < generation; ++i)
      work(0, 1);
    ASSERT_EQ(serving(0).generation, generation);
    EXPECT_LT(serving(0).private_bytes, 100 * mib);
  };
  work_until(2);
  EXPECT_TRUE(first.alive) << "it has its grace";
  EXPECT_TRUE(details("worker_replaced").empty()) << "that is said when it is gone";
  auto& second = serving(0);
  work_until(3);
  EXPECT_EQ(first.signals, std::vector<int>{SIGKILL}) << "ending workers do not pile up";
  EXPECT_TRUE(second.alive);
  const auto replaced = details("worker_replaced");
  ASSERT_EQ(replaced.size(), 1u);
  EXPECT_EQ(replaced[0]["generation"], 1);
  EXPECT_EQ(replaced[0]["new_generation"], 2);
  EXPECT_EQ(replaced[0]["new_pid"], second.pid);
}

TEST_F(Healing, ASlotWaitsForItsStandbyRatherThanPassItsBudget) {
  start();
  withhold_standbys();
  auto& old = serving(0);
  old.leak = 6 * mib; // of 90 MiB of room
  auto done = 0;
  for (auto i = 0; i < 40; ++i) {
    auto outcome = request(0);
    ASSERT_TRUE(*outcome);
    if (!(*outcome)->failure) {
      ++done;
      continue;
    }
    EXPECT_EQ((*outcome)->failure->code, errc::unavailable);
    EXPECT_FALSE((*outcome)->slot_up);
  }
  EXPECT_EQ(done, 14) << "the fifteenth would reach it";
  EXPECT_EQ(old.private_bytes, 94 * mib);
  EXPECT_TRUE(workers_json(status())["workers"][0]["held"]);
  EXPECT_EQ(status().slots_held, 1u);
  advance(10s);
  EXPECT_TRUE(old.alive);
  EXPECT_TRUE(old.signals.empty());

  host->auto_ready = true;
  supply_standbys();
  run();
  EXPECT_EQ(serving(0).generation, 2u);
  EXPECT_EQ(status().slots_held, 0u);
  work(0, 1);
}

TEST_F(Healing, AReadingInTheMiddleOfAJobMakesItsStepNoSmaller) {
  start();
  withhold_standbys();
  auto& x = serving(0);
  std::optional<wire::batch> open;
  host->on_job = [&](fake_host::worker&, const wire::batch& job) {
    open = job;
    return true;
  };
  x.leak = 0;
  for (auto job = 0; job < 2; ++job) {
    request(0);
    x.private_bytes += 22 * mib;
    advance(1s); // a probe
    x.private_bytes += 10 * mib;
    host->answer(x, *open);
    run();
  }
  EXPECT_EQ(x.private_bytes, 74 * mib) << "another 32 MiB would be too many";
  EXPECT_EQ((*request(0))->failure->code, errc::unavailable);
}

TEST_F(Healing, AWorkerThatIsKilledGetsNoFurtherJob) {
  start();
  auto& x = serving(0);
  x.leak = 250 * mib;
  const auto killed = x.id;
  size_t begun = 0;
  host->on_job = [&](fake_host::worker& w, const wire::batch&) {
    begun += w.id == killed;
    return false;
  };
  auto outcome = request(0);
  EXPECT_FALSE((*outcome)->failure) << "it has done its job";
  EXPECT_FALSE((*outcome)->slot_up);
  EXPECT_EQ(details("worker_killed").size(), 1u);
  EXPECT_EQ(serving(0).generation, 2u);
  work(0, 1);
  EXPECT_EQ(begun, 1u);
}

TEST_F(Healing, ASlotAtItsBudgetComesBeforeOneWhoseLeakIsFaster) {
  settings.healing.max_unavailable = 1;
  start();
  withhold_standbys();
  serving(0).leak = 12 * mib;
  serving(1).leak = 6 * mib;
  work(0, 5); // few jobs left
  for (auto i = 0; i < 20; ++i)
    request(1); // none at all
  supply_standbys(1);
  run();
  EXPECT_EQ(serving(0).generation, 1u);
  EXPECT_EQ(serving(1).generation, 2u);
}

TEST_F(Healing, LetsAHeldWorkerGoOnWhenItsOwnReadingFindsRoom) {
  start();
  auto& x = serving(0);
  x.private_bytes = 50 * mib;
  host->on_job = [&](fake_host::worker& w, const wire::batch& job) {
    wire::result r; // over its budget, by its own report
    r.attempt_id = job.attempt_id;
    r.answers.resize(1);
    r.memory = {w.live, 101 * mib, 0, 0};
    host->send(w, r);
    return true;
  };
  for (auto i = 0; i < 5; ++i) {
    auto outcome = request(0);
    ASSERT_TRUE(*outcome);
    EXPECT_FALSE((*outcome)->failure) << i;
    EXPECT_FALSE((*outcome)->slot_up) << "until the supervisor has looked";
  }
  EXPECT_EQ(to_dispatcher->slots_up.size(), 2u + 5u);
  EXPECT_EQ(serving(0).id, x.id);
}

TEST_F(Healing, NamesReloadedModelsAndRetainedImages) {
  start();
  serving(0).leak = 3 * mib; // as much as the model takes
  serving(1).leak = 12 * 10 * 3 + 7;
  for (auto i = 0; i < 40; ++i) {
    work(0, 1);
    work(1, 1);
  }
  ASSERT_FALSE(details("worker_replaced").empty());
  EXPECT_EQ(details("worker_replaced")[0]["cause"], "model_reloaded");
}

TEST_F(Healing, LeavesAHealthyWorkerAlone) {
  start();
  work(0, 100);
  EXPECT_EQ(serving(0).generation, 1u);
  EXPECT_TRUE(details("worker_replaced").empty());
  EXPECT_TRUE(details("leak_suspected").empty());
}

TEST_F(Healing, KeepsThatManySlotsAtWorkDuringReplacements) {
  settings.standbys = 2;
  settings.healing.max_unavailable = 0.5; // of two slots
  start();
  // Both leak alike, and successors take their time.
  host->prepare = [](auto& x) { x.hangs = false; };
  host->auto_ready = false;
  host->die(host->workers.at(3), SIGKILL);
  host->die(host->workers.at(4), SIGKILL);
  run();
  serving(0).leak = serving(1).leak = 6 * mib;
  for (auto i = 0; i < 9; ++i) {
    work(0, 1);
    work(1, 1);
  }
  EXPECT_TRUE(serving(0).alive);
  EXPECT_TRUE(serving(1).alive) << "make before break: nobody ends before a successor is ready";
  host->auto_ready = true;
  supply_standbys();
  advance(2s);
  EXPECT_EQ(serving(0).generation, 2u);
  EXPECT_EQ(serving(1).generation, 2u);
}

TEST_F(Healing, GivesTheOnlyStandbyToTheWorkerNearestToItsBudget) {
  settings.healing.max_unavailable = 1;
  start();
  withhold_standbys();
  serving(0).leak = 6 * mib;
  serving(1).leak = 7 * mib;
  for (auto i = 0; i < 9; ++i) {
    work(0, 1);
    work(1, 1);
  }
  ASSERT_EQ(serving(0).generation, 1u);
  ASSERT_EQ(serving(1).generation, 1u);
  supply_standbys(1);
  advance(100ms);
  EXPECT_EQ(serving(0).generation, 1u);
  EXPECT_EQ(serving(1).generation, 2u);
}

TEST_F(Healing, KillsAtTheHardLimitAndRunsTheJobElsewhere) {
  start();
  auto& victim = serving(0);
  host->on_job = [&](fake_host::worker& x, const wire::batch&) {
    if (x.id == victim.id)
      x.private_bytes = 250 * mib; // and no answer
    return x.id == victim.id;
  };
  auto outcome = request(0);
  advance(2s); // the supervisor's probe sees it, not the worker's report
  EXPECT_FALSE(victim.alive);
  ASSERT_TRUE(*outcome);
  EXPECT_EQ((*outcome)->failure->code, errc::hard_limit);
  EXPECT_EQ(details("worker_killed").at(0)["code"], "hard_limit");
  EXPECT_EQ(serving(0).generation, 2u);
}

TEST_F(Healing, TrimsAHoardingWorkerFirst) {
  start();
  auto& x = serving(0);
  work(0, 100); // in its first jobs memory settles
  x.hoard = 2 * mib;
  for (auto i = 0; i < 40 && details("worker_trimmed").empty(); ++i) {
    x.trimmable = x.private_bytes - 10 * mib;
    work(0, 1);
  }
  const auto trimmed = details("worker_trimmed");
  ASSERT_EQ(trimmed.size(), 1u);
  EXPECT_EQ(trimmed[0]["verdict"], "hoarding");
  EXPECT_GT(trimmed[0]["bytes_recovered"].get<uint64_t>(), 20 * mib);
  EXPECT_TRUE(x.alive);
  EXPECT_TRUE(details("worker_replaced").empty());
}

TEST_F(Healing, ReplacesAHoardingWorkerThatATrimDoesNotHelp) {
  start();
  auto& x = serving(0);
  work(0, 100); // in its first jobs memory settles
  x.hoard = 2 * mib;
  for (auto i = 0; i < 45; ++i)
    work(0, 1);
  EXPECT_EQ(details("worker_trimmed").size(), 1u);
  EXPECT_FALSE(x.alive);
  ASSERT_EQ(details("worker_replaced").size(), 1u);
  EXPECT_EQ(details("worker_replaced")[0]["cause"], "hoarding");
}

TEST_F(Healing, EmptiesAGrowingGpuCacheAndLeavesItAtThatWhenThatIsEnough) {
  start();
  auto& x = serving(0);
  work(0, 100); // in its first jobs memory settles
  x.gpu_hoard = 2 * mib;
  x.gpu_empties = true;
  for (auto i = 0; i < 60 && details("worker_trimmed").empty(); ++i)
    work(0, 1);
  const auto trimmed = details("worker_trimmed");
  ASSERT_EQ(trimmed.size(), 1u);
  EXPECT_EQ(trimmed[0]["verdict"], "hoarding");
  EXPECT_EQ(trimmed[0]["enough"], true);
  EXPECT_GT(trimmed[0]["gpu_bytes_recovered"].get<uint64_t>(), 40 * mib);
  EXPECT_EQ(trimmed[0]["bytes_recovered"], 0);
  EXPECT_TRUE(x.alive);
  EXPECT_TRUE(details("worker_replaced").empty());
}

TEST_F(Healing, ReplacesAWorkerWhoseGpuCacheCannotBeEmptied) {
  start();
  auto& x = serving(0);
  work(0, 100); // in its first jobs memory settles
  x.gpu_hoard = 2 * mib;
  for (auto i = 0; i < 60 && x.alive; ++i)
    work(0, 1);
  ASSERT_EQ(details("worker_trimmed").size(), 1u) << "the ladder has no short cut";
  EXPECT_EQ(details("worker_trimmed")[0]["enough"], false);
  EXPECT_FALSE(x.alive);
  ASSERT_EQ(details("worker_replaced").size(), 1u);
  EXPECT_EQ(details("worker_replaced")[0]["cause"], "gpu_cache");
  EXPECT_NEAR(details("worker_replaced")[0]["gpu_slope"]["bytes_per_job"].get<double>(), 2. * mib,
              0.1 * mib);
  EXPECT_EQ(serving(0).generation, 2u);
}

TEST_F(Healing, DecidesByItsOwnReadingNotByTheWorkersWord) {
  start();
  auto& x = serving(0);
  host->on_job = [&](fake_host::worker& w, const wire::batch& job) {
    if (w.id != x.id)
      return false;
    wire::result r; // claims to be at the hard limit
    r.attempt_id = job.attempt_id;
    r.answers.resize(1);
    r.memory = {w.live, 500 * mib, 0, 0};
    host->send(w, r);
    return true;
  };
  request(0);
  advance(1s);
  EXPECT_TRUE(x.alive);
  EXPECT_EQ(serving(0).generation, 1u);
}

TEST_F(Healing, ReportsTheContainersMemoryToTheBreaker) {
  start();
  host->container = {900, 1000, "fake"};
  advance(2s);
  ASSERT_FALSE(to_dispatcher->memory_shares.empty());
  EXPECT_DOUBLE_EQ(to_dispatcher->memory_shares.back(), 0.9);
  EXPECT_EQ(status().container_limit, 1000u);
  EXPECT_EQ(status().container_source, "fake");
}

} // namespace ziyu::actors
