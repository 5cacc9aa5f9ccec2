// How the supervisor finds out why memory grows, and which reports it believes.

#include "tests/support/supervisor_stage.hpp"

namespace ziyu::actors {

namespace {

using namespace ziyu::test;

class Explaining : public supervisor_fixture {
protected:
  /// The report of a leak in one place.
  static supervision::leak_report report_of(supervision::leak_cause cause) {
    supervision::leak_site site;
    site.bytes = 60. * mib;
    site.share = 1;
    site.stack = {{"keep(unsigned long)", "libmodel.so", "model.cpp", 42}};
    site.relevant = {0, 1};
    site.cause = cause;
    supervision::leak_report x;
    x.cause = cause;
    x.growth_bytes = site.bytes;
    x.sites = {site};
    x.flame = "main;keep 62914560\n";
    return x;
  }

  /// Lets slot 0 leak so much per job until its worker has been replaced.
  void leak_until_replaced(uint64_t bytes) {
    auto& old = serving(0);
    old.leak = bytes;
    for (auto i = 0; i < 40 && old.alive; ++i)
      work(0, 1);
    ASSERT_FALSE(old.alive);
  }

  /// A dump of a worker that holds so much by one stack.
  static std::string heap_of(uint64_t address, uint64_t bytes) {
    char text[200];
    std::snprintf(text, sizeof text,
                  "heap_v2/512\n  t*: 1: %llu [0: 0]\n  t0: 1: %llu [0: 0]\n"
                  "@ 0x%llx 0x1000\n  t*: 1: %llu [0: 0]\n  t0: 1: %llu [0: 0]\n",
                  static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(bytes),
                  static_cast<unsigned long long>(address), static_cast<unsigned long long>(bytes),
                  static_cast<unsigned long long>(bytes));
    return text;
  }

  /// `report_of`, for a stack as in `heap_of`.
  static supervision::leak_report report_of(supervision::leak_cause cause, uint64_t address) {
    auto x = report_of(cause);
    x.stacks = {{supervision::fingerprint({address, 0x1000}), cause}};
    return x;
  }

  size_t asked(const fake_host::worker& x, wire::profile::action what) const {
    return static_cast<size_t>(
      std::count_if(x.received.begin(), x.received.end(), [what](const wire::frame& f) {
        auto ask = std::get_if<wire::profile>(&f);
        return ask != nullptr && ask->what == what;
      }));
  }
};

} // namespace

// -- sampling ---------------------------------------------------------------------------------

TEST_F(Explaining, SamplesNobodyWhoIsHealthy) {
  start();
  work(0, 50);
  EXPECT_EQ(asked(serving(0), wire::profile::start), 0u);
  EXPECT_TRUE(host->requests.empty());
}

TEST_F(Explaining, SamplesASuspectFromItsFirstGrowthAfterWarmUp) {
  start();
  work(0, 10);
  serving(0).leak = 1 * mib;
  work(0, 1);
  EXPECT_EQ(asked(serving(0), wire::profile::start), 1u);
  work(0, 2);
  EXPECT_EQ(asked(serving(0), wire::profile::start), 1u) << "once is enough";
}

TEST_F(Explaining, StopsSamplingWhenNothingGrowsAnyMore) {
  start();
  work(0, 10);
  serving(0).leak = 4096;
  work(0, 1);
  serving(0).leak = 0;
  work(0, 200);
  EXPECT_EQ(asked(serving(0), wire::profile::stop), 1u);
  EXPECT_TRUE(host->requests.empty());
}

TEST_F(Explaining, LeavesSamplingAloneWhenToldSo) {
  settings.explain = false;
  start();
  leak_until_replaced(6 * mib);
  EXPECT_TRUE(host->requests.empty());
  ASSERT_EQ(details("worker_replaced").size(), 1u);
  EXPECT_FALSE(details("worker_replaced")[0].contains("report"));
}

// -- a leak that is replaced soon --------------------------------------------------------------

TEST_F(Explaining, NamesTheCauseOfAReplacementByItsCallStacks) {
  start();
  leak_until_replaced(6 * mib);
  // Another worker serves already; only the event waits for the cause.
  EXPECT_EQ(serving(0).generation, 2u);
  EXPECT_TRUE(details("worker_replaced").empty());
  ASSERT_EQ(host->requests.size(), 1u);
  const auto& request = host->requests[0];
  EXPECT_EQ(request.after, "heap of worker 1");
  EXPECT_EQ(request.maps, "maps");
  EXPECT_GT(request.jobs, 0u);
  EXPECT_EQ(request.live_growth, static_cast<int64_t>(request.jobs * 6 * mib));
  host->reports.emplace(1, report_of(supervision::leak_cause::native_allocation));
  advance(100ms);
  const auto reports = details("leak_report");
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0]["cause"], "native_allocation");
  EXPECT_EQ(reports[0]["slot"], 0);
  EXPECT_EQ(reports[0]["generation"], 1);
  EXPECT_EQ(reports[0]["flame"], "main;keep 62914560\n");
  EXPECT_EQ(reports[0]["sites"][0]["responsible"]["line"], 42);
  EXPECT_NEAR(reports[0]["growth"]["bytes_per_job"].get<double>(), 6. * mib, 1);
  EXPECT_FALSE(reports[0]["reason"].get<std::string>().empty());
  const auto replaced = details("worker_replaced");
  ASSERT_EQ(replaced.size(), 1u);
  EXPECT_EQ(replaced[0]["cause"], "native_allocation");
  EXPECT_EQ(replaced[0]["report"], reports[0]["report"]);
  EXPECT_EQ(replaced[0]["sites"][0]["function"], "keep(unsigned long)");
  EXPECT_EQ(replaced[0]["sites"][0]["file"], "model.cpp");
}

