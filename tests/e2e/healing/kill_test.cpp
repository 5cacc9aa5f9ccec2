// Whichever process dies under load, every job is answered, and the events report what happened.

#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"

#include <gmock/gmock.h>

#include <csignal>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;

namespace {

/// Each job takes 20 ms, so that there are always some in flight.
const json slow{{"faults", {{"allowed", true}, {"slots", {{"0", "slow:20"}, {"1", "slow:20"}}}}},
                {"restart", {{"intensity", 1000}}},
                {"jobs", {{"max_attempts", 20}}},
                // A worker that ends with several jobs charges none of them with an attempt.
                {"batching", {{"max_jobs", 1}}}};

size_t retried(const stage& x) {
  size_t n = 0;
  for (const auto& r : x.results())
    n += r.document.at("attempt") > 1;
  return n;
}

size_t count_events(const stage& x, const std::string& type, const std::string& key,
                    const json& value) {
  size_t n = 0;
  for (const auto& e : x.events(type))
    n += e.at("detail").value(key, json{}) == value;
  return n;
}

} // namespace

TEST(Kill, WorkersWithJobsInFlightAreReplacedAndTheJobsRunAgain) {
  stage x{shared_broker()};
  auto s = x.serve(slow);
  s.await_workers(2, 1);
  x.submit_digits(300);
  std::vector<int32_t> killed;
  for (size_t round = 1; round <= 4; ++round) {
    // Somewhere in the middle of the load.
    ASSERT_TRUE(x.read_until([&] { return x.results().size() >= 20 * round; })) << x.account();
    std::vector<int32_t> serving;
    // No worker may serve when the reader is late and the rounds follow each other at once.
    ASSERT_TRUE(eventually([&] {
      serving = s.workers("serving");
      return !serving.empty();
    }))
      << s.log();
    ASSERT_EQ(::kill(serving.front(), SIGKILL), 0);
    killed.push_back(serving.front());
    ASSERT_TRUE(x.read_event("worker_died", "pid", killed.back())) << x.account() << s.log();
  }
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.results().size(), 300u);
  EXPECT_EQ(x.duplicates(), 0u);
  EXPECT_GE(retried(x), 1u);
  EXPECT_GE(x.accuracy(), 0.97);
  for (auto pid : killed) {
    EXPECT_FALSE(is_running(pid));
    EXPECT_EQ(count_events(x, "worker_died", "pid", pid), 1u);
  }
  for (const auto& e : x.events("worker_died"))
    EXPECT_EQ(e.at("detail").at("how"), "signal 9 (SIGKILL)") << e;
  ASSERT_TRUE(x.read_until([&] { return x.events("worker_replaced").size() >= 4; })) << x.account();
  for (const auto& e : x.events("worker_replaced")) {
    EXPECT_EQ(e.at("detail").at("cause"), "crash") << e;
    EXPECT_GT(e.at("detail").at("ms").get<double>(), 0) << e;
  }
  uint64_t newest = 0;
  for (const auto& r : x.results())
    newest = std::max(newest, r.document.at("worker").at("generation").get<uint64_t>());
  EXPECT_GE(newest, 2u);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Kill, AllWorkersAtOnceCostNoJob) {
  stage x{shared_broker()};
  auto s = x.serve(slow);
  s.await_workers(2, 1);
  std::set<int32_t> killed;
  const auto none_of_the_killed = [&] {
    for (auto pid : s.workers())
      if (killed.contains(pid))
        return false;
    return true;
  };
  for (auto round = 1; round <= 3; ++round) {
    // Each round has its own jobs: some are in flight however late the results are read.
    x.submit_digits(100, "round-" + std::to_string(round));
    const auto before = x.results().size();
    ASSERT_TRUE(x.read_until([&] { return x.results().size() >= before + 25; })) << x.account();
    for (auto pid : s.workers()) {
      ::kill(pid, SIGKILL);
      EXPECT_TRUE(killed.insert(pid).second) << "round " << round;
    }
    // The next round needs a worker that serves. One is enough: others may still be starting.
    ASSERT_TRUE(eventually([&] { return none_of_the_killed() && !s.workers("serving").empty(); }))
      << "round " << round << s.get("/workers").body << s.log();
  }
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.results().size(), 300u);
  EXPECT_EQ(x.duplicates(), 0u);
  EXPECT_GE(x.accuracy(), 0.97);
  EXPECT_GE(killed.size(), 5u) << "two slots and a standby, then at least one a round";
  EXPECT_GE(retried(x), 1u);
  s.await_workers(2, 1);
  for (auto pid : s.workers())
    EXPECT_FALSE(killed.contains(pid));
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Kill, AForkServerThatDiesIsReplacedWhileItsWorkersServe) {
  stage x{shared_broker()};
  auto s = x.serve(slow);
  s.await_workers(2, 1);
  x.submit_digits(300);
  ASSERT_TRUE(x.read_until([&] { return x.results().size() >= 20; })) << x.account();
  const auto first = s.fork_server();
  const auto workers = s.workers("serving");
  ASSERT_EQ(::kill(first, SIGKILL), 0);
  ASSERT_TRUE(x.read_event("fork_server_died", "pid", first)) << x.account() << s.log();
  for (auto pid : workers)
    EXPECT_TRUE(is_running(pid)) << "workers outlive their fork server";
  ASSERT_TRUE(x.read_until([&] { return x.events("fork_server_started").size() == 2; }));
  EXPECT_TRUE(
    eventually([&] { return s.get_json("/workers").at("fork_server").at("ready") == true; }))
    << s.get("/workers").body << s.log();
  EXPECT_NE(s.fork_server(), first);
  // The new fork server's workers replace the old one's under load.
  for (auto pid : workers)
    ::kill(pid, SIGKILL);
  ASSERT_TRUE(x.read_until([&] { return x.events("worker_died").size() >= workers.size(); }))
    << x.account() << s.log();
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.results().size(), 300u);
  EXPECT_EQ(x.duplicates(), 0u);
  EXPECT_TRUE(x.dead_letters().empty());
  s.await_workers(2, 1);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Kill, AForkServerThatDiesWithAllItsWorkersCostsNoJob) {
  stage x{shared_broker()};
  auto s = x.serve(slow);
  s.await_workers(2, 1);
  x.submit_digits(150);
  ASSERT_TRUE(x.read_until([&] { return x.results().size() >= 20; })) << x.account();
  auto all = s.workers();
  all.push_back(s.fork_server());
  for (auto pid : all)
    ::kill(pid, SIGKILL);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.results().size(), 150u);
  EXPECT_EQ(x.duplicates(), 0u);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Kill, AJobThatKillsEachOfItsWorkersBecomesADeadLetterAloneAfterMaxAttempts) {
  stage x{shared_broker()};
  auto s = x.serve({{"faults", {{"allowed", true}}}, {"jobs", {{"max_attempts", 3}}}});
  s.await_workers(2, 1);
  x.submit_digits(40, "before");
  x.submit({job_record("poison", digits()[0].bytes,
                       {{"ziyu-fault", "crash"}, {"traceparent", "00-1-2-01"}})});
  x.expect("poison");
  x.submit_digits(40, "after");
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.results().size(), 80u);
  EXPECT_EQ(x.duplicates(), 0u);
  ASSERT_EQ(x.dead_letters().size(), 1u);
  const auto& dead = x.dead_letters().front();
  EXPECT_EQ(dead.key, "poison");
  EXPECT_EQ(*dead.value, digits()[0].bytes);
  EXPECT_EQ(header(dead, "ziyu-fault"), "crash");
  EXPECT_EQ(header(dead, "traceparent"), "00-1-2-01");
  EXPECT_EQ(header(dead, "__connect.errors.exception.class.name"), "max_attempts");
  EXPECT_EQ(header(dead, "ziyu-attempts"), "3");
  // Other slots were not affected.
  for (const auto& r : x.results())
    EXPECT_EQ(r.document.at("attempt"), 1) << r.document;
  ASSERT_TRUE(x.read_until([&] { return x.events("worker_died").size() == 3; })) << x.account();
  for (const auto& e : x.events("worker_died"))
    EXPECT_EQ(e.at("detail").at("how"), "signal 11 (SIGSEGV)") << e;
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Kill, ManyHostileJobsHoldNobodyUp) {
  stage x{shared_broker()};
  // With restart.intensity and the breaker as they are by default.
  auto s = x.serve({{"faults", {{"allowed", true}}}});
  s.await_workers(2, 1);
  // 8 files, of which each ends three workers: 24 deaths, more than twice what a minute allows.
  constexpr size_t hostile = 8, good = 400;
  std::vector<messaging::outgoing> records;
  for (size_t i = 0; i < hostile; ++i) {
    const auto key = "hostile-" + std::to_string(i);
    records.push_back(job_record(key, digits()[i].bytes, {{"ziyu-fault", "crash"}}));
    x.expect(key);
  }
  x.submit(std::move(records));
  x.submit_digits(good, "good");
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.results().size(), good);
  EXPECT_EQ(x.duplicates(), 0u);
  ASSERT_EQ(x.dead_letters().size(), hostile);
  for (const auto& d : x.dead_letters()) {
    EXPECT_EQ(header(d, "ziyu-attempts"), "3");
    EXPECT_THAT(header(d, "__connect.errors.exception.message"),
                testing::HasSubstr("the image is the cause: it ended 3 workers (slot "));
  }
  for (const auto& r : x.results())
    EXPECT_EQ(r.document.at("attempt"), 1) << r.document;
  EXPECT_EQ(s.stop(), 0) << s.log();
  ASSERT_TRUE(x.read_event("service_stopped"));
  EXPECT_EQ(x.events("worker_died").size(), 3 * hostile);
  EXPECT_TRUE(x.events("breaker_opened").empty()) << x.events("breaker_opened").at(0);
  EXPECT_TRUE(x.events("restart_intensity_exceeded").empty());
}

