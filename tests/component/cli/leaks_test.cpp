// `ziyu leaks` against a broker inside of the test.

#include "base/file.hpp"
#include "base/text.hpp"
#include "cli/command.hpp"
#include "support/command_line.hpp"
#include "support/leak_events.hpp"
#include "support/mock_cluster.hpp"
#include "support/mock_kafka.hpp"
#include "support/xml.hpp"

#include <filesystem>
#include <sstream>

using namespace ziyu;
using namespace ziyu::test;
using nlohmann::json;

namespace {

class Leaks : public ::testing::Test {
protected:
  Leaks() {
    kafka_.make_topic("ziyu.events", 2);
    auto path = testing::TempDir() + "ziyu-leaks-XXXXXX";
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    folder_ = path;
  }

  ~Leaks() override { std::filesystem::remove_all(folder_); }

  void produce(const std::vector<json>& events) {
    std::vector<messaging::outgoing> records;
    for (const auto& x : events) {
      messaging::outgoing record;
      record.topic = "ziyu.events";
      record.key = "host-" + std::to_string(records.size()); // spread over the partitions
      record.value = x.dump();
      records.push_back(record);
    }
    kafka_.produce(records);
  }

  void produce_two_leaks() {
    auto other = leak_report_event("1.7-77aa88bb", 1'700'000'100'000);
    other["detail"]["slot"] = 1;
    other["detail"]["generation"] = 7;
    produce({event_of("service_started", 1, {}), leak_report_event(), other,
             replaced_event("0.3-5f2a91c0", 151'000'000), replaced_event("", 9)});
    kafka_.produce("ziyu.events", "stranger", "rubbish");
  }

  outcome run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "leaks");
    arguments.insert(arguments.end(), {"--brokers", kafka_.bootstrap()});
    return run_ziyu(arguments);
  }

  std::string path(const std::string& name) const { return folder_ / name; }

  mock_kafka kafka_;
  std::filesystem::path folder_;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in{text};
  std::vector<std::string> result;
  for (std::string line; std::getline(in, line);)
    result.push_back(line);
  return result;
}

} // namespace

TEST_F(Leaks, AreListedByTimeWithWhatHealedThem) {
  produce_two_leaks();
  const auto x = run({});
  EXPECT_EQ(x.code, cli::exit_ok) << x.err;
  const auto lines = lines_of(x.out);
  ASSERT_EQ(lines.size(), 3u) << x.out;
  EXPECT_TRUE(lines[0].starts_with("REPORT "));
  EXPECT_TRUE(lines[1].starts_with("0.3-5f2a91c0 "));
  EXPECT_NE(lines[1].find(" 1 144.0 MiB"), std::string::npos) << lines[1];
  EXPECT_TRUE(lines[2].starts_with("1.7-77aa88bb "));
  EXPECT_NE(lines[2].find(" 0       0 B"), std::string::npos) << lines[2];
}

TEST_F(Leaks, AreAJsonObjectALineWithJson) {
  produce_two_leaks();
  const auto x = run({"--json"});
  EXPECT_EQ(x.code, cli::exit_ok);
  const auto lines = lines_of(x.out);
  ASSERT_EQ(lines.size(), 2u) << x.out;
  EXPECT_EQ(json::parse(lines[0])["bytes_recovered"], 151'000'000);
  EXPECT_EQ(json::parse(lines[1])["report"], "1.7-77aa88bb");
}

TEST_F(Leaks, OfATopicWithoutReportsAreNone) {
  produce({event_of("service_started", 1, {})});
  const auto x = run({});
  EXPECT_EQ(x.code, cli::exit_ok);
  EXPECT_EQ(x.out, "");
  EXPECT_EQ(x.err, "no leak was reported\n");
}

TEST_F(Leaks, ShowPrintsTheOneWhoseIdBeginsSo) {
  produce_two_leaks();
  const auto x = run({"show", "0.3"});
  EXPECT_EQ(x.code, cli::exit_ok) << x.err;
  for (const auto* part :
       {"leak 0.3-5f2a91c0  retained_tensors", "model/worker/faults.cpp:42", "144.0 MiB recovered"})
    EXPECT_NE(x.out.find(part), std::string::npos) << part << " in\n" << x.out;
  EXPECT_EQ(x.out.find("operator new"), std::string::npos);
  EXPECT_NE(run({"show", "0.3", "--full"}).out.find("operator new"), std::string::npos);
}