TEST_F(Explaining, NamesLaterReplacementsByTheSameReport) {
  start();
  leak_until_replaced(6 * mib);
  host->reports.emplace(1, report_of(supervision::leak_cause::native_allocation));
  advance(100ms);
  leak_until_replaced(6 * mib);
  const auto replaced = details("worker_replaced");
  ASSERT_EQ(replaced.size(), 2u) << "it need not wait";
  EXPECT_EQ(replaced[1]["generation"], 2);
  EXPECT_EQ(replaced[1]["report"], replaced[0]["report"]);
  EXPECT_EQ(host->requests.size(), 1u);
}

TEST_F(Explaining, ExplainsAnotherLeakOfTheSameSlotAnew) {
  start();
  leak_until_replaced(2 * mib);
  host->reports.emplace(1, report_of(supervision::leak_cause::native_allocation));
  advance(100ms);
  advance(5s);
  leak_until_replaced(9 * mib);
  ASSERT_EQ(host->requests.size(), 2u) << "nine MiB a job are not the two that are known";
  host->reports.emplace(2, report_of(supervision::leak_cause::retained_images));
  advance(100ms);
  ASSERT_EQ(details("worker_replaced").size(), 2u);
  EXPECT_EQ(details("worker_replaced")[1]["cause"], "retained_images");
}

// A worker may say anything: it must not stop the dumps of all others for ever.
TEST_F(Explaining, PausesAfterADumpForABoundedTimeWhateverAWorkerSays) {
  host->dump_us = UINT64_MAX;
  start();
  leak_until_replaced(2 * mib);
  host->reports.emplace(1, report_of(supervision::leak_cause::native_allocation));
  advance(100ms);
  advance(60s);
  leak_until_replaced(9 * mib);
  EXPECT_EQ(host->requests.size(), 2u);
}

TEST_F(Explaining, RecognisesEachOfTwoLeaksThatTakeTurnsByItsStack) {
  using supervision::leak_cause;
  // Both leak as much per job: only their stacks differ.
  auto leak = [this](uint64_t address) {
    serving(0).heap = heap_of(address, 60 * mib);
    leak_until_replaced(6 * mib);
  };
  start();
  leak(0xaaaa);
  host->reports.emplace(1, report_of(leak_cause::native_allocation, 0xaaaa));
  advance(100ms);
  leak(0xbbbb);
  ASSERT_EQ(host->requests.size(), 2u) << "it is a stack that nobody has seen";
  host->reports.emplace(2, report_of(leak_cause::retained_images, 0xbbbb));
  advance(100ms);
  leak(0xaaaa);
  leak(0xbbbb);
  leak(0xaaaa);
  EXPECT_EQ(host->requests.size(), 2u) << "known by heart";
  const auto replaced = details("worker_replaced");
  ASSERT_EQ(replaced.size(), 5u);
  std::vector<std::string> causes;
  causes.reserve(replaced.size());
  for (const auto& x : replaced)
    causes.push_back(x["cause"]);
  EXPECT_EQ(causes,
            (std::vector<std::string>{"native_allocation", "retained_images", "native_allocation",
                                      "retained_images", "native_allocation"}));
  EXPECT_EQ(replaced[2]["report"], replaced[0]["report"]);
  EXPECT_EQ(replaced[3]["report"], replaced[1]["report"]);
}

