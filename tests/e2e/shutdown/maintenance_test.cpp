// The stages of a stop, a stop that is forced, and an instance that is drained for
// maintenance while another one works on.

#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"

#include <gmock/gmock.h>

#include <csignal>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

namespace {

/// Jobs take so long that they are in flight when the signal comes.
json slow(int ms) {
  const auto fault = "slow:" + std::to_string(ms);
  return {{"faults", {{"allowed", true}, {"slots", {{"0", fault}, {"1", fault}}}}}};
}

/// The drain has time for them; only a signal can cut it short.
json slow_and_patient() {
  auto patch = slow(20'000);
  patch["shutdown"] = {{"drain_ms", 60'000}};
  patch["workers"] = {{"job_timeout_ms", 60'000}};
  return patch;
}

/// Longer than all stages of a stop together.
constexpr auto stop_limit = 240s;

bool have_fetched(const service& s, size_t jobs) {
  return s.get_json("/ledger").at("total").at("fetched") == jobs;
}

} // namespace

TEST(Stop, ReportsEachStageWithItsShareOfTime) {
  stage x{shared_broker()};
  auto patch = slow(20);
  // So much time that no stage of a good stop exceeds it on any machine.
  for (const auto* share : {"gate_ms", "drain_ms", "flush_ms", "commit_ms", "close_ms"})
    patch["shutdown"][share] = 30'000;
  patch["workers"] = {{"grace_ms", 30'000}};
  auto s = x.serve(patch);
  x.submit_digits(100);
  ASSERT_TRUE(x.read_until([&] { return x.results().size() >= 20; })) << x.account() << s.log();
  EXPECT_EQ(s.stop(stop_limit), 0) << s.log();
  ASSERT_TRUE(x.read_event("service_stopped")) << x.account() << s.log();
  const auto stages = x.events("service_stopped").at(0).at("detail").at("stages");
  for (const auto* name : {"gate", "drain", "flush", "commit", "close", "workers"}) {
    ASSERT_TRUE(stages.contains(name)) << stages;
    EXPECT_EQ(stages[name]["done"], true) << stages;
    EXPECT_GT(stages[name]["limit_ms"], 0) << stages;
    EXPECT_GE(stages[name]["ms"], 0) << stages;
  }
  EXPECT_THAT(s.log(), HasSubstr("stages: "));
}

TEST(Stop, AStageThatDoesNotEndInTimeIsSaidAndTheNextOnesGoOn) {
  stage x{shared_broker()};
  auto patch = slow(20'000);
  patch["shutdown"] = {{"drain_ms", 200}, {"commit_ms", 30'000}};
  auto s = x.serve(patch);
  x.submit_digits(4);
  // All four jobs have been fetched: two run, the others wait for them.
  ASSERT_TRUE(
    eventually([&] { return s.get_json("/health").at("running") == 2 && have_fetched(s, 4); }))
    << s.get("/ledger").body << s.log();
  EXPECT_EQ(s.stop(stop_limit), 0) << s.log();
  ASSERT_TRUE(x.read_event("service_stopped")) << x.account() << s.log();
  const auto detail = x.events("service_stopped").at(0).at("detail");
  EXPECT_EQ(detail.at("stages").at("drain").at("done"), false);
  EXPECT_EQ(detail.at("stages").at("commit").at("done"), true);
  EXPECT_EQ(detail.at("ledger").at("total").at("handed_back"), 4);
  EXPECT_EQ(detail.at("ledger").at("total").at("balanced"), true);
}

TEST(Stop, ASecondSignalForcesItAndNothingIsLost) {
  stage x{shared_broker()};
  std::vector<int32_t> workers;
  {
    auto s = x.serve(slow_and_patient());
    s.await_workers(2, 1);
    x.submit_digits(6);
    ASSERT_TRUE(eventually([&] { return s.get_json("/health").at("running") == 2; })) << s.log();
    workers = s.workers();
    workers.push_back(s.fork_server());
    s.signal(SIGTERM);
    ASSERT_TRUE(eventually([&] { return s.log().find("service_stopping") != std::string::npos; }));
    s.signal(SIGTERM);
    EXPECT_EQ(s.wait(10s), 1) << s.log();
    EXPECT_THAT(s.log(), HasSubstr("stopping at once"));
  }
  for (auto pid : workers)
    EXPECT_TRUE(eventually([&] { return !is_running(pid); })) << pid;
  auto s = x.serve();
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.duplicates(), 0u);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Maintenance, SIGUSR1HandsThePartitionsOverAndSIGUSR2TakesPartAgain) {
  stage x{shared_broker()};
  auto first = x.serve(slow(10)), second = x.serve(slow(10));
  const auto consumes = [](const service& s) {
    return [&s] { return s.get_json("/ledger").at("total").at("fetched") > 0; };
  };
  x.submit_digits(100, "before");
  ASSERT_TRUE(x.read_all_answers()) << x.account() << first.log() << second.log();
  first.signal(SIGUSR1);
  ASSERT_TRUE(x.read_event("maintenance_began")) << x.account() << first.log();
  EXPECT_EQ(first.get("/readyz").status, 503);
  EXPECT_THAT(first.get_json("/readyz").dump(), HasSubstr("drained for maintenance"));
  EXPECT_TRUE(eventually([&] { return first.get("/livez").status == 200; }));
  EXPECT_TRUE(first.get_json("/ledger").at("total").at("balanced"));
  // The other instance does all of the work.
  const auto fetched = first.get_json("/ledger").at("total").at("fetched");
  x.submit_digits(100, "meanwhile");
  ASSERT_TRUE(x.read_all_answers()) << x.account() << first.log() << second.log();
  EXPECT_EQ(first.get_json("/ledger").at("total").at("fetched"), fetched);
  EXPECT_EQ(x.duplicates(), 0u);
  // Alone, this instance does all of it.
  first.signal(SIGUSR2);
  ASSERT_TRUE(eventually([&] { return first.get("/readyz").status == 200; })) << first.log();
  EXPECT_EQ(second.stop(), 0) << second.log();
  x.submit_digits(100, "after");
  ASSERT_TRUE(x.read_all_answers()) << x.account() << first.log();
  EXPECT_TRUE(consumes(first)());
  expect_all_accounted(x, first);
  EXPECT_EQ(x.duplicates(), 0u) << "what the producer had was waited for";
  EXPECT_EQ(first.stop(), 0) << first.log();
}

TEST(Maintenance, ADrainedInstanceStopsAtOnce) {
  stage x{shared_broker()};
  auto s = x.serve();
  x.submit_digits(10);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  s.signal(SIGUSR1);
  ASSERT_TRUE(x.read_event("maintenance_began")) << x.account() << s.log();
  EXPECT_EQ(s.stop(), 0) << s.log();
  ASSERT_TRUE(x.read_event("service_stopped")) << x.account() << s.log();
  const auto detail = x.events("service_stopped").at(0).at("detail");
  EXPECT_EQ(detail.at("ledger").at("total").at("balanced"), true);
  EXPECT_EQ(detail.at("stages").at("drain").at("done"), true);
}

TEST(Maintenance, ASecondSIGTERMForcesTheDrainToo) {
  stage x{shared_broker()};
  {
    auto s = x.serve(slow_and_patient());
    s.await_workers(2, 1);
    x.submit_digits(4);
    ASSERT_TRUE(eventually([&] { return s.get_json("/health").at("running") == 2; })) << s.log();
    s.signal(SIGUSR1);
    // The drain's beginning: maintenance_began comes at its end.
    ASSERT_TRUE(eventually([&] { return s.log().find("SIGUSR1: draining") != std::string::npos; }))
      << s.log();
    s.signal(SIGTERM);
    ASSERT_TRUE(eventually(
      [&] { return s.log().find("a second signal stops at once") != std::string::npos; }))
      << s.log();
    s.signal(SIGTERM);
    EXPECT_EQ(s.wait(10s), 1) << s.log();
    EXPECT_THAT(s.log(), HasSubstr("stopping at once"));
    EXPECT_THAT(s.log(), Not(HasSubstr("maintenance_began"))) << "the drain was not waited for";
  }
  auto s = x.serve();
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.duplicates(), 0u);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Maintenance, SIGTERMIsHeardWhileSIGUSR2WaitsForAnOldAttempt) {
  stage x{shared_broker()};
  // An attempt that outlives the drain by far.
  auto patch = slow(120'000);
  patch["shutdown"] = {{"drain_ms", 200}};
  patch["workers"] = {{"job_timeout_ms", 240'000}, {"grace_ms", 200}};
  auto s = x.serve(patch);
  x.submit_digits(1);
  ASSERT_TRUE(eventually([&] { return s.get_json("/health").at("running") == 1; })) << s.log();
  s.signal(SIGUSR1);
  ASSERT_TRUE(x.read_event("maintenance_began")) << x.account() << s.log();
  s.signal(SIGUSR2);
  ASSERT_TRUE(eventually([&] { return s.log().find("SIGUSR2: resuming") != std::string::npos; }));
  EXPECT_EQ(s.get_json("/health").at("running"), 1);
  EXPECT_EQ(s.stop(60s), 0) << s.log();
}
