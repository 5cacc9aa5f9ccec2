// `ziyu check` and `ziyu serve` agree, with the real programs. What is accepted is in
// tests/unit/cli/settings_test.cpp, and for Kafka in tests/support/kafka_rows.hpp.

#include "support/kafka_rows.hpp"
#include "support/places.hpp"
#include "support/program.hpp"
#include "support/silent_port.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <iterator>

using namespace ziyu::test;

namespace {

struct settings_case {
  std::vector<std::string> overrides;
  std::string mistake; ///< Reported by both; empty: accepted by both.
};

std::ostream& operator<<(std::ostream& out, const settings_case& x) {
  for (const auto& o : x.overrides)
    out << o << ' ';
  return out;
}

/// `command` of ziyu, with overrides that need neither a broker nor a fixed port.
std::vector<std::string> ziyu_with(std::vector<std::string> command,
                                   const std::vector<std::string>& overrides) {
  command.insert(command.begin(), program_dir() + "/ziyu");
  for (const auto* x :
       {"kafka.bootstrap.servers=127.0.0.1:1", "http.port=0", "memory.container_limit_bytes=8GiB"})
    command.insert(command.end(), {"--set", x});
  for (const auto& x : overrides)
    command.insert(command.end(), {"--set", x});
  return command;
}

/// Adds what ends a service that has no broker soon: it waits for one to send its last events.
void stop_soon(std::vector<std::string>& overrides) {
  overrides.emplace_back("shutdown.flush_ms=1");
}

class Settings : public testing::TestWithParam<settings_case> {
protected:
  static std::vector<std::string> with(std::vector<std::string> command) {
    auto overrides = GetParam().overrides;
    stop_soon(overrides);
    return ziyu_with(std::move(command), overrides);
  }
};

/// What `check --json` says of its first failure.
std::string first_failure(const std::string& report) {
  const auto document = nlohmann::json::parse(report, nullptr, false);
  if (!document.is_object())
    return "no JSON: " + report;
  for (const auto& x : document.at("checks"))
    if (x.at("verdict").get<std::string>() == "failed")
      return x.at("detail").get<std::string>();
  return "";
}

class KafkaProperties : public testing::TestWithParam<kafka_row> {};

std::vector<kafka_row> rows_for_programs() {
  const auto all = kafka_rows();
  std::vector<kafka_row> result;
  std::copy_if(all.begin(), all.end(), std::back_inserter(result),
               [](const auto& x) { return x.by_programs; });
  return result;
}

const std::string file = source_dir() + "/configs/ziyu.json";

} // namespace

TEST_P(Settings, AreAcceptedByCheckAndServeOrRefusedByBoth) {
  const auto& mistake = GetParam().mistake;
  program check{with({"check", file, "--offline"})};
  EXPECT_EQ(check.finish(), mistake.empty() ? 0 : 2) << check.out() << check.err();
  EXPECT_NE(check.out().find(mistake), std::string::npos) << check.out();

  program serve{with({"serve", "--config", file})};
  if (mistake.empty()) {
    // Everything is decided only when the first worker is ready.
    ASSERT_TRUE(serve.wait_for("worker ready")) << serve.out() << serve.err();
    serve.signal(SIGTERM);
    EXPECT_EQ(serve.finish(), 0) << serve.err();
  } else {
    EXPECT_EQ(serve.finish(), 2) << serve.out() << serve.err();
    EXPECT_NE(serve.err().find(mistake), std::string::npos) << serve.err();
  }
}

