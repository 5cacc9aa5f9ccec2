// What a killed service leaves to the next one: finished records, also out of order, and the number
// of attempts.

#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"

#include <gmock/gmock.h>

#include <csignal>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;
using namespace std::chrono_literals;

namespace {

json patch() {
  return {{"faults", {{"allowed", true}}},
          {"jobs", {{"max_attempts", 2}}},
          {"workers", {{"job_timeout_ms", 300'000}}}, // it hangs until a worker or the service dies
          {"shutdown", {{"drain_ms", 500}}}};
}

messaging::outgoing hanging(const std::string& key) {
  return job_record(key, digits().at(0).bytes, {{"ziyu-fault", "hang"}});
}

/// Waits until the service has only one job left and everything else is committed.
bool only_one_runs(const service& s) {
  return eventually([&] {
    const auto health = s.get_json("/health");
    if (health.at("running") != 1 || health.at("waiting") != 0)
      return false;
    const auto ledger = s.get_json("/ledger");
    if (ledger.at("total").at("in_flight") != 1)
      return false; // a result is visible before its delivery report
    for (const auto& x : ledger.at("partitions"))
      if (x.at("assigned") == true && x.at("commit_pending") == true)
        return false;
    return true;
  });
}

void kill(service& s) {
  s.signal(SIGKILL);
  ASSERT_EQ(s.wait(30s), 128 + SIGKILL);
}

} // namespace

TEST(Crash, WhatWasFinishedBehindAnUnfinishedJobIsNotDoneAgain) {
  stage x{shared_broker(), true, 1};
  x.submit({hanging("slow")});
  x.submit_digits(120);
  {
    auto s = x.serve(patch());
    ASSERT_TRUE(x.read_until([&] { return x.results().size() >= 120; })) << x.account() << s.log();
    ASSERT_TRUE(only_one_runs(s)) << s.get("/ledger").body << s.log();
    kill(s);
  }
  auto s = x.serve(patch());
  EXPECT_TRUE(eventually([&] { return s.get_json("/ledger").at("total").at("fetched") == 121; }))
    << s.get("/ledger").body << s.log();
  const auto total = s.get_json("/ledger").at("total");
  EXPECT_EQ(total.at("already_done"), 120) << total;
  EXPECT_EQ(total.at("in_flight"), 1) << total;
  EXPECT_EQ(total.at("balanced"), true) << total;
  EXPECT_EQ(s.stop(), 0) << s.log();
  x.read_event("service_stopped");
  EXPECT_EQ(x.results().size(), 120u);
  EXPECT_EQ(x.duplicates(), 0u);
}

TEST(Crash, AJobThatIsThereWheneverTheServiceDiesBecomesADeadLetter) {
  stage x{shared_broker()};
  x.submit({hanging("poison")});
  x.submit_digits(20);
  // The first death only names suspects; the next two count for the job that runs alone.
  for (auto life = 1; life <= 3; ++life) {
    auto s = x.serve(patch());
    ASSERT_TRUE(x.read_until([&] { return x.results().size() >= 20; })) << x.account() << s.log();
    ASSERT_TRUE(only_one_runs(s)) << "life " << life << s.get("/health").body << s.log();
    EXPECT_TRUE(x.dead_letters().empty()) << "life " << life;
    kill(s);
  }
  auto s = x.serve(patch());
  ASSERT_TRUE(x.read_until([&] { return x.dead_letters().size() == 1; })) << x.account() << s.log();
  const auto& dead = x.dead_letters().at(0);
  EXPECT_EQ(dead.key, "poison");
  EXPECT_EQ(*dead.value, digits().at(0).bytes) << "its payload is intact";
  EXPECT_EQ(header(dead, "__connect.errors.exception.class.name"), "max_attempts");
  EXPECT_EQ(header(dead, "ziyu-attempts"), "2");
  EXPECT_EQ(x.results().size(), 20u);
  EXPECT_EQ(x.duplicates(), 0u);
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
}