TEST_F(Explaining, NamesALeakThatIsReplacedBeforeItIsBeyondDoubt) {
  start();
  auto& old = serving(0);
  old.heap = heap_of(0xaaaa, 60 * mib);
  work(0, 10);
  old.leak = 30 * mib; // three jobs fill the budget
  for (auto i = 0; i < 10 && old.alive; ++i)
    work(0, 1);
  ASSERT_FALSE(old.alive);
  ASSERT_EQ(host->requests.size(), 1u);
  host->reports.emplace(1, report_of(supervision::leak_cause::model_reloaded, 0xaaaa));
  advance(100ms);
  ASSERT_EQ(details("worker_replaced").size(), 1u);
  EXPECT_EQ(details("worker_replaced")[0]["cause"], "model_reloaded");
}

TEST_F(Explaining, ForgetsWhereCodeWasWithItsForkServer) {
  using supervision::leak_cause;
  start();
  serving(0).heap = heap_of(0xaaaa, 60 * mib);
  leak_until_replaced(6 * mib);
  host->reports.emplace(1, report_of(leak_cause::native_allocation, 0xaaaa));
  advance(100ms);
  host->server_dies();
  advance(5s);
  serving(0).heap = heap_of(0xaaaa, 60 * mib);
  leak_until_replaced(6 * mib);
  EXPECT_EQ(host->requests.size(), 2u) << "another function may be there now";
}

TEST_F(Explaining, ReportsAReplacementThoughNobodyExplainsIt) {
  start();
  leak_until_replaced(6 * mib);
  EXPECT_TRUE(details("worker_replaced").empty());
  advance(31s);
  EXPECT_EQ(host->given_up, std::vector<uint64_t>{1});
  const auto replaced = details("worker_replaced");
  ASSERT_EQ(replaced.size(), 1u);
  EXPECT_EQ(replaced[0]["cause"], "unknown");
  EXPECT_FALSE(replaced[0].contains("report"));
}

TEST_F(Explaining, ReportsAReplacementThoughItsHelperFails) {
  start();
  leak_until_replaced(6 * mib);
  host->reports.emplace(1, fail(errc::io, "a broken dump"));
  advance(100ms);
  ASSERT_EQ(details("worker_replaced").size(), 1u);
  EXPECT_TRUE(details("leak_report").empty());
}

TEST_F(Explaining, EndsAWorkerThatDoesNotDump) {
  host->answers_dumps = false;
  start();
  auto& old = serving(0);
  old.leak = 6 * mib;
  for (auto i = 0; i < 20; ++i)
    work(0, 1);
  EXPECT_EQ(serving(0).generation, 2u) << "its slot does not wait for the dump";
  EXPECT_TRUE(old.alive);
  advance(3s);
  EXPECT_FALSE(old.alive);
  EXPECT_EQ(details("worker_replaced").size(), 1u);
}

TEST_F(Explaining, KeepsTheNewWorkerWhenTheOldOneDiesBeforeItsDump) {
  host->answers_dumps = false;
  start();
  auto& old = serving(0);
  old.leak = 6 * mib;
  for (auto i = 0; i < 20; ++i)
    work(0, 1);
  const auto pid = serving(0).pid;
  EXPECT_NE(pid, old.pid);
  const auto alive = host->alive();
  host->die(old, SIGKILL);
  advance(3s);
  EXPECT_EQ(serving(0).pid, pid) << "nothing happened to it";
  EXPECT_EQ(host->alive(), alive - 1) << "nobody takes its place";
  EXPECT_EQ(details("worker_replaced").size(), 1u);
}

