#include "cli/demo/account.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::cli;
using nlohmann::json;

namespace {

messaging::result answer(const std::string& id, const std::string& label, uint32_t slot = 0,
                         uint64_t generation = 1, uint64_t private_bytes = 0) {
  messaging::result x;
  x.job_id = id;
  x.top_k = {{label, 0.9, 0}};
  x.slot = slot;
  x.generation = generation;
  x.private_bytes = private_bytes;
  return x;
}

demo_account with_jobs(int n) {
  demo_account x;
  for (int i = 0; i < n; ++i)
    x.submitted(std::to_string(i), "零");
  return x;
}

} // namespace

TEST(DemoAccount, IsCompleteWhenEachJobHasItsAnswer) {
  auto aut = with_jobs(2);
  aut.on_result(answer("0", "零"));
  EXPECT_FALSE(aut.complete());
  EXPECT_EQ(aut.lost(), 1u);
  aut.on_dead_letter("1");
  EXPECT_TRUE(aut.complete());
  EXPECT_EQ(aut.lost(), 0u);
  EXPECT_EQ(aut.answered(), 2u);
  EXPECT_EQ(aut.results(), 1u);
  EXPECT_EQ(aut.dead_lettered(), 1u);
}

TEST(DemoAccount, IsNotCompleteBeforeAllAreSubmitted) {
  demo_account aut;
  aut.expect(2);
  EXPECT_EQ(aut.total(), 2u);
  aut.submitted("a", "零");
  aut.on_result(answer("a", "零"));
  EXPECT_FALSE(aut.complete());
  aut.submitted("b", "零");
  aut.on_result(answer("b", "零"));
  EXPECT_TRUE(aut.complete());
  EXPECT_EQ(aut.report()["submitted"], 2);
}

TEST(DemoAccount, CountsSecondAnswersAsDuplicates) {
  auto aut = with_jobs(2);
  aut.on_result(answer("0", "零"));
  aut.on_result(answer("0", "零"));
  aut.on_dead_letter("0");
  EXPECT_EQ(aut.duplicates(), 2u);
  EXPECT_EQ(aut.results(), 1u);
  EXPECT_EQ(aut.dead_lettered(), 0u);
  EXPECT_EQ(aut.lost(), 1u);
}

TEST(DemoAccount, IgnoresWhatItDidNotSubmit) {
  auto aut = with_jobs(1);
  aut.on_result(answer("stranger", "零"));
  aut.on_dead_letter("stranger");
  EXPECT_EQ(aut.answered(), 0u);
  EXPECT_EQ(aut.duplicates(), 0u);
}

TEST(DemoAccount, MeasuresAccuracyOverResults) {
  auto aut = with_jobs(4);
  EXPECT_EQ(aut.accuracy(), 0);
  aut.on_result(answer("0", "零"));
  aut.on_result(answer("1", "一"));
  auto failed = answer("2", "零");
  failed.top_k.clear();
  failed.ok = false;
  aut.on_result(failed);
  aut.on_dead_letter("3");
  EXPECT_DOUBLE_EQ(aut.accuracy(), 1. / 3);
  EXPECT_EQ(aut.correct(), 1u);
}

TEST(DemoAccount, KeepsThePeakOfEachWorker) {
  auto aut = with_jobs(4);
  aut.on_result(answer("0", "零", 0, 1, 70));
  aut.on_result(answer("1", "零", 0, 1, 50));
  aut.on_result(answer("2", "零", 0, 2, 20));
  aut.on_result(answer("3", "零", 1, 1, 10));
  EXPECT_EQ(aut.peak_private_bytes(), 70u);
  EXPECT_EQ(aut.report()["peak_private_bytes_by_worker"],
            (json{{"0.1", 70}, {"0.2", 20}, {"1.1", 10}}));
  ASSERT_EQ(aut.by_slot().at(0).size(), 3u);
  EXPECT_EQ(aut.by_slot().at(0).back().generation, 2u);
  EXPECT_EQ(aut.by_slot().at(0).back().at_result, 3u);
}

TEST(DemoAccount, CollectsReplacementsFromEvents) {
  auto aut = with_jobs(1);
  events::worker_replaced x;
  x.worker.slot = 1;
  x.worker.generation = 3;
  x.cause = "retained_tensors";
  x.bytes_recovered = 76'000'000;
  x.ms = 12.5;
  aut.on_event({0, {}, x});
  aut.on_event({0, {}, events::worker_started{}});
  EXPECT_EQ(aut.report()["replacements"], json::parse(R"([
    {"slot": 1, "generation": 3, "cause": "retained_tensors", "bytes_recovered": 76000000,
     "ms": 12.5}])"));
}

TEST(DemoAccount, FollowsTheBreakerAndDeaths) {
  demo_account aut;
  EXPECT_EQ(aut.breaker(), "closed");
  aut.on_event({0, {}, events::breaker_opened{}});
  EXPECT_EQ(aut.breaker(), "open");
  aut.on_event({0, {}, events::breaker_half_open{}});
  EXPECT_EQ(aut.breaker(), "half-open");
  aut.on_event({0, {}, events::breaker_closed{}});
  EXPECT_EQ(aut.breaker(), "closed");
  // A kill is followed by the death that it causes: one death.
  aut.on_event({0, {}, events::worker_killed{}});
  aut.on_event({0, {}, events::worker_died{}});
  EXPECT_EQ(aut.deaths(), 1u);
  EXPECT_EQ(aut.report()["workers_died"], 1);
}

TEST(DemoAccount, ReportsWhatWasPromised) {
  auto aut = with_jobs(3);
  aut.on_result(answer("0", "零"));
  const auto report = aut.report();
  for (const auto* key : {"submitted", "results", "dead_lettered", "lost", "duplicates", "accuracy",
                          "replacements", "peak_private_bytes"})
    EXPECT_TRUE(report.contains(key)) << key;
  EXPECT_EQ(report["lost"], 2);
}

TEST(DemoComparison, GoesOnUntilTheLeakingSlotHasHadAsManyJobsAsWithHealing) {
  auto aut = with_jobs(200);
  const comparison_goal goal{0, 3, uint64_t{1} << 30, 1000};
  // However many jobs the healthy slot takes.
  for (int i = 0; i < 160; ++i)
    aut.on_result(answer(std::to_string(i), "零", 1, 1, 4'000'000));
  EXPECT_FALSE(goal.reached(aut));
  for (int i = 160; i < 162; ++i)
    aut.on_result(answer(std::to_string(i), "零", 0, 1, 10'000'000));
  EXPECT_EQ(aut.results_of(0), 2u);
  EXPECT_EQ(aut.results_of(1), 160u);
  EXPECT_EQ(aut.results_of(2), 0u);
  EXPECT_FALSE(goal.reached(aut));
  aut.on_result(answer("162", "零", 0, 1, 16'000'000));
  EXPECT_TRUE(goal.reached(aut));
  EXPECT_FALSE(goal.at_limit(aut));
}

TEST(DemoComparison, EndsBeforeItFillsTheMachine) {
  auto aut = with_jobs(2);
  const comparison_goal goal{0, 100, uint64_t{1} << 30, 1000};
  aut.on_result(answer("0", "零", 0, 1, (uint64_t{1} << 30) - 1));
  EXPECT_FALSE(goal.reached(aut));
  aut.on_result(answer("1", "零", 0, 1, uint64_t{1} << 30));
  EXPECT_TRUE(goal.reached(aut));
  EXPECT_TRUE(goal.at_limit(aut));
}
