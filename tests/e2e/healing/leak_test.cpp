// Leaking workers are replaced before their budget, and killed at the hard limit.

#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"

#include <gmock/gmock.h>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;

namespace {

constexpr uint64_t mib = uint64_t{1} << 20;
constexpr auto budget = 256 * mib, hard_limit = 384 * mib;

/// Slot 0 leaks. Slot 1 is slow, so that it leaves work to slot 0, which is slow as well since it
/// touches fresh memory. The room is that of 40 leaks of 6 MiB: of the digits, which have eight
/// sizes, the judge needs more jobs than of one, as it may meet each size for the first time.
json leaking(const std::string& fault) {
  return {{"faults", {{"allowed", true}, {"slots", {{"0", fault}, {"1", "slow:30"}}}}},
          {"memory",
           {{"container_limit_bytes", uint64_t{1} << 42},
            {"worker_budget_bytes", budget},
            {"worker_hard_limit_bytes", hard_limit}}},
          {"restart", {{"intensity", 1000}}},
          {"jobs", {{"max_attempts", 50}}}};
}

/// The highest private memory of each (slot, generation) in its results.
std::map<std::pair<uint32_t, uint64_t>, uint64_t> peaks(const stage& x) {
  std::map<std::pair<uint32_t, uint64_t>, uint64_t> found;
  for (const auto& r : x.results()) {
    const auto& w = r.document.at("worker");
    auto& peak = found[{w.at("slot"), w.at("generation")}];
    peak = std::max(peak, r.document.at("memory").at("private_bytes").get<uint64_t>());
  }
  return found;
}

} // namespace

TEST(Leak, AWorkerThatKeepsTensorsIsReplacedBeforeItsBudgetAndNoJobNotices) {
  stage x{shared_broker()};
  auto s = x.serve(leaking("retain_tensors:6MiB"));
  s.await_workers(2, 1);
  x.submit_digits(300);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.results().size(), 300u);
  EXPECT_EQ(x.duplicates(), 0u);
  EXPECT_GE(x.accuracy(), 0.97);
  for (const auto& r : x.results())
    EXPECT_EQ(r.document.at("attempt"), 1) << r.document;
  for (const auto& [worker, peak] : peaks(x))
    EXPECT_LT(peak, budget) << "slot " << worker.first << ", generation " << worker.second;

  ASSERT_TRUE(x.read_event("worker_replaced", "slot", 0)) << x.account() << s.log();
  for (const auto& e : x.events("worker_replaced")) {
    const auto& detail = e.at("detail");
    EXPECT_EQ(detail.at("slot"), 0) << "the other one is healthy";
    EXPECT_EQ(detail.at("verdict"), "leak") << e;
    EXPECT_FALSE(detail.at("cause").get<std::string>().empty());
    EXPECT_GT(detail.at("bytes_recovered").get<uint64_t>(), 20 * mib);
    // What was kept from each job, nearly to the byte.
    EXPECT_NEAR(detail.at("live_slope").at("bytes_per_job").get<double>(), 6. * mib, 0.1 * mib);
    EXPECT_LT(detail.at("peak_private_bytes").get<uint64_t>(), budget);
    EXPECT_FALSE(is_running(detail.at("pid"))) << "the old worker is gone";
  }
  EXPECT_FALSE(x.events("leak_confirmed").empty());
  // Replaced by a warm standby, never killed.
  EXPECT_TRUE(x.events("worker_killed").empty());
  EXPECT_TRUE(x.events("worker_died").empty());
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Leak, KeptImagesAreNamed) {
  stage x{shared_broker()};
  auto patch = leaking("retain_images");
  patch["memory"]["worker_budget_bytes"] = 24 * mib;
  patch["healing"] = {{"replace_at", 0.2}};
  auto s = x.serve(patch);
  s.await_workers(2, 1);
  x.submit_digits(400);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  ASSERT_TRUE(x.read_event("growth_confirmed", "slot", 0)) << x.account() << s.log();
  EXPECT_EQ(x.results().size(), 400u);
  EXPECT_EQ(x.duplicates(), 0u);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Leak, AModelThatKeepsStateInItsOwnForwardIsHealedWithoutAnyInjectedFault) {
  stage x{shared_broker()};
  // The model's forward() appends a tensor of 64 KiB to a list that nobody reads.
  auto s = x.serve({{"model", {{"path", source_file("tests/data/models/leaky/1").string()}}},
                    {"memory",
                     {{"container_limit_bytes", uint64_t{1} << 42},
                      {"worker_budget_bytes", 20 * mib},
                      {"worker_hard_limit_bytes", 64 * mib}}}});
  s.await_workers(2, 1);
  x.submit_digits(800);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.results().size(), 800u);
  EXPECT_EQ(x.duplicates(), 0u);
  EXPECT_TRUE(x.dead_letters().empty());
  for (const auto& [worker, peak] : peaks(x))
    EXPECT_LT(peak, 20 * mib) << "slot " << worker.first << ", generation " << worker.second;
  ASSERT_TRUE(x.read_event("worker_replaced", "cause", "retained_tensors"))
    << x.account() << s.log();
  ASSERT_TRUE(x.read_event("leak_report", "cause", "retained_tensors")) << x.account();
  const auto report = x.events("leak_report").front().at("detail");
  EXPECT_NEAR(report.at("live_slope").at("bytes_per_job").get<double>(), 65'536, 2'000);
  EXPECT_TRUE(x.events("worker_killed").empty());
  EXPECT_TRUE(x.events("worker_died").empty());
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Leak, AModelsCacheThatFillsIsNoLeakAndCostsNoWorker) {
  stage x{shared_broker()};
  // The model keeps 64 KiB of each of its latest 300 inputs: 19.7 MB, within the budget.
  auto s = x.serve({{"model", {{"path", source_file("tests/data/models/caching/1").string()}}},
                    {"memory",
                     {{"container_limit_bytes", uint64_t{1} << 42},
                      {"worker_budget_bytes", 48 * mib},
                      {"worker_hard_limit_bytes", 96 * mib}}}});
  s.await_workers(2, 1);
  x.submit_digits(800);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.results().size(), 800u);
  ASSERT_TRUE(x.read_event("growth_ended", "verdict", "healthy")) << x.account() << s.log();
  EXPECT_TRUE(x.events("leak_confirmed").empty());
  EXPECT_TRUE(x.events("worker_replaced").empty());
  EXPECT_TRUE(x.events("worker_killed").empty());
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Leak, AWorkerThatJumpsOverTheHardLimitIsKilledAtNoJobsCost) {
  stage x{shared_broker()};
  auto s = x.serve(leaking("native_malloc:450MiB"));
  s.await_workers(2, 1);
  x.submit_digits(150);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.results().size(), 150u);
  EXPECT_EQ(x.duplicates(), 0u);
  EXPECT_TRUE(x.dead_letters().empty());
  EXPECT_GE(x.accuracy(), 0.97);
  ASSERT_TRUE(x.read_event("worker_killed", "code", "hard_limit")) << x.account() << s.log();
  for (const auto& e : x.events("worker_killed")) {
    EXPECT_EQ(e.at("detail").at("slot"), 0) << e;
    EXPECT_GE(e.at("detail").at("private_bytes").get<uint64_t>(), hard_limit) << e;
    const int32_t pid = e.at("detail").at("pid");
    EXPECT_TRUE(eventually([&] { return !is_running(pid); })) << pid;
  }
  EXPECT_EQ(s.stop(), 0) << s.log();
}