TEST_F(Explaining, DoesWithoutInAWorkerThatCannotBeSampled) {
  host->sampling_failure = "built without jemalloc";
  start();
  auto& old = serving(0);
  leak_until_replaced(6 * mib);
  EXPECT_EQ(asked(old, wire::profile::start), 1u) << "asked once, not with each job";
  EXPECT_EQ(details("worker_replaced").size(), 1u);
}

TEST_F(Explaining, DoesNotKeepAStopWaitingForLong) {
  start();
  leak_until_replaced(6 * mib);
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{2'000});
  advance(1s);
  EXPECT_FALSE(*drained) << "an explanation is under way";
  advance(2s);
  ASSERT_TRUE(*drained);
  EXPECT_EQ(details("worker_replaced").size(), 1u);
  EXPECT_EQ(host->given_up.size(), 1u);
}

// -- a leak that takes its time ------------------------------------------------------------------

TEST_F(Explaining, ExplainsASlowLeakWhileItsWorkerServes) {
  settings.judge.model_cache_bytes = 0; // a cache that fills is not reported
  start();
  serving(0).leak = 1024;
  work(0, 100);
  EXPECT_EQ(serving(0).generation, 1u);
  ASSERT_EQ(host->requests.size(), 1u);
  host->reports.emplace(1, report_of(supervision::leak_cause::retained_tensors));
  advance(100ms);
  ASSERT_EQ(details("leak_report").size(), 1u);
  work(0, 100);
  EXPECT_EQ(asked(serving(0), wire::profile::stop), 0u) << "a worker's leak may change";
  work(0, 2'000);
  EXPECT_EQ(asked(serving(0), wire::profile::stop), 1u) << "sampling costs";
  EXPECT_EQ(host->requests.size(), 1u);
}

// -- whom to believe ------------------------------------------------------------------------------

TEST_F(Explaining, KillsAWorkerThatHidesItsGrowth) {
  start();
  auto& liar = serving(0);
  work(0, 1);
  liar.private_bytes += 80 * mib;
  liar.hidden = 80 * mib;
  settings.healing.enabled = false;
  for (auto i = 0; i < 5 && liar.alive; ++i) {
    work(0, 1);
    advance(1s);
  }
  EXPECT_FALSE(liar.alive);
  EXPECT_EQ(serving(0).generation, 2u);
}

TEST_F(Explaining, BelievesAWorkerWhoseMemoryOnlyMovedDuringAJob) {
  start();
  auto& honest = serving(0);
  work(0, 1);
  honest.private_bytes += 30 * mib; // a job in progress
  advance(5s);
  EXPECT_TRUE(honest.alive);
  EXPECT_TRUE(details("worker_killed").empty());
}

TEST_F(Explaining, TellsThatTheControlProcessItselfGrows) {
  start();
  for (auto i = 0; i < 200; ++i) {
    work(0, 1);
    host->own_bytes += 1 * mib;
    advance(1s);
  }
  ASSERT_FALSE(details("self_growth").empty());
  EXPECT_EQ(details("self_growth")[0]["process"], "control");
  const auto processes = workers_json(status())["processes"];
  ASSERT_EQ(processes.size(), 2u);
  EXPECT_EQ(processes[0]["private_bytes"], host->own_bytes);
}

TEST_F(Explaining, ReplacesAForkServerThatGrows) {
  start();
  for (auto i = 0; i < 200 && host->servers_started == 1; ++i) {
    work(0, 1);
    host->server_bytes += 1 * mib;
    advance(1s);
  }
  EXPECT_EQ(host->servers_started, 2u);
  ASSERT_FALSE(details("self_growth").empty());
  EXPECT_EQ(details("self_growth")[0]["process"], "fork_server");
  EXPECT_EQ(serving(0).generation, 1u) << "workers live on";
}

TEST_F(Explaining, DoesNotMindProcessesOfItsOwnThatAreFlat) {
  start();
  for (auto i = 0; i < 200; ++i) {
    work(0, 1);
    advance(1s);
  }
  EXPECT_TRUE(details("self_growth").empty());
  EXPECT_EQ(host->servers_started, 1u);
}

} // namespace ziyu::actors
