// The fork server dies, or says what it should not; its workers live on.

#include "tests/support/supervisor_stage.hpp"

namespace ziyu::actors {

namespace {

using namespace ziyu::test;
using trigger = supervision::circuit_breaker::trigger;

class ForkServerDeath : public supervisor_fixture {
protected:
  ForkServerDeath() { settings.explain = false; } // explanations_test.cpp
};

} // namespace

TEST_F(ForkServerDeath, StartsTheForkServerAgainWhileItsWorkersLiveOn) {
  start();
  host->server_dies();
  run();
  EXPECT_EQ(host->alive(), 3u);
  work(0, 2);
  EXPECT_EQ(host->servers_started, 1u) << "not at once";
  advance(1s);
  EXPECT_EQ(host->servers_started, 2u);
  EXPECT_EQ(host->alive(), 3u);
  EXPECT_EQ(serving(0).generation, 1u);
  EXPECT_EQ(details("fork_server_died").size(), 1u);
  EXPECT_EQ(details("fork_server_started").size(), 2u);
  EXPECT_EQ(triggers(trigger::fork_server, true), 0u) << "one death is no trouble";
}

TEST_F(ForkServerDeath, TellsWhyACompiledPackageOfTheModelDoesNotServe) {
  host->refused_packages = "its code ended with signal 4";
  start();
  ASSERT_EQ(details("package_refused").size(), 1u);
  EXPECT_EQ(details("package_refused")[0]["reason"], "its code ended with signal 4");
  EXPECT_EQ(details("package_refused")[0]["serves"], "fp32");
  EXPECT_EQ(host->alive(), 3u) << "the service serves on";
}

TEST_F(ForkServerDeath, NoticesTheEndOfAnOrphanByItself) {
  host->auto_server = false;
  start();
  host->server_ready();
  run();
  host->server_dies();
  run();
  auto& victim = serving(0);
  host->die(victim, SIGKILL); // no fork server to tell of it
  advance(1s);
  EXPECT_TRUE(victim.forgotten);
  EXPECT_EQ(serving(0).generation, 2u) << "the standby was there";
  EXPECT_EQ(details("worker_died").at(0)["how"], "unknown");
}

TEST_F(ForkServerDeath, RaisesTheBreakerWhenTheForkServerKeepsDying) {
  start();
  host->auto_server = false;
  host->server_dies();
  for (auto i = 0; i < 3; ++i) {
    advance(5s);
    host->server_dies();
    run();
  }
  EXPECT_GE(triggers(trigger::fork_server, true), 1u);
  EXPECT_TRUE(fatal.empty()) << "it has worked before";
  host->auto_server = true;
  advance(10s);
  EXPECT_EQ(to_dispatcher->breaker.back().which, trigger::fork_server);
  EXPECT_FALSE(to_dispatcher->breaker.back().raised);
  EXPECT_EQ(host->alive(), 3u);
}

TEST_F(ForkServerDeath, RaisesTheBreakerWithItsAttemptsWhenTheForkServerCannotBeStarted) {
  start();
  host->start_failure = error{errc::io, "fork: out of memory"};
  host->server_dies();
  run();
  EXPECT_EQ(triggers(trigger::fork_server, true), 0u) << "one death is no trouble";
  advance(10s);
  ASSERT_GE(triggers(trigger::fork_server, true), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const auto& x = to_dispatcher->breaker.at(i);
    EXPECT_NE(x.reason.find("fork: out of memory"), std::string::npos) << x.reason;
    EXPECT_EQ(x.values.at("attempts"), static_cast<double>(i + 1));
    EXPECT_GT(x.values.at("next_attempt_ms"), 0);
  }
  host->start_failure.reset();
  advance(20s);
  EXPECT_FALSE(to_dispatcher->breaker.back().raised);
}

TEST_F(ForkServerDeath, EscalatesWhenTheForkServerDiesRightAfterEachReady) {
  start();
  const auto before = host->servers_started;
  for (auto ms = 0; ms < 60'000; ms += 10) {
    if (host->server_alive())
      host->server_dies(); // it was ready, for less than 10 ms
    advance(10ms);
  }
  // Intensity 3: a few quick tries, then one each 5 s.
  EXPECT_LE(host->servers_started - before, 20u) << "no tight loop";
  EXPECT_GE(host->servers_started - before, 12u) << "but it goes on trying";
  EXPECT_GE(triggers(trigger::fork_server, true), 1u);
  EXPECT_EQ(triggers(trigger::fork_server, false), 0u) << "ready is not well";
  ASSERT_EQ(details("restart_intensity_exceeded").size(), 1u) << "told once";
  EXPECT_EQ(details("restart_intensity_exceeded")[0]["of"], "fork_server");
  EXPECT_EQ(details("restart_intensity_exceeded")[0]["deaths"], 4);
  EXPECT_EQ(status().trouble, "too many fork servers died recently");
  EXPECT_TRUE(fatal.empty());
  // One that lives ends it all.
  advance(70s);
  EXPECT_EQ(triggers(trigger::fork_server, false), 1u);
  EXPECT_EQ(status().trouble, "");
  host->server_dies();
  advance(200ms);
  EXPECT_TRUE(host->server_alive()) << "the next accident is mended at once again";
}

TEST_F(ForkServerDeath, TreatsRubbishFromTheForkServerAsItsDeath) {
  start();
  host->server_dies(error{errc::bad_frame, "no magic"});
  advance(1s);
  EXPECT_EQ(host->servers_started, 2u);
  EXPECT_EQ(details("fork_server_died").at(0)["reason"], "bad_frame: no magic");
}

TEST_F(ForkServerDeath, IgnoresWhatAnOldForkServerSays) {
  start();
  host->server_dies();
  advance(1s);
  send(aut, server_closed{1, {}});
  send(aut,
       server_frame{1, std::make_shared<const wire::frame>(wire::exited{serving(0).pid, 0, 9, 0})});
  EXPECT_TRUE(details("worker_died").empty());
  EXPECT_EQ(host->servers_started, 2u);
  EXPECT_TRUE(host->server_alive());
}

} // namespace ziyu::actors