TEST(Kill, AWorkerThatHangsIsKilledAtTheDeadlineAndItsJobRunsElsewhere) {
  stage x{shared_broker()};
  auto s = x.serve({{"faults", {{"allowed", true}, {"slots", {{"0", "hang"}}}}},
                    {"workers", {{"slots", 2}, {"job_timeout_ms", 400}}},
                    {"restart", {{"intensity", 1000}}},
                    {"jobs", {{"max_attempts", 50}}}});
  s.await_workers(2, 1);
  x.submit_digits(20);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.results().size(), 20u);
  EXPECT_EQ(x.duplicates(), 0u);
  EXPECT_GE(retried(x), 1u);
  for (const auto& r : x.results())
    EXPECT_EQ(r.document.at("worker").at("slot"), 1) << r.document;
  ASSERT_TRUE(x.read_event("worker_killed", "code", "deadline_exceeded")) << x.account();
  ASSERT_TRUE(x.read_event("worker_replaced", "cause", "hang")) << x.account();
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Kill, FaultsInHeadersAreIgnoredUnlessAllowed) {
  stage x{shared_broker()};
  auto s = x.serve();
  x.submit_digits(10, "job", {{"ziyu-fault", "crash"}});
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.results().size(), 10u);
  for (const auto& r : x.results()) {
    EXPECT_EQ(r.document.at("attempt"), 1);
    EXPECT_EQ(header(r.raw, "ziyu-fault"), "crash") << "carried like any other";
  }
  EXPECT_THAT(s.log(), testing::HasSubstr("faults.allowed is false"));
  EXPECT_EQ(s.stop(), 0) << s.log();
  EXPECT_TRUE(x.read_event("service_stopped"));
  EXPECT_TRUE(x.events("worker_died").empty());
}
