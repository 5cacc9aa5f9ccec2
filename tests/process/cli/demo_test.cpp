// `ziyu demo` ends by itself with everything accounted for, and leaves nothing behind however it
// ends.

#include "support/program.hpp"

#include "base/file.hpp"
#include "supervision/process.hpp"
#include "support/places.hpp"
#include "support/xml.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using namespace ziyu;
using namespace ziyu::test;
using nlohmann::json;

namespace {

class Demo : public ::testing::Test {
protected:
  // Processes that the demo leaves behind become our children.
  static void SetUpTestSuite() { supervision::become_subreaper(); }

  std::vector<std::string> command(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(),
                     {test::program_dir() + "/ziyu", "demo", "--chart", chart.string()});
    return arguments;
  }

  /// Waits until no process of the demo is left. Kafka gets 10 s to end in good order.
  static bool nothing_is_left() {
    const auto deadline = program::clock::now() + program::limit;
    while (program::clock::now() < deadline) {
      const auto pid = ::waitpid(-1, nullptr, WNOHANG);
      if (pid < 0 && errno == ECHILD)
        return true;
      if (pid == 0)
        ::poll(nullptr, 0, 10);
    }
    return false;
  }

  temp_dir dir{"ziyu-demo-test"};
  std::filesystem::path chart = dir.path() / "memory.svg";
};

class DemoInterrupted : public Demo,
                        public ::testing::WithParamInterface<std::pair<int, const char*>> {};

} // namespace

TEST_F(Demo, AccountsForEveryJobAndDrawsItsChart) {
  const auto report = dir.path() / "r.json";
  program x{command({"--jobs", "40", "--no-comparison", "--report", report.string()})};
  ASSERT_EQ(x.finish(), 0) << x.out() << x.err();
  const auto account = json::parse(read_file(report).value());
  EXPECT_EQ(account["submitted"], 40);
  EXPECT_EQ(account["results"], 40);
  EXPECT_EQ(account["lost"], 0);
  EXPECT_EQ(account["duplicates"], 0);
  EXPECT_GE(account["accuracy"], 0.9);
  EXPECT_GT(account["jobs_per_second"], 0);
  for (const auto* part : {"The ledger", "lost                         0", "memory chart"})
    EXPECT_NE(x.out().find(part), std::string::npos) << part << " in\n" << x.out();
  EXPECT_EQ((x.out() + x.err()).find("librdkafka"), std::string::npos) << x.err();
  EXPECT_EQ((x.out() + x.err()).find('\x1b'), std::string::npos);
  EXPECT_EQ(read_xml(read_file(chart).value()).front().name, "svg");
  EXPECT_TRUE(nothing_is_left());
}

TEST_P(DemoInterrupted, LeavesNeitherProcessNorFolderBehind) {
  const auto [number, moment] = GetParam();
  const auto temporary = dir.path() / "tmp";
  std::filesystem::create_directory(temporary);
  program x{command({"--jobs", "100000"}), program::output::pipes, {{"TMPDIR", temporary}}};
  ASSERT_TRUE(x.wait_for(moment)) << x.err();
  x.signal(number);
  EXPECT_EQ(x.finish(), number == SIGKILL ? 128 + SIGKILL : 130) << x.err();
  EXPECT_TRUE(nothing_is_left());
  EXPECT_TRUE(std::filesystem::is_empty(temporary));
}

TEST_F(Demo, LeavesNoProcessBehindWhenKafkaHasJustBegunToStart) {
  for (const auto number : {SIGINT, SIGKILL}) {
    const auto kept = dir.path() / std::to_string(number);
    program x{command({"--keep", kept.string()})};
    // The service of this log runs by now.
    const auto deadline = program::clock::now() + program::limit;
    while (!std::filesystem::exists(kept / "kafka/format.log") && program::clock::now() < deadline)
      ::poll(nullptr, 0, 1);
    x.signal(number);
    EXPECT_EQ(x.finish(), number == SIGKILL ? 128 + SIGKILL : 130) << x.err();
    EXPECT_TRUE(nothing_is_left());
    EXPECT_TRUE(std::filesystem::exists(kept / "kafka/format.log"));
  }
}

using BrokerCommand = Demo;

TEST_F(BrokerCommand, RunsAKafkaThatTakesTopicsAndEndsOnRequest) {
  const auto ziyu = test::program_dir() + "/ziyu";
  const auto folder = (dir.path() / "kafka").string();
  std::string bootstrap;
  {
    program broker{{ziyu, "broker", "--dir", folder}};
    ASSERT_TRUE(broker.wait_for("}\n")) << broker.err();
    const auto ready = json::parse(broker.out());
    bootstrap = ready["bootstrap"];
    EXPECT_EQ(ready["pid"], broker.pid());
    EXPECT_EQ(ready["dir"], folder);
    for (const auto* said :
         {"image.jobs: created with 3 partitions\n", "image.jobs: exists already\n"}) {
      program topics{{ziyu, "topics", "create", "-b", bootstrap, "--partitions", "3"}};
      EXPECT_EQ(topics.finish(), 0) << topics.err();
      EXPECT_NE(topics.out().find(said), std::string::npos) << topics.out();
    }
    program topics{{ziyu, "topics", "create", "-b", bootstrap, "--json"}};
    EXPECT_EQ(topics.finish(), 0);
    EXPECT_TRUE(topics.out().starts_with("{\"created\":false,\"topic\":\"image.jobs\"}\n"))
      << topics.out();

    program second{{ziyu, "broker", "--dir", folder}};
    EXPECT_EQ(second.finish(), 1);
    EXPECT_NE(second.err().find("runs there already"), std::string::npos) << second.err();

    broker.signal(SIGTERM);
    EXPECT_EQ(broker.finish(), 0) << broker.err();
  }
  EXPECT_TRUE(nothing_is_left());
  // The data of the broker is there again, at the same address.
  program broker{{ziyu, "broker", "--dir", folder}};
  ASSERT_TRUE(broker.wait_for("}\n")) << broker.err();
  EXPECT_EQ(json::parse(broker.out())["bootstrap"], bootstrap);
  program topics{{ziyu, "topics", "create", "-b", bootstrap}};
  EXPECT_EQ(topics.finish(), 0);
  EXPECT_NE(topics.out().find("image.jobs: exists already"), std::string::npos) << topics.out();
  broker.signal(SIGINT);
  EXPECT_EQ(broker.finish(), 0);
  EXPECT_TRUE(nothing_is_left());
}

INSTANTIATE_TEST_SUITE_P(AtAnyMoment, DemoInterrupted,
                         ::testing::Values(std::pair{SIGINT, "Starting a real Kafka"},
                                           std::pair{SIGTERM, "Starting the service"},
                                           std::pair{SIGINT, "The service is at"},
                                           std::pair{SIGINT, "answered"},
                                           std::pair{SIGKILL, "Starting a real Kafka"},
                                           std::pair{SIGKILL, "answered"}));
