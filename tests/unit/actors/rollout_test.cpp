// Another version of the model takes the place of the one that serves, or is rejected.

#include "tests/support/supervisor_stage.hpp"

namespace ziyu::actors {

namespace {

using namespace ziyu::test;

class Rollout : public supervisor_fixture {
protected:
  Rollout() {
    settings.explain = false; // explanations_test.cpp
    settings.model = "models/digits/1";
  }

  std::optional<error> roll_out(const std::string& folder) {
    const auto answer = ask<rollout_answer>(aut, rollout_request{folder});
    return (*answer)->refused;
  }

  /// Versions of the workers that serve, by slot.
  std::vector<std::string> served() {
    std::vector<std::string> result;
    for (uint32_t i = 0; i < settings.slots; ++i)
      result.push_back(host->servers.at(serving(i).server).folder);
    return result;
  }

  std::vector<std::string> folders() {
    std::vector<std::string> result;
    for (const auto& x : status().versions)
      result.push_back(x.folder);
    return result;
  }

  using texts = std::vector<std::string>;
};

const std::string first = "models/digits/1", second = "models/digits/2";

} // namespace

TEST_F(Rollout, ReplacesEachWorkerAndEndsTheOldVersion) {
  start();
  EXPECT_FALSE(roll_out(second));
  advance(5s);
  EXPECT_EQ(served(), (Rollout::texts{second, second}));
  EXPECT_EQ(folders(), (Rollout::texts{second})) << "the old fork server is gone";
  EXPECT_EQ(host->alive(), 3u) << "two slots and a standby";
  const auto replaced = details("worker_replaced");
  ASSERT_EQ(replaced.size(), 2u);
  for (const auto& x : replaced) {
    EXPECT_EQ(x["cause"], "rollout");
    EXPECT_EQ(x["model"]["version"], "1") << "the old worker's";
    EXPECT_EQ(x["reason"], "its model version gives way to digits/2");
  }
  EXPECT_EQ(details("rollout_started").at(0)["folder"], second);
  EXPECT_EQ(details("rollout_finished").at(0)["model"]["version"], "2");
  EXPECT_TRUE(details("worker_died").empty());
  EXPECT_TRUE(details("fork_server_died").empty());
  EXPECT_EQ(models, (Rollout::texts{"digits", "digits"}));
  EXPECT_EQ(models_json(status())["rollout"]["state"], "finished");
}

TEST_F(Rollout, ASlotKeepsItsWorkerUntilTheNextOneIsReady) {
  start();
  host->auto_ready = false;
  ASSERT_FALSE(roll_out(second));
  advance(3s);
  EXPECT_EQ(served(), (Rollout::texts{first, first}));
  work(0, 2);
  EXPECT_EQ(details("worker_replaced").size(), 0u);
  for (auto& [id, x] : host->workers)
    if (x.alive && x.generation == 0 && host->servers.at(x.server).folder == second)
      host->ready(x);
  host->auto_ready = true;
  advance(5s);
  EXPECT_EQ(served(), (Rollout::texts{second, second}));
}

TEST_F(Rollout, AResultNamesTheVersionThatMadeIt) {
  start();
  const auto before = request(0);
  EXPECT_EQ((*before)->model->version, "1");
  ASSERT_FALSE(roll_out(second));
  advance(5s);
  const auto after = request(0);
  EXPECT_EQ((*after)->model->version, "2");
  EXPECT_EQ((*after)->model->folder, second);
}

TEST_F(Rollout, AJobThatRunsEndsOnTheWorkerThatHasIt) {
  start();
  fake_host::worker* who = nullptr;
  host->on_job = [&who](fake_host::worker& x, const wire::batch&) {
    who = &x;
    return true;
  };
  auto outcome = request(0);
  ASSERT_NE(who, nullptr);
  const auto batch = std::get<wire::batch>(who->received.back());
  host->on_job = nullptr;
  ASSERT_FALSE(roll_out(second));
  advance(2s);
  EXPECT_TRUE(who->alive);
  EXPECT_EQ(folders(), (Rollout::texts{first, second})) << "the old one waits for it";
  host->answer(*who, batch);
  advance(3s);
  ASSERT_TRUE(*outcome);
  EXPECT_FALSE((*outcome)->failure);
  EXPECT_EQ((*outcome)->model->version, "1");
  EXPECT_EQ(served(), (Rollout::texts{second, second}));
  EXPECT_EQ(folders(), (Rollout::texts{second}));
}

TEST_F(Rollout, AModelThatCannotBeLoadedIsRejectedAndTheServiceGoesOn) {
  start();
  host->auto_server = false;
  ASSERT_FALSE(roll_out(second));
  host->say(wire::server_failed{"model_corrupt", "the weights are cut off"});
  run();
  host->server_dies();
  advance(5s);
  EXPECT_EQ(served(), (Rollout::texts{first, first}));
  EXPECT_EQ(folders(), (Rollout::texts{first}));
  ASSERT_EQ(details("rollout_rejected").size(), 1u);
  EXPECT_EQ(details("rollout_rejected")[0]["reason"], "the weights are cut off");
  const auto told = models_json(status())["rollout"];
  EXPECT_EQ(told["state"], "rejected");
  EXPECT_EQ(told["reason"], "the weights are cut off");
  EXPECT_TRUE(fatal.empty());
  EXPECT_TRUE(to_dispatcher->breaker.empty()
              || !triggers(supervision::circuit_breaker::trigger::fork_server, true));
  work(1, 1);
}

TEST_F(Rollout, AModelWhoseFirstWorkerDiesIsRejected) {
  start();
  host->auto_ready = false;
  ASSERT_FALSE(roll_out(second));
  for (auto& [id, x] : host->workers)
    if (x.alive && host->servers.at(x.server).folder == second)
      host->die(x, SIGSEGV);
  advance(5s);
  EXPECT_EQ(details("rollout_rejected").size(), 1u);
  EXPECT_EQ(folders(), (Rollout::texts{first}));
  EXPECT_TRUE(details("restart_intensity_exceeded").empty());
}

TEST_F(Rollout, AModelThatIsLargerThanTheBudgetIsRejected) {
  start();
  host->prepare = [](fake_host::worker& x) { x.private_bytes = 150 * mib; };
  ASSERT_FALSE(roll_out(second));
  host->prepare = nullptr;
  advance(5s);
  EXPECT_EQ(details("rollout_rejected").size(), 1u);
  EXPECT_TRUE(fatal.empty());
  EXPECT_EQ(folders(), (Rollout::texts{first}));
  EXPECT_EQ(host->alive(), 3u);
}

TEST_F(Rollout, AForkServerThatHangsIsKilledAndItsVersionRejected) {
  start();
  host->auto_server = false;
  host->server_ignores_stop = true;
  ASSERT_FALSE(roll_out(second));
  advance(60s);
  EXPECT_EQ(details("rollout_rejected").size(), 1u);
  EXPECT_EQ(folders(), (Rollout::texts{first}));
  EXPECT_EQ(host->server_kills, 1u);
}

TEST_F(Rollout, AForkServerOfTheOldVersionThatDoesNotForkIsKilled) {
  start();
  host->auto_fork = false;
  host->server_ignores_stop = true;
  host->die(serving(0), SIGSEGV); // the standby takes the slot, and another one is never forked
  run();
  host->auto_fork = true;
  ASSERT_FALSE(roll_out(second));
  advance(15s);
  EXPECT_EQ(folders(), (Rollout::texts{second}));
  EXPECT_EQ(details("rollout_finished").size(), 1u);
}

TEST_F(Rollout, TheTroubleOfTheOldForkServerEndsWithIt) {
  using trigger = supervision::circuit_breaker::trigger;
  start();
  host->start_failure = error{errc::io, "fork: out of memory"};
  host->server_dies();
  advance(5s);
  ASSERT_GE(triggers(trigger::fork_server, true), 1u);
  host->start_failure.reset();
  ASSERT_FALSE(roll_out(second));
  advance(200ms);
  EXPECT_FALSE(to_dispatcher->breaker.back().raised);
  EXPECT_EQ(to_dispatcher->breaker.back().which, trigger::fork_server);
}

TEST_F(Rollout, IsRefusedWhileAnotherOneIsUnderWay) {
  start();
  host->auto_server = false;
  ASSERT_FALSE(roll_out(second));
  EXPECT_EQ(models_json(status())["rollout"]["state"], "under_way");
  EXPECT_EQ(models_json(status())["models"].size(), 2u);
  const auto refused = roll_out("models/digits/3");
  ASSERT_TRUE(refused);
  EXPECT_NE(refused->message.find("under way"), std::string::npos);
  host->server_ready();
  advance(5s);
  EXPECT_EQ(served(), (Rollout::texts{second, second}));
  host->auto_server = true;
  EXPECT_FALSE(roll_out("models/digits/3"));
}

TEST_F(Rollout, IsRefusedBeforeTheFirstModelIsLoadedAndAfterTheDrain) {
  host->auto_server = false;
  start();
  EXPECT_TRUE(roll_out(second));
  host->server_ready();
  host->auto_server = true;
  run();
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{1'000});
  EXPECT_TRUE(roll_out(second));
}

TEST_F(Rollout, TheSameFolderMayTakeItsOwnPlace) {
  start();
  ASSERT_FALSE(roll_out(first));
  advance(5s);
  EXPECT_EQ(details("rollout_finished").size(), 1u);
  EXPECT_EQ(folders(), (Rollout::texts{first}));
  EXPECT_EQ(host->servers_started, 2u);
  EXPECT_EQ(serving(0).server, 2u);
}

TEST_F(Rollout, ADeathMeanwhileIsMendedByTheNewVersion) {
  start();
  ASSERT_FALSE(roll_out(second));
  host->die(serving(1), SIGSEGV);
  advance(5s);
  EXPECT_EQ(served(), (Rollout::texts{second, second}));
  EXPECT_EQ(folders(), (Rollout::texts{second}));
}

TEST_F(Rollout, AStopMeanwhileEndsBothVersions) {
  start();
  host->auto_ready = false;
  ASSERT_FALSE(roll_out(second));
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{5'000});
  advance(6s);
  ASSERT_TRUE(*drained);
  EXPECT_TRUE(**drained);
  EXPECT_EQ(host->alive(), 0u);
  EXPECT_FALSE(host->server_alive());
}

} // namespace ziyu::actors
