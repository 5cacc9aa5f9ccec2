// A worker as the supervisor knows it: who it is, its verdict, its replacement and its end.

#include "supervision/pool/worker.hpp"

#include <gmock/gmock.h>

namespace ziyu::supervision {

namespace {

using phase = worker_life::phase;

constexpr uint64_t mib = 1u << 20;
constexpr uint64_t budget = 256 * mib;

leak_judge::settings judging() {
  leak_judge::settings x;
  x.budget_bytes = budget;
  return x;
}

class Worker : public ::testing::Test {
protected:
  Worker() {
    aut.forked(77);
    aut.ready({.live = 5 * mib});
    worker_memory::reading first;
    first.idle = true;
    first.pages.private_bytes = first.pages.anonymous = 10 * mib;
    aut.memory().read(first);
    aut.memory().note_baseline();
  }

  void serve() {
    aut.link(1, 3, history);
    aut.serve(5'000);
  }

  std::vector<events::body> job(int64_t kept) {
    live += static_cast<uint64_t>(kept);
    memory_report x;
    x.said = {.live = live, .rss_anon = live + 5 * mib};
    x.delta_live = kept;
    x.private_bytes = live + 5 * mib;
    x.jobs.resize(1);
    aut.after_job(x);
    return aut.tell_verdict(budget, history);
  }

  std::vector<std::string> types_of(const std::vector<events::body>& news) {
    std::vector<std::string> xs;
    for (const auto& x : news)
      xs.emplace_back(events::type_of(x));
    return xs;
  }

  growth_history history;
  uint64_t live = 5 * mib;
  worker aut{{.id = 9, .version = 1, .model = {}, .server = 2, .chance = 0.5}, judging()};
};

} // namespace

TEST_F(Worker, IsReadyEvenIfTheNewsOfItsForkComesLater) {
  worker x{{.id = 1}, judging()};
  x.forked(5);
  x.ready({});
  EXPECT_EQ(x.life().now(), phase::standby);
  x.forked(5); // the fork server's own frame
  EXPECT_EQ(x.life().now(), phase::standby);
}

TEST_F(Worker, ServesUnlessItsEndCameBefore) {
  serve();
  EXPECT_TRUE(aut.life().is_serving());
  EXPECT_EQ(aut.slot(), 1u);
  EXPECT_EQ(aut.generation(), 3u);
  EXPECT_EQ(aut.serving_since_us(), 5'000);
  worker dead{{.id = 2}, judging()};
  dead.forked(6);
  dead.ready({});
  dead.link(0, 1, history);
  dead.close();
  dead.serve(1); // the slot's message was under way
  EXPECT_TRUE(dead.life().is_ending());
}

TEST_F(Worker, TellsEachChangeOfItsVerdictOnce) {
  serve();
  std::vector<std::string> told;
  for (auto i = 0; i < 40; ++i)
    for (const auto& type : types_of(job(6 * mib)))
      told.push_back(type);
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.back(), "leak_confirmed");
  EXPECT_EQ(std::count(told.begin(), told.end(), "leak_confirmed"), 1);
  const auto evidence = aut.evidence(budget);
  EXPECT_EQ(evidence.slot, 1u);
  EXPECT_EQ(evidence.pid, 77);
  EXPECT_EQ(evidence.jobs, 40u);
  EXPECT_EQ(evidence.verdict, "leak");
  EXPECT_EQ(evidence.baseline_bytes, 10 * mib);
  EXPECT_EQ(evidence.last_delta_bytes, static_cast<int64_t>(6 * mib));
  EXPECT_EQ(evidence.budget_bytes, budget);
  EXPECT_FALSE(evidence.gpu_reserved_bytes);
  EXPECT_EQ(aut.counters(3 * mib).model_bytes, 3 * mib);
  EXPECT_NEAR(aut.counters(0).live_per_job, 6. * mib, 1);
  aut.judge_anew(history);
  EXPECT_EQ(aut.told(), growth::warming_up);
  EXPECT_THAT(types_of(job(0)), testing::IsEmpty());
}

TEST_F(Worker, AnEndOfGrowthIsRememberedForItsSlot) {
  serve();
  auto ended = false;
  for (auto i = 0; i < 200 && !ended; ++i)
    for (const auto& type : types_of(job(i < 30 ? static_cast<int64_t>(mib) : 0)))
      ended = ended || type == "growth_ended";
  ASSERT_TRUE(ended);
  EXPECT_GT(history.cache_bytes(), 20 * mib);
}

TEST_F(Worker, AtItsBudgetItIsHeldUntilItIsRelieved) {
  serve();
  aut.hold(true);
  EXPECT_TRUE(aut.let_go());
  EXPECT_FALSE(aut.is_held());
  EXPECT_FALSE(aut.let_go()) << "it goes already";
  aut.hold(true);
  aut.doom("near its budget", true);
  EXPECT_TRUE(aut.is_doomed());
  EXPECT_FALSE(aut.let_go());
  EXPECT_TRUE(aut.is_held());
  aut.doom("a leak", false);
  EXPECT_FALSE(aut.let_go()) << "it is at its budget still";
}

TEST_F(Worker, AnEndInGoodOrderIsExpected) {
  EXPECT_TRUE(aut.end());
  EXPECT_TRUE(aut.is_end_expected());
  EXPECT_FALSE(aut.end()) << "no news";
}

TEST_F(Worker, AKillIsADeathAlsoDuringItsEnd) {
  EXPECT_TRUE(aut.end());
  EXPECT_TRUE(aut.kill({errc::hard_limit, "too large"}));
  EXPECT_FALSE(aut.is_end_expected());
  EXPECT_FALSE(aut.kill({errc::timeout, "later"}));
  EXPECT_EQ(aut.killed()->code, errc::hard_limit);
  aut.blame({errc::bad_frame, "rubbish"});
  EXPECT_EQ(aut.killed()->code, errc::hard_limit) << "the first reason stands";
}

TEST_F(Worker, TheKernelIsAcquittedWhenTheWorkerEndedByItself) {
  serve();
  EXPECT_EQ(aut.close(), phase::serving);
  aut.blame_kernel({errc::worker_died, "oom_killed"});
  EXPECT_TRUE(aut.is_oom_killed());
  EXPECT_TRUE(aut.killed());
  aut.acquit_kernel();
  EXPECT_FALSE(aut.is_oom_killed());
  EXPECT_FALSE(aut.killed());
}

TEST_F(Worker, ItsGraceEndsOnce) {
  EXPECT_TRUE(aut.end_grace());
  EXPECT_FALSE(aut.end_grace());
  EXPECT_EQ(aut.look_at_remains(), 1u);
  EXPECT_EQ(aut.look_at_remains(), 2u);
}

TEST_F(Worker, ItsStandingIsWhatThePolicyDecidesOn) {
  serve();
  job(4 * mib);
  const auto x = aut.standing();
  EXPECT_EQ(x.baseline_bytes, 10 * mib);
  EXPECT_EQ(x.private_bytes, 14 * mib);
  EXPECT_EQ(x.live_grown_bytes, static_cast<int64_t>(4 * mib));
  EXPECT_EQ(x.chance, 0.5);
  EXPECT_FALSE(x.trimmed);
}

} // namespace ziyu::supervision
