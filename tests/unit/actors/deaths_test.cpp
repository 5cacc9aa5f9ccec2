// Workers that die neither by their own fault nor for their memory: killed by the kernel, stopped,
// unkillable, or dying just when another one takes over.

#include "tests/support/supervisor_stage.hpp"

#include <gmock/gmock.h>

namespace ziyu::actors {

namespace {

using namespace ziyu::test;
using ::testing::HasSubstr;

class Dying : public supervisor_fixture {
protected:
  Dying() { settings.explain = false; }
};

} // namespace

TEST_F(Dying, SaysThatTheKernelKilledAWorkerForLackOfMemory) {
  host->kernel_kills = 3; // from before our start
  host->container = {950, 1000, "cgroup2"};
  host->on_job = [](auto&, const auto&) { return true; };
  start();
  advance(2s);
  auto outcome = request(0);
  host->kernel_kills = 4;
  host->die(serving(0), SIGKILL);
  run();
  ASSERT_TRUE(*outcome);
  EXPECT_THAT((*outcome)->failure->message,
              HasSubstr("oom_killed: killed by the kernel for lack of memory"));
  EXPECT_THAT((*outcome)->failure->message, HasSubstr("950 B of 1000 B (cgroup2)"));
  const auto died = details("worker_died");
  ASSERT_EQ(died.size(), 1u);
  EXPECT_EQ(died[0]["code"], "oom_killed");
  EXPECT_EQ(died[0]["how"], "signal 9 (SIGKILL)");
  EXPECT_EQ(died[0]["container_used_bytes"], 950);
  EXPECT_EQ(died[0]["container_limit_bytes"], 1000);
  EXPECT_THAT(died[0]["reason"].get<std::string>(), HasSubstr("for lack of memory"));
  const auto replaced = details("worker_replaced");
  ASSERT_EQ(replaced.size(), 1u);
  EXPECT_EQ(replaced[0]["cause"], "oom_killed");
  // Another process killed the next one.
  host->on_job = nullptr;
  host->die(serving(0), SIGKILL);
  run();
  EXPECT_FALSE(details("worker_died").at(1).contains("code"));
  EXPECT_EQ(details("worker_replaced").at(1)["cause"], "crash");
}

// The model runs in the fork server too, and may write anything to its sockets.
TEST_F(Dying, NoFrameOfTheForkServerMakesALivingWorkerDie) {
  start();
  advance(2s);
  const auto say = [this](wire::frame x) {
    send(aut, server_frame{1, std::make_shared<const wire::frame>(std::move(x))});
  };
  say(wire::spawned{serving(0).id, 0, 0, "no"});
  say(wire::spawned{serving(1).id, -1, 0, "no"});
  for (const auto pid : {0, -1})
    say(wire::exited{pid, 0, 9, 0});
  say(wire::server_ready{});
  say(wire::server_ready{});
  say(wire::server_failed{"model_corrupt", "no"});
  advance(2s);
  for (const auto slot : {0u, 1u}) {
    const auto outcome = request(slot);
    ASSERT_TRUE(*outcome);
    EXPECT_FALSE((*outcome)->failure) << slot;
  }
  EXPECT_TRUE(details("worker_died").empty());
  EXPECT_TRUE(details("worker_replaced").empty());
  EXPECT_TRUE(fatal.empty());
  EXPECT_EQ(models.size(), 1u) << "it loads a model once";
}

TEST_F(Dying, DoesNotBlameTheKernelForACrash) {
  host->kernel_kills = 0;
  start();
  advance(2s);
  host->kernel_kills = 1; // of a process that is not one of our workers
  host->die(serving(0), SIGSEGV);
  run();
  ASSERT_EQ(details("worker_died").size(), 1u);
  EXPECT_FALSE(details("worker_died")[0].contains("code"));
  ASSERT_EQ(details("worker_replaced").size(), 1u);
  EXPECT_EQ(details("worker_replaced")[0]["cause"], "crash");
}

TEST_F(Dying, EachKillIsFollowedByADeathAlsoWhenTheStandbyTakesOverMeanwhile) {
  settings.slots = 1;
  auto slot = std::make_shared<inference_log>();
  start_with([&](uint32_t, supervisor_actor) { return spawn(fake_inference, slot); });
  send(aut, slot_switched{0, 1, 0});
  auto& old = host->workers.at(1);
  const auto job = [&] { send(aut, done_by(old, 6 * mib)); };
  for (auto i = 0; i < 12; ++i) {
    old.live += 6 * mib;
    old.private_bytes += 6 * mib;
    job();
  }
  ASSERT_EQ(slot->links.size(), 2u) << "a replacement is wanted";
  old.unkillable = true; // its end takes a moment
  old.private_bytes = 250 * mib;
  job();
  ASSERT_EQ(details("worker_killed").size(), 1u);
  send(aut, slot_switched{0, 2, 1}); // the standby takes over meanwhile
  host->die(old, SIGKILL);
  run();
  EXPECT_EQ(details("worker_died").size(), 1u);
  EXPECT_EQ(details("worker_died").at(0)["code"], "hard_limit");
  EXPECT_EQ(details("worker_replaced").size(), 1u);
}

TEST_F(Dying, AWorkerThatNoSignalEndsLosesItsSlotAndItsJob) {
  start();
  auto& stuck = serving(0);
  stuck.hangs = stuck.unkillable = true; // e.g., in a read from a disk that does not answer
  auto outcome = request(0);
  advance(5s); // the job's deadline
  advance(1100ms);
  EXPECT_THAT(stuck.signals, ::testing::Contains(SIGKILL));
  EXPECT_TRUE(stuck.alive);
  ASSERT_TRUE(*outcome) << "its socket never closes";
  EXPECT_EQ((*outcome)->failure->code, errc::deadline_exceeded);
  ASSERT_NE(serving(0).id, stuck.id);
  work(0, 2);
  EXPECT_EQ(status().slots_up, 2u);
  EXPECT_TRUE(details("worker_died").empty()) << "it has not";
  stuck.unkillable = false;
  host->die(stuck, SIGKILL);
  run();
  EXPECT_EQ(details("worker_died").size(), 1u);
  work(0, 2);
}

TEST_F(Dying, AReplacementIsToldOfThoughTheOldWorkerNeverEnds) {
  start();
  auto& old = serving(0);
  old.leak = 6 * mib;
  old.ignores_stop = old.unkillable = true;
  work(0, 12);
  EXPECT_EQ(serving(0).generation, 2u);
  EXPECT_TRUE(details("worker_replaced").empty());
  advance(4s);
  EXPECT_TRUE(old.alive);
  EXPECT_EQ(details("worker_replaced").size(), 1u);
}

TEST_F(Dying, AStoppedStandbyIsReplacedBeforeItServes) {
  start();
  auto& standby = host->workers.at(3);
  standby.is_stopped = true;
  advance(1100ms); // a probe
  EXPECT_FALSE(standby.alive);
  EXPECT_EQ(details("worker_killed").size(), 1u);
  EXPECT_EQ(status().standbys, 1u) << "there is another";
}

TEST_F(Dying, AStandbyThatIsStoppedOnlyJustNowDoesNotGetTheSlot) {
  start();
  auto& standby = host->workers.at(3);
  standby.is_stopped = true;
  host->die(serving(0), SIGKILL);
  run();
  EXPECT_NE(serving(0).id, standby.id);
  EXPECT_FALSE(standby.alive);
  work(0, 2);
}

TEST_F(Dying, RareDeathsDoNotMakePausesLonger) {
  settings.restart_intensity = 0; // each death is one too many, so that its pause is taken
  settings.restart_period = 10s;
  start();
  for (auto i = 0; i < 12; ++i) {
    host->die(serving(0), SIGKILL);
    advance(500ms);
    ASSERT_EQ(status().standbys, 1u) << "death " << i << " was answered late";
    advance(20s);
  }
}

TEST_F(Dying, ASlotIsNotHeldForEverWhereMemoryCannotBeRead) {
  start();
  host->unreadable = true;
  auto& old = serving(0);
  old.leak = 30 * mib;
  for (auto i = 0; i < 6 && serving(0).id == old.id; ++i)
    work(0, 1);
  EXPECT_NE(serving(0).id, old.id) << "its own word must do";
  work(0, 2);
}

TEST_F(Dying, TheNextWorkerIsNotCalledLeakingForTheCacheThatItsPredecessorHad) {
  settings.judge.cache_entries = 16; // so that this one is more than what is usual
  start();
  auto fill = [&](fake_host::worker& x, int jobs) {
    x.leak = 200 * 1024;
    work(0, jobs);
    x.leak = 0;
    work(0, 40);
  };
  fill(serving(0), 100);
  EXPECT_EQ(details("leak_confirmed").size(), 1u) << "nobody could know";
  ASSERT_EQ(details("growth_ended").size(), 1u);
  EXPECT_EQ(details("growth_ended")[0]["ended_at_bytes"], 99 * 200 * 1024);
  EXPECT_TRUE(details("worker_replaced").empty());
  host->die(serving(0), SIGSEGV);
  run();
  fill(serving(0), 100);
  EXPECT_EQ(details("leak_confirmed").size(), 1u);
  EXPECT_EQ(details("growth_confirmed").size(), 2u);
  EXPECT_EQ(details("growth_ended").size(), 2u);
}

} // namespace ziyu::actors
