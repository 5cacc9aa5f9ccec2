#include "tests/support/supervisor_stage.hpp"

namespace ziyu::actors {

namespace {

using namespace ziyu::test;
using trigger = supervision::circuit_breaker::trigger;

class Supervisor : public supervisor_fixture {
protected:
  Supervisor() { settings.explain = false; } // explanations_test.cpp
};

} // namespace

// -- start ----------------------------------------------------------------------------------

TEST_F(Supervisor, StartsTheServerAndFillsSlotsAndStandbys) {
  start();
  EXPECT_EQ(host->servers_started, 1u);
  EXPECT_EQ(models, std::vector<std::string>{"digits"});
  EXPECT_EQ(host->alive(), 3u);
  EXPECT_EQ(serving(0).generation, 1u);
  EXPECT_EQ(serving(1).generation, 1u);
  const auto s = status();
  EXPECT_TRUE(s.model_ready);
  EXPECT_EQ(s.slots_up, 2u);
  EXPECT_EQ(s.standbys, 1u);
  EXPECT_TRUE(s.trouble.empty());
  EXPECT_EQ(details("worker_started").size(), 2u);
  EXPECT_EQ(s.workers.size(), 3u);
  EXPECT_TRUE(s.fork_server.ready);
  EXPECT_TRUE(fatal.empty());
}

TEST_F(Supervisor, AsksForNoWorkerBeforeTheModelIsLoaded) {
  host->auto_server = false;
  start();
  advance(1s);
  EXPECT_TRUE(host->workers.empty());
  EXPECT_FALSE(status().model_ready);
  host->server_ready();
  run();
  EXPECT_EQ(host->workers.size(), 3u);
}

TEST_F(Supervisor, GivesASlotsFaultToEachOfItsWorkers) {
  settings.slot_faults[1] = "crash";
  start();
  EXPECT_EQ(serving(0).fault, "");
  EXPECT_EQ(serving(1).fault, "crash");
  host->die(serving(1), SIGSEGV);
  run();
  EXPECT_EQ(serving(1).fault, "crash");
}

TEST_F(Supervisor, AcceptsAWorkerThatIsReadyBeforeItsForkIsReported) {
  host->auto_fork = false;
  start();
  auto& x = host->workers.at(1);
  x.pid = 1001;
  x.alive = true;
  host->ready(x);
  run();
  host->say(wire::spawned{1, 1001, 900, ""});
  run();
  EXPECT_EQ(serving(0).id, 1u);
  EXPECT_TRUE(x.adopted);
}

TEST_F(Supervisor, TellsOnceThatTheModelCannotBeLoaded) {
  host->auto_server = false;
  start();
  host->say(wire::server_failed{"model_missing", "models/x: no model.json"});
  host->server_dies();
  advance(10s);
  ASSERT_EQ(fatal.size(), 1u);
  EXPECT_EQ(fatal[0].code, errc::model_missing);
  EXPECT_NE(fatal[0].message.find("models/x"), std::string::npos);
  EXPECT_EQ(host->servers_started, 1u) << "it will not load the next time either";
  EXPECT_FALSE(status().model_ready);
}

TEST_F(Supervisor, GivesUpWhenTheServerEndsBeforeItWasReady) {
  host->auto_server = false;
  start();
  host->server_dies();
  run();
  ASSERT_EQ(fatal.size(), 1u);
  EXPECT_EQ(fatal[0].code, errc::unavailable);
}

TEST_F(Supervisor, GivesUpWhenTheServerIsNotReadyInTime) {
  host->auto_server = false;
  start();
  advance(11s);
  EXPECT_EQ(host->server_kills, 1u);
  ASSERT_EQ(fatal.size(), 1u);
  EXPECT_NE(fatal[0].message.find("not ready within 10000 ms"), std::string::npos);
}

TEST_F(Supervisor, GivesUpWhenTheServerCannotBeStarted) {
  host->start_failure = error{errc::io, "ziyu-worker: no such file"};
  start();
  ASSERT_EQ(fatal.size(), 1u);
  EXPECT_NE(fatal[0].message.find("no such file"), std::string::npos);
}

TEST_F(Supervisor, RefusesABudgetThatAFreshWorkerExceeds) {
  settings.healing.budget_bytes = 8 * mib;
  start(); // a fresh worker has 10 MiB
  advance(1s);
  ASSERT_EQ(fatal.size(), 1u);
  EXPECT_EQ(fatal[0].code, errc::invalid_config);
  EXPECT_NE(fatal[0].message.find('8'), std::string::npos) << fatal[0].message;
  EXPECT_NE(fatal[0].message.find("10"), std::string::npos) << fatal[0].message;
  EXPECT_EQ(status().slots_up, 0u);
}

// -- death ------------------------------------------------------------------------------------

TEST_F(Supervisor, LetsTheStandbyTakeOverFromAWorkerThatDied) {
  start();
  const auto standby = host->workers.at(3).id;
  auto& victim = serving(0);
  auto outcome = request(1); // the other slot's life goes on
  host->die(victim, SIGSEGV);
  run();
  EXPECT_EQ(serving(0).id, standby);
  EXPECT_EQ(serving(0).generation, 2u);
  EXPECT_EQ(serving(1).generation, 1u);
  EXPECT_TRUE(victim.forgotten);
  advance(10ms);
  EXPECT_EQ(host->alive(), 3u) << "and there is a new standby";
  const auto died = details("worker_died");
  ASSERT_EQ(died.size(), 1u);
  EXPECT_EQ(died[0]["slot"], 0);
  EXPECT_EQ(died[0]["pid"], victim.pid);
  EXPECT_EQ(died[0]["how"], "signal 11 (SIGSEGV)");
  const auto replaced = details("worker_replaced");
  ASSERT_EQ(replaced.size(), 1u);
  EXPECT_EQ(replaced[0]["cause"], "crash");
  EXPECT_EQ(replaced[0]["new_generation"], 2);
  EXPECT_EQ(replaced[0]["new_pid"], serving(0).pid);
  EXPECT_TRUE(replaced[0]["ms"].is_number());
  EXPECT_TRUE(replaced[0]["bytes_recovered"].is_number());
  EXPECT_EQ(status().replacements, 1u);
  work(0, 3);
}

TEST_F(Supervisor, ForksTheNextStandbyOnceTheOneBeforeHasHadItsSlotForAMoment) {
  start();
  host->die(serving(0), SIGKILL);
  run();
  EXPECT_EQ(serving(0).generation, 2u);
  EXPECT_EQ(host->alive(), 2u) << "no fork beside its first job";
  advance(9ms);
  EXPECT_EQ(host->alive(), 2u);
  advance(1ms);
  EXPECT_EQ(host->alive(), 3u);
  EXPECT_EQ(status().standbys, 1u);
}

TEST_F(Supervisor, ForksAtOnceForASlotThatHasNoWorker) {
  start();
  host->die(serving(0), SIGKILL);
  run();
  host->die(serving(1), SIGKILL);
  run();
  EXPECT_EQ(serving(0).generation, 2u);
  EXPECT_EQ(serving(1).generation, 2u);
}

TEST_F(Supervisor, AnswersTheJobOfAWorkerThatDied) {
  host->on_job = [](auto&, const auto&) { return true; }; // no answer yet
  start();
  auto outcome = request(0);
  host->die(serving(0), SIGKILL);
  run();
  ASSERT_TRUE(*outcome);
  EXPECT_EQ((*outcome)->failure->code, errc::worker_died);
}

TEST_F(Supervisor, ReplacesAStandbyThatDied) {
  start();
  host->die(host->workers.at(3), SIGKILL);
  run();
  EXPECT_EQ(host->alive(), 3u);
  EXPECT_EQ(status().standbys, 1u);
  EXPECT_EQ(status().replacements, 0u);
}

TEST_F(Supervisor, CountsGenerationsPerSlot) {
  start();
  for (auto i = 0; i < 3; ++i) {
    host->die(serving(1), SIGKILL);
    advance(30s);
  }
  EXPECT_EQ(serving(0).generation, 1u);
  EXPECT_EQ(serving(1).generation, 4u);
}

TEST_F(Supervisor, EndsAWorkerThatSendsRubbish) {
  start();
  auto& victim = serving(0);
  host->close(victim, error{errc::bad_frame, "no magic"});
  run();
  EXPECT_FALSE(victim.alive);
  EXPECT_EQ(victim.signals, std::vector<int>{SIGKILL});
  EXPECT_EQ(serving(0).generation, 2u);
  EXPECT_EQ(details("worker_killed").at(0)["code"], "bad_frame");
  EXPECT_EQ(details("worker_killed").at(0)["reason"], "no magic");
  EXPECT_EQ(details("worker_replaced").at(0)["cause"], "bad_frame");
}

TEST_F(Supervisor, EndsAWorkerThatOnlyClosedItsSocket) {
  start();
  auto& victim = serving(0);
  host->close(victim);
  run();
  EXPECT_FALSE(victim.alive);
  EXPECT_EQ(serving(0).generation, 2u);
}

TEST_F(Supervisor, KillsAWorkerThatHangsAndRunsTheSlotOn) {
  start();
  auto& victim = serving(0);
  victim.hangs = true;
  auto outcome = request(0);
  advance(6s);
  EXPECT_FALSE(victim.alive);
  ASSERT_TRUE(*outcome);
  EXPECT_EQ((*outcome)->failure->code, errc::deadline_exceeded);
  EXPECT_EQ(details("worker_killed").at(0)["code"], "deadline_exceeded");
  EXPECT_EQ(details("worker_replaced").at(0)["cause"], "hang");
  work(0, 1);
}

TEST_F(Supervisor, KillsAWorkerThatIsNotReadyInTime) {
  host->auto_ready = false;
  start();
  EXPECT_EQ(host->alive(), 3u);
  host->auto_ready = true;
  advance(11s);
  EXPECT_EQ(host->workers.at(1).signals, std::vector<int>{SIGKILL});
  EXPECT_EQ(status().slots_up, 2u) << "others take their places";
}

TEST_F(Supervisor, ReplacesAForkServerThatDoesNotFork) {
  start();
  host->auto_fork = false;
  host->die(serving(0), SIGKILL); // the standby takes over; the next one never comes
  for (auto i = 0; i < 1'200 && host->server_kills == 0; ++i)
    advance(10ms);
  EXPECT_EQ(host->server_kills, 1u) << "it hangs";
  host->auto_fork = true;
  advance(5s);
  EXPECT_EQ(host->servers_started, 2u);
  EXPECT_EQ(status().slots_up, 2u);
  EXPECT_EQ(status().standbys, 1u);
}

TEST_F(Supervisor, WaitsAfterAForkThatFailed) {
  start();
  host->auto_fork = false;
  host->die(serving(0), SIGKILL);
  advance(10ms);
  auto& wanted = host->workers.rbegin()->second;
  host->say(wire::spawned{wanted.id, 0, 0, "fork: Resource temporarily unavailable"});
  host->close(wanted);
  run();
  const auto before = host->workers.size();
  host->auto_fork = true;
  advance(5s);
  EXPECT_EQ(host->workers.size(), before + 1);
  EXPECT_EQ(status().standbys, 1u);
}

TEST_F(Supervisor, WaitsAfterASpawnThatFailed) {
  start();
  host->spawn_failure = error{errc::io, "socketpair: Too many open files"};
  host->die(serving(0), SIGKILL);
  run();
  EXPECT_EQ(status().standbys, 0u);
  host->spawn_failure.reset();
  advance(5s);
  EXPECT_EQ(status().standbys, 1u);
}

TEST_F(Supervisor, SurvivesAWorkerThatDiesJustWhenItIsLinked) {
  start();
  host->auto_fork = false;
  host->workers.at(3).closes_at_own = true; // the standby
  host->die(serving(0), SIGKILL);
  run();
  auto outcome = request(0);
  ASSERT_TRUE(*outcome) << "the job waits for a worker that is dead";
  EXPECT_FALSE((*outcome)->slot_up);
  host->auto_fork = true;
  for (auto& [id, x] : host->workers)
    if (x.pid == 0)
      host->fork(x);
  run();
  work(0, 2);
  EXPECT_EQ(status().slots_up, 2u);
  EXPECT_EQ(host->alive(), 3u);
}

TEST_F(Supervisor, TellsTheJudgeHowManyJobsRanTogether) {
  settings.slots = 1;
  settings.healing.enabled = false;
  auto slot = std::make_shared<inference_log>();
  start_with([&](uint32_t, supervisor_actor) { return spawn(fake_inference, slot); });
  send(aut, slot_switched{0, 1, 0});
  auto& x = host->workers.at(1);
  auto work = [&](uint32_t batch) {
    x.live += 64 * 1024;
    auto news = done_by(x, 0);
    news.memory.jobs.resize(batch);
    send(aut, news);
  };
  for (uint32_t batch = 1; batch <= 24; ++batch)
    work(batch); // something is kept for each size of batch
  EXPECT_TRUE(details("growth_confirmed").empty());
  for (auto i = 0; i < 24; ++i)
    work(24);
  EXPECT_EQ(details("growth_confirmed").size(), 1u);
}

TEST_F(Supervisor, EndsTheOldWorkerThoughItsFirstSuccessorDiedWhenLinked) {
  // The slot's message comes late: it has switched to a worker that was dead already.
  settings.slots = 1;
  auto slot = std::make_shared<inference_log>();
  start_with([&](uint32_t, supervisor_actor) { return spawn(fake_inference, slot); });
  send(aut, slot_switched{0, 1, 0});
  auto& old = host->workers.at(1);
  for (auto i = 0; i < 12; ++i) {
    old.live += 6 * mib;
    old.private_bytes += 6 * mib;
    send(aut, done_by(old, 6 * mib));
  }
  ASSERT_EQ(slot->links.size(), 2u) << "a replacement is wanted";
  host->die(host->workers.at(2), SIGSEGV);
  run();
  send(aut, slot_switched{0, 2, 1}); // overtaken by the death
  ASSERT_EQ(slot->links.size(), 3u);
  EXPECT_TRUE(old.alive);
  send(aut, slot_switched{0, slot->links[2].worker, 0});
  EXPECT_FALSE(old.alive) << "nobody else would ever end it";
  EXPECT_EQ(details("worker_replaced").size(), 1u);
  advance(10ms);
  EXPECT_EQ(host->alive(), 2u);
}

// -- restart intensity --------------------------------------------------------------------------

TEST_F(Supervisor, RaisesTheBreakerOnceWhenTooManyDieAndLowersItLater) {
  start();
  for (auto i = 0; i < 6; ++i) {
    if (host->serving(0))
      host->die(serving(0), SIGSEGV);
    advance(1s);
  }
  EXPECT_EQ(triggers(trigger::restart_intensity, true), 1u);
  EXPECT_EQ(triggers(trigger::restart_intensity, false), 0u);
  EXPECT_EQ(details("restart_intensity_exceeded").size(), 1u);
  EXPECT_EQ(status().trouble, "too many workers died recently");
  advance(61s);
  EXPECT_EQ(triggers(trigger::restart_intensity, false), 1u);
  EXPECT_TRUE(status().trouble.empty());
  EXPECT_EQ(status().slots_up, 2u);
  EXPECT_EQ(status().standbys, 1u);
}

TEST_F(Supervisor, DeathsThatFollowAJobDoNotCountUntilTheJobIsCleared) {
  start();
  std::vector<death_verdict> deaths;
  for (auto i = 0; i < 6; ++i) {
    deaths.push_back({0, serving(0).generation, true});
    if (i % 2 == 0) // before or after the supervisor has seen it
      send(aut, deaths.back());
    host->die(serving(0), SIGSEGV);
    if (i % 2 != 0)
      send(aut, deaths.back());
    advance(1s);
  }
  EXPECT_EQ(triggers(trigger::restart_intensity, true), 0u);
  EXPECT_EQ(status().trouble, "");
  for (auto& x : deaths) {
    x.of_job = false;
    send(aut, x);
  }
  EXPECT_EQ(triggers(trigger::restart_intensity, true), 1u) << "they were the workers' own";
  EXPECT_EQ(details("restart_intensity_exceeded").size(), 1u);
}

TEST_F(Supervisor, ASlotIsToldWhichModelItsWorkerWasForkedWith) {
  start();
  auto first = request(0);
  run();
  ASSERT_TRUE(*first);
  ASSERT_TRUE((*first)->model);
  EXPECT_EQ((*first)->model->sha256, "abc");
  host->sha256 = "of a changed folder";
  host->server_dies();
  advance(1s);
  EXPECT_EQ(host->servers_started, 2u);
  auto old = request(0);
  run();
  EXPECT_EQ((*old)->model->sha256, "abc") << "the worker is that of before";
  const auto generation = serving(0).generation;
  host->die(serving(0), SIGKILL); // the standby takes over: forked before as well
  advance(1s);
  host->die(serving(0), SIGKILL);
  advance(1s);
  ASSERT_GT(serving(0).generation, generation + 1);
  auto fresh = request(0);
  run();
  EXPECT_EQ((*fresh)->model->sha256, "of a changed folder");
}

TEST_F(Supervisor, DoesNotForkInATightLoopWhenEachWorkerDiesAtOnce) {
  host->auto_ready = false;
  start();
  for (auto i = 0; i < 100; ++i) { // a second
    for (auto& [id, x] : host->workers)
      if (x.alive)
        host->die(x, SIGSEGV);
    advance(10ms);
  }
  EXPECT_LT(host->workers.size(), 40u);
  EXPECT_EQ(triggers(trigger::restart_intensity, true), 1u);
}

TEST_F(Supervisor, CountsWorkersThatDieBeforeTheirForkIsReported) {
  host->auto_fork = false;
  start();
  for (auto i = 0; i < 50; ++i) {
    std::vector<uint64_t> asked;
    for (auto& [id, x] : host->workers)
      if (x.pid == 0 && !x.closed)
        asked.push_back(id);
    for (auto id : asked) {
      auto& x = host->workers.at(id);
      x.pid = static_cast<int32_t>(1000 + id);
      host->close(x); // overtakes the fork server's word
      host->say(wire::spawned{id, x.pid, 900, ""});
      host->say(wire::exited{x.pid, 0, SIGSEGV, 0});
    }
    advance(100ms);
  }
  EXPECT_LT(host->workers.size(), 60u);
  EXPECT_EQ(triggers(trigger::restart_intensity, true), 1u);
}

// -- drain --------------------------------------------------------------------------------------

TEST_F(Supervisor, DrainsSoftly) {
  start();
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{2'000});
  advance(100ms);
  ASSERT_TRUE(*drained);
  EXPECT_TRUE(**drained);
  EXPECT_EQ(host->alive(), 0u);
  EXPECT_FALSE(host->server_alive());
  EXPECT_EQ(host->server_kills, 0u);
  for (const auto& [id, x] : host->workers)
    EXPECT_TRUE(x.signals.empty());
  EXPECT_TRUE(details("worker_died").empty());
  EXPECT_EQ(host->workers.size(), 3u) << "nobody is forked during a drain";
}

TEST_F(Supervisor, KillsAtTheDeadlineOfTheDrainWhatDoesNotStop) {
  settings.grace = 60s;
  start();
  serving(1).ignores_stop = true;
  host->server_ignores_stop = true;
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{2'000});
  advance(1900ms);
  EXPECT_FALSE(*drained);
  EXPECT_EQ(host->alive(), 1u);
  advance(300ms);
  ASSERT_TRUE(*drained);
  EXPECT_EQ(host->alive(), 0u);
  EXPECT_EQ(host->server_kills, 1u);
}

TEST_F(Supervisor, KillsAWorkerThatOutlivesItsGrace) {
  start();
  auto& old = serving(0);
  old.ignores_stop = true;
  old.leak = 6 * mib;
  work(0, 12);
  EXPECT_EQ(serving(0).generation, 2u);
  EXPECT_TRUE(old.alive);
  advance(3s);
  EXPECT_FALSE(old.alive);
  EXPECT_EQ(old.signals, std::vector<int>{SIGKILL});
  EXPECT_EQ(details("worker_replaced").size(), 1u);
}

TEST_F(Supervisor, DrainsWorkersThatAreJustBeingForked) {
  host->auto_fork = false;
  start();
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{2'000});
  advance(100ms);
  for (auto id : {1, 2})
    host->fork(host->workers.at(static_cast<uint64_t>(id)));
  advance(100ms);
  EXPECT_FALSE(*drained);
  advance(2s); // the third never comes
  ASSERT_TRUE(*drained);
  EXPECT_EQ(host->alive(), 0u);
}

TEST_F(Supervisor, StartsNoForkServerDuringADrain) {
  start();
  serving(0).ignores_stop = true;
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{2'000});
  host->server_dies();
  advance(1s);
  EXPECT_EQ(host->servers_started, 1u);
  EXPECT_FALSE(*drained);
  advance(2s);
  EXPECT_TRUE(*drained);
}

} // namespace ziyu::actors