TEST_F(Leaks, ShowWritesJsonAndAChart) {
  produce_two_leaks();
  const auto x = run({"show", "0", "--json", "--svg", path("leak.svg")});
  EXPECT_EQ(x.code, cli::exit_ok) << x.err;
  const auto document = json::parse(x.out);
  EXPECT_EQ(document["report"], "0.3-5f2a91c0");
  EXPECT_EQ(document["replacements"].size(), 1u);
  EXPECT_EQ(read_xml(read_file(path("leak.svg")).value()).front().name, "svg");
  EXPECT_EQ(read_xml(run({"show", "0", "--svg", "-"}).out).front().name, "svg");
}

TEST_F(Leaks, FlameWritesFoldedStacksOrTheirPicture) {
  produce_two_leaks();
  const auto folded = leak_report_event()["detail"]["flame"].get<std::string>();
  EXPECT_EQ(run({"flame", "0.3"}).out, folded);
  const auto x = run({"flame", "0.3", path("leak.folded")});
  EXPECT_EQ(x.code, cli::exit_ok) << x.err;
  EXPECT_EQ(x.out, "");
  EXPECT_EQ(read_file(path("leak.folded")), folded);
  EXPECT_EQ(run({"flame", "0.3", path("leak.svg"), "--svg"}).code, cli::exit_ok);
  EXPECT_EQ(read_xml(read_file(path("leak.svg")).value()).front().name, "svg");
}

TEST_F(Leaks, FailWhereAFileCannotBeWritten) {
  produce_two_leaks();
  for (const auto& arguments : std::vector<std::vector<std::string>>{
         {"flame", "0.3", path("none/x")}, {"show", "0.3", "--svg", path("none/x")}}) {
    const auto x = run(arguments);
    EXPECT_EQ(x.code, cli::exit_failed);
    EXPECT_NE(x.err.find("none/x"), std::string::npos) << x.err;
  }
}

TEST_F(Leaks, WithoutCallStacksHaveNoFlameGraph) {
  auto event = leak_report_event();
  event["detail"].erase("flame");
  produce({event});
  const auto x = run({"flame", "0.3"});
  EXPECT_EQ(x.code, cli::exit_failed);
  EXPECT_NE(x.err.find("report 0.3-5f2a91c0 has no call stacks"), std::string::npos) << x.err;
}

TEST_F(Leaks, UnknownOnesAreAnErrorThatNamesTheKnown) {
  produce_two_leaks();
  for (const auto* command : {"show", "flame"}) {
    const auto x = run({command, "5.5"});
    EXPECT_EQ(x.code, cli::exit_failed);
    EXPECT_EQ(x.out, "");
    EXPECT_NE(x.err.find("no report 5.5; known are 0.3-5f2a91c0, 1.7-77aa88bb"), std::string::npos)
      << x.err;
  }
}

TEST_F(Leaks, NeedTheTopicOfEvents) {
  const auto x = run({"--set", "topics.events=elsewhere"});
  EXPECT_EQ(x.code, cli::exit_unavailable);
  EXPECT_NE(x.err.find("elsewhere does not exist"), std::string::npos) << x.err;
}

TEST(LeaksUsage, AnAbsentBrokerIsUnavailable) {
  closed_port nobody;
  EXPECT_EQ(run_ziyu({"leaks", "-b", nobody.bootstrap()}).code, cli::exit_unavailable);
}

TEST(LeaksUsage, WantsABrokerAndAnId) {
  EXPECT_EQ(run_ziyu({"leaks"}).code, cli::exit_wrong_usage);
  EXPECT_EQ(run_ziyu({"leaks", "show", "-b", "x:1"}).code, cli::exit_wrong_usage);
  const auto x = run_ziyu({"leaks", "shw"});
  EXPECT_EQ(x.code, cli::exit_wrong_usage);
  EXPECT_NE(x.err.find("did you mean show?"), std::string::npos) << x.err;
}