INSTANTIATE_TEST_SUITE_P(
  Some, Settings,
  testing::Values(
    settings_case{{}, ""},
    settings_case{{"memory.worker_budget_bytes=42MiB", "memory.worker_hard_limit_bytes=63MiB"}, ""},
    settings_case{{"memory.worker_budget_bytes=42MiB", "memory.worker_hard_limit_bytes=63MiB",
                   "jobs.max_pixels=24000000"},
                  "jobs.max_pixels"},
    settings_case{{"memory.worker_budget_bytes=1MiB"}, "a fresh worker already has"},
    settings_case{{"memory.worker_hard_limit_bytes=256MiB"}, "memory.worker_hard_limit_bytes"},
    settings_case{{"memory.worker_hard_limit_bytes=257MiB"}, "no job would have room"},
    settings_case{{"jobs.max_pixels=1"}, "no job would have room"},
    settings_case{{"kafka.bootstrap.servers=127.0.0.1:70000"}, "127.0.0.1:70000"},
    settings_case{{"kafka.producer.bootstrap.servers=127.0.0.1:2"}, "one cluster"},
    settings_case{{"topics.jobs=.."}, "topics.jobs"},
    settings_case{{"workers.executable=/tmp"}, "workers.executable"},
    settings_case{{"faults.allowed=true", R"(faults.slots={"0": "nonsense"})"}, "faults.slots.0"},
    settings_case{{"http.host=203.0.113.7"}, "cannot listen on http.host:port 203.0.113.7:0"},
    settings_case{{"http.host="}, "http.host"},
    settings_case{{"jobs.dataref_root=/nonexistent/images"},
                  "jobs.dataref_root: /nonexistent/images does not exist"},
    settings_case{{"jobs.dataref_root=/etc/passwd"},
                  "jobs.dataref_root: /etc/passwd is not a folder"},
    settings_case{{"workers.executable=/nonexistent/ziyu-worker"}, "workers.executable"},
    // A type, a range, a list of words, a pattern, a name that nothing has, and relations.
    settings_case{{"memory.worker_budget_bytes=lots"}, "is not an amount of bytes"},
    settings_case{{"workers.slots=2.5"}, "is not a whole number"},
    settings_case{{"judge.confidence=1"}, "is not less than 1"},
    settings_case{{"delivery.ordering=sorted"}, "delivery.ordering"},
    settings_case{{"topics.events=with space"}, "does not match"},
    settings_case{{"memory.worker_budget=256MiB"}, "memory.worker_budget"},
    settings_case{{"topics.events=image.jobs"}, "is the name of another topic already"},
    settings_case{{"faults.slots.0=crash"}, "only when faults.allowed is true"},
    settings_case{{"breaker.close_below=0.95"}, "must be greater than breaker.close_below"},
    settings_case{{"jobs.max_in_flight_bytes=1MiB"}, "must be at least jobs.max_bytes"},
    settings_case{{"delivery.guarantee=exactly_once", "shutdown.drain_ms=60000"},
                  "shutdown.drain_ms=60000 is refused"},
    settings_case{{"delivery.guarantee=exactly_once", "delivery.transactional_id=ziyu-1"}, ""},
    settings_case{{"workers.slots=1", "jobs.max_in_flight=1", "breaker.mode=disable"}, ""}));

TEST_P(KafkaProperties, AreRefusedByCheckAndServeWithTheSameWords) {
  const auto& x = GetParam();
  auto overrides = x.properties;
  if (x.with == kafka_row::guarantee::exactly_once)
    overrides.emplace_back("delivery.guarantee=exactly_once");
  if (x.mistake.empty())
    stop_soon(overrides);
  program check{ziyu_with({"check", file, "--json", "--timeout", "0.1"}, overrides)};
  program serve{ziyu_with({"serve", "--config", file}, overrides)};
  const auto code = check.finish();
  const auto said = first_failure(check.out());
  if (x.mistake.empty()) {
    EXPECT_EQ(code, 4) << "there is no broker: " << check.out() << check.err();
    EXPECT_TRUE(serve.wait_for("\"serving\":true")) << serve.err();
    serve.signal(SIGTERM);
    EXPECT_EQ(serve.finish(), 0) << serve.err();
    return;
  }
  EXPECT_EQ(code, 2) << check.out() << check.err();
  EXPECT_NE(said.find(x.mistake), std::string::npos) << check.out();
  EXPECT_EQ(check.out().find("no Kafka broker answers"), std::string::npos) << check.out();
  EXPECT_EQ(serve.finish(), 2) << serve.out() << serve.err();
  EXPECT_NE(serve.err().find(said), std::string::npos) << said << "\n" << serve.err();
}

INSTANTIATE_TEST_SUITE_P(Rows, KafkaProperties, testing::ValuesIn(rows_for_programs()));

TEST(HttpAddress, OfAnotherProgramIsAFailureOfCheckAndServeThatMayPass) {
  const silent_port taken{true};
  const std::vector<std::string> overrides{"http.port=" + taken.number()};
  program check{ziyu_with({"check", file, "--json", "--offline"}, overrides)};
  EXPECT_EQ(check.finish(), 1) << check.out();
  const auto said = first_failure(check.out());
  EXPECT_NE(said.find("cannot listen on http.host:port 127.0.0.1:" + taken.number()),
            std::string::npos)
    << check.out();
  program serve{ziyu_with({"serve", "--config", file}, overrides)};
  EXPECT_EQ(serve.finish(), 1) << serve.err();
  EXPECT_NE(serve.err().find(said), std::string::npos) << serve.err();
}

TEST(HttpAddress, OfARunningServiceIsOnlyAWarningOfItsCheck) {
  program serve{ziyu_with({"serve", "--config", file}, {"shutdown.flush_ms=1"})};
  ASSERT_TRUE(serve.wait_for("\"pid\":")) << serve.err();
  const auto about = nlohmann::json::parse(serve.out(), nullptr, false);
  ASSERT_TRUE(about.is_object()) << serve.out();
  const auto address = about.at("http").get<std::string>();
  program check{ziyu_with({"check", file, "--offline"},
                          {"http.port=" + address.substr(address.rfind(':') + 1)})};
  EXPECT_EQ(check.finish(), 0) << check.out() << check.err();
  EXPECT_NE(check.out().find("in use by a running service of ziyu"), std::string::npos)
    << check.out();
  serve.signal(SIGTERM);
  EXPECT_EQ(serve.finish(), 0) << serve.err();
}
