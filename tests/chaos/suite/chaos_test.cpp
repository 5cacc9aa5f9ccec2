// The short form of bench/chaos, and the tests of its judge.

#include "e2e/support/processes.hpp"
#include "e2e/support/service.hpp"
#include "e2e/support/stage.hpp"
#include "support/places.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <csignal>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;

namespace {

std::vector<std::string> python(const std::vector<std::string>& arguments) {
  std::vector<std::string> command{"/usr/bin/env", "PYTHONDONTWRITEBYTECODE=1",
                                   "PYTHONPATH=" + source_file("bench").string(),
                                   source_file(".deps/venv/bin/python").string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

std::vector<std::string> suite(const std::string& module, const std::vector<std::string>& options) {
  auto command = python({"-m", module, "--bin", test::program_dir()});
  command.insert(command.end(), options.begin(), options.end());
  return command;
}

std::vector<std::string> chaos(const std::vector<std::string>& options) {
  return suite("chaos_suite", options);
}

/// Runs the suite against the service and keeps its report. No promise may be missed.
void run_without_loss(const std::vector<std::string>& options, json& report) {
  const auto ran = run_program(chaos(options), std::chrono::seconds{350});
  ASSERT_FALSE(ran.timed_out) << ran.err;
  ASSERT_THAT(ran.exit_code, testing::AnyOf(0, 2)) << ran.err;
  report = json::parse(ran.out);
  EXPECT_EQ(report.at("missed"), json::array()) << report.dump(1) << ran.err;
  EXPECT_EQ(report.at("lost"), 0);
  EXPECT_EQ(ran.exit_code, 0);
}

/// Of a Python test of the suite.
void expect_success(const char* file) {
  const auto ran = run_program(python({source_file(file).string()}));
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
}

} // namespace

TEST(ChaosJudge, CatchesBrokenHistories) { expect_success("tests/chaos/suite/checker_test.py"); }

TEST(ChaosPlan, FollowsItsSeedAndKeepsItsRules) {
  expect_success("tests/chaos/suite/schedule_test.py");
}

TEST(ChaosCommand, EndsAtASignalWhateverItIsAt) {
  expect_success("tests/chaos/suite/command_test.py");
}

TEST(ChaosReader, ReadsATopicThatABrokerLearnsOfLate) {
  expect_success("tests/chaos/suite/reader_test.py");
}

TEST(BenchScale, ReadsWhatAGroupKeepsAtItsBroker) {
  expect_success("tests/chaos/suite/offsets_topic_test.py");
}

// The whole suite must find losses, too: here a consumer that loses jobs replaces the service.
TEST(ChaosControl, CommitOnFetchIsCaught) {
  outcome ran;
  json report;
  // On a busy machine it may join so late that little time is left to kill it.
  for (const auto* minutes : {"0.2", "0.75", "0.75"}) {
    ran = run_program(chaos({"--subject", "commit_on_fetch", "--only", "service_kill", "--seed",
                             "1", "--minutes", minutes, "--drain-s", "8"}),
                      std::chrono::seconds{240});
    ASSERT_THAT(ran.exit_code, testing::AnyOf(0, 2)) << ran.err;
    report = json::parse(ran.out);
    if (report.contains("logs"))
      std::filesystem::remove_all(report["logs"].get<std::string>());
    if (report.at("lost") > 0)
      break;
  }
  EXPECT_EQ(ran.exit_code, 2) << ran.err;
  EXPECT_GT(report.at("lost"), 0) << report.dump(1) << ran.err;
  EXPECT_GT(report.at("results"), 0) << "it works but for what it loses";
  EXPECT_THAT(report.at("missed").dump(), testing::HasSubstr("lost: ")) << report.dump(1);
}

TEST(Chaos, LosesNothingAndNeverStallsForLong) {
  json report;
  run_without_loss({"--seed", "1", "--minutes", "0.75", "--stall-limit-s", "30"}, report);
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_GT(report.at("submitted"), 1000);
  EXPECT_EQ(report.at("unacknowledged"), 0);
}

TEST(Chaos, AMissingTopicOfDeadLettersHoldsNothingElseUp) {
  json report;
  run_without_loss({"--seed", "2", "--minutes", "0.5", "--stall-limit-s", "30", "--delivery",
                    "exactly_once", "--missing-dead-letters"},
                   report);
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_EQ(report.at("duplicates"), 0);
  EXPECT_GT(report.at("set_aside"), 0);
  EXPECT_GT(report.at("dead_lettered"), 0) << "they come when their topic is there";
}

TEST(Chaos, AnInterruptLeavesNothing) {
  const auto log = std::filesystem::temp_directory_path()
                   / ("ziyu-chaos-interrupt-" + std::to_string(::getpid()));
  const auto events = log / "chaos.log";
  auto running = must(broker::guarded_process::start(
    chaos({"--seed", "2", "--minutes", "2", "--keep", log.string()}), "/dev/null"));
  const auto seen = [&](const std::string& text) {
    return read_file(events).value_or("").find(text) != std::string::npos;
  };
  EXPECT_TRUE(eventually([&] { return seen("services are ready"); }, std::chrono::seconds{180}))
    << read_file(events).value_or("no log");
  ::kill(running.pid(), SIGTERM);
  EXPECT_TRUE(running.wait(std::chrono::seconds{30}).has_value());
  std::filesystem::remove_all(log);
  // After each test it is checked that no process is left.
}

TEST(DeliveryCost, IsMeasuredOnJobsThatAreAllAnsweredOnce) {
  const auto ran = run_program(
    suite("chaos_suite.delivery_cost", {"--jobs", "200", "--singles", "5", "--rounds", "1"}),
    std::chrono::seconds{200});
  ASSERT_EQ(ran.exit_code, 0) << ran.err; // 1 if one of the six jobs has not exactly one answer
  const auto report = json::parse(ran.out);
  ASSERT_EQ(report.at("rows").size(), 6u) << report.dump(1);
  EXPECT_EQ(report["rows"][0].at("throughput_ratio"), 1.0) << "of itself";
  for (const auto& row : report["rows"]) {
    EXPECT_GT(row.at("throughput_ratio"), 0) << row;
    EXPECT_LE(row.at("latency_p50_ms"), row.at("latency_p99_ms")) << row;
  }
}
