// The service may end at any moment, by a signal or by SIGKILL: a second start does the remaining
// jobs.

#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"

#include <gmock/gmock.h>

#include <csignal>
#include <random>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;
using namespace std::chrono_literals;

namespace {

const json slow{{"faults", {{"allowed", true}, {"slots", {{"0", "slow:10"}, {"1", "slow:10"}}}}}};

} // namespace

TEST(Restart, AKilledServiceLeavesNothingRunningAndTheNextOneDoesTheRest) {
  stage x{shared_broker()};
  std::vector<int32_t> old;
  {
    auto patch = slow;
    patch["faults"]["slots"] = {{"0", "slow:20"}, {"1", "slow:20"}};
    auto s = x.serve(patch);
    s.await_workers(2, 1);
    x.submit_digits(400);
    ASSERT_TRUE(x.read_until([&] { return x.results().size() >= 200; })) << x.account() << s.log();
    old = s.workers();
    old.push_back(s.fork_server());
    s.signal(SIGKILL);
    EXPECT_EQ(s.wait(30s), 128 + SIGKILL);
  }
  // The workers of a killed service and their fork server notice by themselves.
  for (auto pid : old)
    EXPECT_TRUE(eventually([&] { return !is_running(pid); })) << pid;
  auto s = x.serve();
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_GE(x.accuracy(), 0.97);
  // At least once: records that were not committed yet ran again.
  EXPECT_LE(x.duplicates(), 200u);
  RecordProperty("duplicates", static_cast<int>(x.duplicates()));
  const auto total = s.get_json("/ledger").at("total");
  EXPECT_LT(total.at("fetched").get<uint64_t>(), 400u) << "what was committed stays done";
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Restart, SignalsAtRandomMomentsUnderLoadLoseAndRepeatNothing) {
  stage x{shared_broker()};
  std::mt19937 random{20'261'124};
  size_t rounds = 0;
  while (rounds < 6) {
    // More jobs than the round waits for, so that it has enough even if an earlier round did many.
    x.submit_digits(100, "round-" + std::to_string(rounds));
    auto s = x.serve(slow);
    // After so many further results; the first time at once, before there is a model.
    const auto more = rounds == 0 ? 0 : 1 + random() % 60;
    const auto before = x.results().size();
    ASSERT_TRUE(x.read_until([&] { return x.results().size() >= before + more; }))
      << x.account() << s.log();
    s.signal(rounds % 2 == 0 ? SIGTERM : SIGINT);
    const auto code = s.wait(30s);
    ASSERT_TRUE(code) << "round " << rounds << s.log();
    EXPECT_EQ(*code, 0) << "round " << rounds << s.log();
    ++rounds;
  }
  auto s = x.serve();
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
  ASSERT_TRUE(x.read_until([&] { return x.events("service_stopped").size() == rounds + 1; }))
    << x.account();
  EXPECT_EQ(x.duplicates(), 0u) << "in good order, what was done was committed";
  EXPECT_GE(x.accuracy(), 0.97);
  // Over all lives: every fetched record is accounted for.
  for (const auto& e : x.events("service_stopped")) {
    const auto total = e.at("detail").at("ledger").at("total");
    EXPECT_EQ(total.at("balanced"), true) << total;
    EXPECT_EQ(total.at("in_flight"), 0) << total;
  }
}

TEST(Restart, AStopDuringALeakAndACrashIsStillClean) {
  stage x{shared_broker()};
  x.submit_digits(200, "job");
  {
    auto s = x.serve(
      {{"faults", {{"allowed", true}, {"slots", {{"0", "retain_tensors:6MiB"}, {"1", "slow:10"}}}}},
       {"memory", {{"worker_budget_bytes", "64MiB"}, {"worker_hard_limit_bytes", "128MiB"}}}});
    ASSERT_TRUE(x.read_event("worker_replaced")) << x.account() << s.log();
    for (auto pid : s.workers("serving"))
      ::kill(pid, SIGKILL);
    EXPECT_EQ(s.stop(), 0) << s.log();
  }
  auto s = x.serve();
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
}
