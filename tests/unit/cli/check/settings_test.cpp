// What `ziyu check` and `ziyu serve` accept: both read their settings by `load_settings`. That
// the programs agree is in tests/process/cli/settings_test.cpp.

#include "cli/check/checks.hpp"

#include "base/file.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::cli;

namespace {

struct settings_case {
  std::vector<std::string> overrides;
  std::string mistake; ///< In the message; empty: accepted.
};

std::ostream& operator<<(std::ostream& out, const settings_case& x) {
  for (const auto& o : x.overrides)
    out << o << ' ';
  return out;
}

class Settings : public testing::TestWithParam<settings_case> {};

const std::string budget = "memory.worker_budget_bytes=", limit = "memory.worker_hard_limit_bytes=",
                  pixels = "jobs.max_pixels=", off = "healing.enabled=false";

const settings_case cases[] = {
  // Budget, hard limit, pixels.
  {{}, ""},
  {{budget + "256MiB", limit + "640MiB", pixels + "100000000"}, ""},
  {{budget + "256MiB", limit + "512MiB"}, ""},
  {{budget + "256MiB", limit + "512MiB", pixels + "0"}, ""},
  {{budget + "256MiB", limit + "512MiB", pixels + "83886080"}, ""},
  {{budget + "256MiB", limit + "512MiB", pixels + "83886081"}, "jobs.max_pixels"},
  {{budget + "256MiB", limit + "512MiB", pixels + "100000000"}, "559MiB at least"},
  {{budget + "256MiB", limit + "559MiB", pixels + "100000000"}, ""},
  {{budget + "256MiB", limit + "558MiB", pixels + "100000000"}, "jobs.max_pixels"},
  {{budget + "42MiB", limit + "63MiB"}, ""},
  {{budget + "42MiB", limit + "63MiB", pixels + "6422528"}, ""},
  {{budget + "42MiB", limit + "63MiB", pixels + "24000000"}, "121MiB at least"},
  {{budget + "42MiB", limit + "121MiB", pixels + "24000000"}, ""},
  {{budget + "42MiB", limit + "63MiB", pixels + "24000000", off}, ""},
  {{budget + "2MiB"}, ""}, // only a worker can tell
  {{budget + "1MiB", limit + "2MiB"}, ""},
  {{budget + "1MiB", limit + "2MiB", pixels + "1000000"}, "jobs.max_pixels"},
  {{budget + "1000000"}, "memory.worker_budget_bytes"},
  {{budget + "0"}, "memory.worker_budget_bytes"},
  {{budget + "-1"}, "memory.worker_budget_bytes"},
  {{budget + "many"}, "memory.worker_budget_bytes"},
  {{limit + "256MiB"}, "greater than memory.worker_budget_bytes"},
  {{limit + "128MiB"}, "greater than memory.worker_budget_bytes"},
  {{budget + "640MiB"}, "greater than memory.worker_budget_bytes"},
  {{budget + "1GiB", limit + "2GiB"}, ""},
  {{budget + "20MiB", limit + "64MiB"}, ""},
  {{budget + "48MiB", limit + "96MiB", pixels + "4000000"}, ""},
  {{budget + "48MiB", limit + "96MiB", pixels + "40000000"}, "jobs.max_pixels"},
  {{pixels + "1"}, ""},
  {{pixels + "-1"}, "jobs.max_pixels"},
  {{pixels + "10000000000"}, "jobs.max_pixels"},
  {{pixels + "10000000001"}, "jobs.max_pixels"},
  {{limit + "100GiB", pixels + "10000000000"}, ""},
  {{"memory.container_limit_bytes=64MiB"}, ""}, // a warning
  {{"memory.probe_interval_ms=9"}, "memory.probe_interval_ms"},
  {{"memory.probe_interval_ms=10"}, ""},
  {{"jobs.max_bytes=1GiB"}, "jobs.max_in_flight_bytes"},
  {{"jobs.max_bytes=0"}, "jobs.max_bytes"},
  // What only the programs know.
  {{"workers.executable=/nonexistent/ziyu-worker"}, "workers.executable"},
  {{"workers.executable=/etc/passwd"}, "workers.executable"},
  {{"workers.executable=/tmp"}, "workers.executable"},
  {{"kafka.bootstrap.servers=a"}, ""},
  {{"kafka.bootstrap.servers=a:1, [::1]:9092,SASL_SSL://c:65535,[fe80::1]"}, ""},
  {{"kafka.bootstrap.servers=a:0"}, "a:0"},
  {{"kafka.bootstrap.servers=a:9092,b:65536"}, "b:65536"},
  {{"kafka.bootstrap.servers=a:port"}, "a:port"},
  {{"kafka.bootstrap.servers=a:"}, "is no address"},
  {{"kafka.bootstrap.servers=:9092"}, "is no address"},
  {{"kafka.bootstrap.servers=:::"}, "is no address"},
  {{"kafka.bootstrap.servers=a:1,,b:2"}, "is no address"},
  {{"kafka.bootstrap.servers=[::1"}, "is no address"},
  {{"kafka.bootstrap.servers=http://"}, "is no address"},
  {{"kafka.producer.bootstrap.servers=a:1"}, "kafka.producer.bootstrap.servers"},
  {{"kafka.consumer.metadata.broker.list=a:1"}, "kafka.consumer.metadata.broker.list"},
  {{"topics.jobs=."}, "topics.jobs"},
  {{"topics.dead_letters=.."}, "topics.dead_letters"},
  {{"topics.jobs=..."}, ""},
  {{"topics.jobs=a.b", "topics.results=a_b"}, "topics.results"},
  {{"topics.jobs=a.b", "topics.results=a-b"}, ""},
  {{"faults.allowed=true", R"(faults.slots={"0": "native_malloc:6MiB"})"}, ""},
  {{"faults.allowed=true", R"(faults.slots={"0": "nonsense"})"}, "faults.slots.0"},
  {{"faults.allowed=true", R"(faults.slots={"1": "slow:-1"})"}, "faults.slots.1"},
  {{"faults.allowed=true", R"(faults.slots={"2": "crash"})"}, "faults.slots.2"},
  {{R"(faults.slots={"0": "crash"})"}, "faults.allowed"},
  // The rest of the relations between keys.
  {{"breaker.close_below=0.95"}, "breaker.open_at"},
  {{"breaker.ease_at=0.9"}, "breaker.tighten_at"},
  {{"breaker.ease_at=0.8"}, ""},
  {{"restart.backoff_initial_ms=6000"}, "restart.backoff_max_ms"},
  {{"restart.backoff_initial_ms=5000"}, ""},
  {{"delivery.retry_backoff_ms=6000"}, "delivery.retry_backoff_max_ms"},
  {{"judge.min_jobs=65"}, "judge.window_jobs"},
  {{"topics.results=image.jobs"}, "topics.results"},
  {{"topics.events=image.results"}, "topics.events"},
  {{"workers.slots=0"}, "workers.slots"},
  {{"workers.slots=256"}, ""},
  {{"workers.standbys=0"}, "workers.standbys"},
  {{"workers.slts=1"}, "workers.slots"},
  {{"healing.replace_at=0"}, "healing.replace_at"},
  {{"healing.replace_at=1"}, ""},
  {{"healing.jitter=0.95"}, "healing.jitter"},
  {{"log.level=loud"}, "log.level"},
  {{"log.format=xml"}, "log.format"},
  {{"http.port=0"}, ""},
  {{"http.port=65536"}, "http.port"},
  {{"http.port=many"}, "http.port"},
  {{"delivery.guarantee=maybe"}, "delivery.guarantee"},
  {{"delivery.guarantee=exactly_once"}, ""},
};

} // namespace

TEST_P(Settings, AreAcceptedOrRefusedBeforeAnythingRuns) {
  temp_dir folder;
  const auto worker = folder.path() / "ziyu-worker";
  ASSERT_TRUE(write_file(worker, "#!/bin/sh\n"));
  std::filesystem::permissions(worker, std::filesystem::perms::owner_all);
  auto overrides = GetParam().overrides;
  overrides.insert(overrides.begin(), "workers.executable=" + worker.string());
  const auto loaded = load_settings({test::source_dir() + "/configs/ziyu.json", overrides});
  if (GetParam().mistake.empty()) {
    EXPECT_TRUE(loaded) << loaded.error().front().message;
    return;
  }
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().front().message.find(GetParam().mistake), std::string::npos)
    << loaded.error().front().message;
}

INSTANTIATE_TEST_SUITE_P(All, Settings, testing::ValuesIn(cases));
