// `ziyu submit`, `results`, `events` and `dlq` against a broker.

#include "support/mock_kafka.hpp"
#include "support/program.hpp"

#include "base/file.hpp"
#include "base/text.hpp"
#include "configs/schema.hpp"
#include "messaging/dead_letter.hpp"
#include "messaging/events/event.hpp"
#include "messaging/result.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <memory>
#include <set>
#include <sstream>

using namespace ziyu;
using namespace ziyu::test;
using nlohmann::json;

namespace {

messaging::record job_at(int32_t partition, int64_t offset) {
  messaging::record x;
  x.id = {"image.jobs", partition, offset};
  return x;
}

const std::string binary = test::program_dir() + "/ziyu";
const std::string digits = test::source_dir() + "/tests/data/digits";
const std::string one = digits + "/0_024.png", two = digits + "/0_032.png";

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in{text};
  std::vector<std::string> result;
  for (std::string line; std::getline(in, line);)
    result.push_back(line);
  return result;
}

/// A program's messages without those about waiting, which depend on the machine's load.
std::string without_notes(const std::string& text) {
  std::string result;
  for (const auto& line : lines_of(text))
    if (!line.starts_with("ziyu: waiting for "))
      result += line + "\n";
  return result;
}

class Kafka : public ::testing::Test {
protected:
  void SetUp() override {
    kafka.make_topic("image.jobs", 3);
    kafka.make_topic("image.results");
    kafka.make_topic("image.jobs-dlt");
    kafka.make_topic("ziyu.events");
  }

  std::vector<std::string> command(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), binary);
    arguments.insert(arguments.end(), {"--brokers", kafka.bootstrap()});
    return arguments;
  }

  struct ended {
    int exit_code;
    std::string out, err;
  };

  ended run(std::vector<std::string> arguments, const std::string& input = "") {
    program x{command(std::move(arguments)), program::output::pipes, {{"ZIYU_CONFIG", ""}}, input};
    const auto code = x.finish();
    return {code, x.out(), x.err()};
  }

  void produce_results(int n, int from = 0) {
    std::vector<messaging::outgoing> records;
    for (int i = from; i < from + n; ++i) {
      messaging::result x;
      x.job_id = "job-" + std::to_string(i);
      x.top_k = {{"七", 0.99, 7}};
      x.model = {"digits", "1", std::string(64, 'a'), "fp32"};
      messaging::outgoing record;
      record.topic = "image.results";
      record.key = x.job_id;
      record.value = to_json_text(x);
      records.push_back(record);
    }
    kafka.produce(records);
  }

  mock_kafka kafka;
};

} // namespace

// -- submit ---------------------------------------------------------------------------

TEST_F(Kafka, SubmitPrintsTheIdsOfAcknowledgedJobs) {
  const auto x = run({"submit", one, two});
  EXPECT_EQ(x.exit_code, 0) << x.err;
  auto ids = lines_of(x.out);
  ASSERT_EQ(ids.size(), 2u);
  EXPECT_NE(x.err.find("2 of 2 jobs acknowledged"), x.err.npos) << x.err;
  std::map<std::string, std::string> values;
  for (const auto& record : kafka.read("image.jobs", 2))
    values[record.key.value()] = *record.value;
  ASSERT_EQ(values.size(), 2u);
  for (const auto& id : ids)
    EXPECT_EQ(values.at(id), read_file(id.starts_with("0_024") ? one : two).value());
}

TEST_F(Kafka, SubmitTakesFoldersAndLists) {
  const auto x = run({"submit", "--id-prefix", "批-", "-"}, one + "\r\n" + two + "\n");
  EXPECT_EQ(x.exit_code, 0) << x.err;
  auto ids = lines_of(x.out);
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(ids, (std::vector<std::string>{"批-0_024.png", "批-0_032.png"}));
}

TEST_F(Kafka, SubmitRepeatsWithNewIdsAndCarriesHeaders) {
  const auto x = run({"submit", "--id-prefix", "a-", "--repeat", "3", "--header",
                      "traceparent=00-1-2-01", "--header", "empty=", one});
  EXPECT_EQ(x.exit_code, 0) << x.err;
  auto ids = lines_of(x.out);
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(ids, (std::vector<std::string>{"a-0_024.png", "a-0_024.png-2", "a-0_024.png-3"}));
  for (const auto& record : kafka.read("image.jobs", 3)) {
    EXPECT_EQ(messaging::find_header(record.headers, "traceparent"), "00-1-2-01");
    EXPECT_EQ(messaging::find_header(record.headers, "empty"), "");
  }
}

TEST_F(Kafka, SubmitWritesJobsAsTheSchemaHasThem) {
  const auto x = run({"submit", "--format", "json", "--json", "--id-prefix", "\xff零-", one});
  EXPECT_EQ(x.exit_code, 0) << x.err;
  const auto said = json::parse(x.out);
  EXPECT_EQ(said["job_id"], "\uFFFD零-0_024.png");
  EXPECT_EQ(said["topic"], "image.jobs");
  EXPECT_EQ(said["offset"], 0);
  const auto record = kafka.read("image.jobs", 1).at(0);
  EXPECT_EQ(record.id.partition, said["partition"]);
  EXPECT_EQ(messaging::find_header(record.headers, "content-type"), "application/json");
  const auto job = json::parse(*record.value);
  const auto schema = json::parse(
    read_file(test::source_dir() + "/configs/job.schema.json").value());
  for (const auto& violation : configs::validate(schema, job))
    ADD_FAILURE() << violation.message;
  EXPECT_EQ(job["job_id"], said["job_id"]);
  EXPECT_EQ(base64_decode(job["image"].get<std::string>()).value(), read_file(one).value());
}

TEST_F(Kafka, SubmitGoesOnWhenTheReaderOfTheIdsHasSeenEnough) {
  program x{command({"submit", "--id-prefix", "x", "--repeat", "40", one})};
  ASSERT_TRUE(x.wait_for("x0_024.png\n"));
  x.close_standard_output();
  EXPECT_EQ(x.finish(), 0) << x.err();
  EXPECT_NE(x.err().find("40 of 40 jobs acknowledged"), std::string::npos) << x.err();
  EXPECT_EQ(kafka.read("image.jobs", 40).size(), 40u);
}

TEST_F(Kafka, SubmitSaysWhatFailedAndSubmitsTheRest) {
  // A file that exists but that nobody can read as a file.
  const auto x = run({"submit", "--id-prefix", "x", "/proc/self/mem", one});
  EXPECT_EQ(x.exit_code, 1);
  EXPECT_EQ(x.out, "x0_024.png\n");
  EXPECT_NE(x.err.find("/proc/self/mem"), x.err.npos) << x.err;
  EXPECT_NE(x.err.find("1 of 2 jobs acknowledged"), x.err.npos) << x.err;
}

TEST_F(Kafka, SubmitWithAnEmptyPrefixTakesTheNamesAsIds) {
  const auto x = run({"submit", "--id-prefix", "", one});
  EXPECT_EQ(x.exit_code, 0) << x.err;
  EXPECT_EQ(x.out, "0_024.png\n");
}

TEST_F(Kafka, SubmitWaitsForTheAnswersToItsOwnRecords) {
  program x{command({"submit", "--id-prefix", "", "--wait", "--json", one, two}),
            program::output::pipes,
            {{"ZIYU_CONFIG", ""}}};
  std::vector<messaging::record> jobs;
  for (const auto& job : kafka.read("image.jobs", 2))
    jobs.push_back(job);
  ASSERT_EQ(jobs.size(), 2u) << x.err();
  produce_results(1); // Of somebody else.
  messaging::result good;
  good.job_id = jobs[0].key.value();
  good.top_k = {{"七", 0.99, 7}};
  good.model = {"digits", "1", std::string(64, 'a'), "fp32"};
  good.source = jobs[0].id;
  kafka.produce("image.results", good.job_id, to_json_text(good));
  messaging::outgoing dead;
  dead.topic = "image.jobs-dlt";
  dead.key = jobs[1].key;
  dead.value = *jobs[1].value;
  dead.headers = messaging::dead_letter_headers(
    jobs[1], {errc::undecodable_image, "no known format"}, 1, 1'000);
  kafka.produce({dead});
  EXPECT_EQ(x.finish(), 1) << x.err();
  std::map<std::string, json> answers;
  for (const auto& line : lines_of(x.out()))
    answers[json::parse(line).at("job_id").get<std::string>()] = json::parse(line);
  ASSERT_EQ(answers.size(), 2u) << x.out();
  EXPECT_EQ(answers.at(good.job_id).at("label").get<std::string>(), "七");
  EXPECT_EQ(answers.at(*dead.key).at("status").get<std::string>(), "dead_letter");
}

TEST_F(Kafka, SubmitThatIsInterruptedWhileItWaitsExitsWith130) {
  program x{command({"submit", "--wait", one}), program::output::pipes, {{"ZIYU_CONFIG", ""}}};
  ASSERT_TRUE(x.wait_for("1 of 1 jobs acknowledged")) << x.err();
  ASSERT_TRUE(x.wait_for("JOB "));
  x.signal(SIGINT);
  EXPECT_EQ(x.finish(), 130) << x.err();
}

TEST_F(Kafka, SubmitNamesTheMissingTopic) {
  const auto x = run({"submit", one, "--set", "topics.jobs=other.jobs"});
  EXPECT_EQ(x.exit_code, 4);
  EXPECT_NE(x.err.find("topic other.jobs does not exist"), x.err.npos) << x.err;
}

TEST_F(Kafka, SubmitShowsItsProgressOnATerminalOnly) {
  program on_terminal{command({"submit", "--id-prefix", "x", one}), program::output::terminal};
  EXPECT_EQ(on_terminal.finish(), 0) << on_terminal.out();
  EXPECT_NE(on_terminal.out().find("submitting █"), std::string::npos) << on_terminal.out();
  // The id has a line of its own: the bar was erased before.
  EXPECT_TRUE(on_terminal.out().find("\x1b[Kx0_024.png\r\n") != std::string::npos
              || on_terminal.out().starts_with("x0_024.png\r\n"))
    << on_terminal.out();
  EXPECT_EQ(run({"submit", one}).err.find("submitting"), std::string::npos);
}

// -- results --------------------------------------------------------------------------

TEST_F(Kafka, ResultsFromTheBeginningEndAtTheirCount) {
  produce_results(3);
  const auto x = run({"results", "--from", "beginning", "--count", "2"});
  EXPECT_EQ(x.exit_code, 0) << x.err;
  const auto lines = lines_of(x.out);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_TRUE(lines[0].starts_with("JOB "));
  EXPECT_TRUE(lines[1].starts_with("job-0 "));
  EXPECT_TRUE(lines[2].starts_with("job-1 "));
  EXPECT_NE(lines[2].find("七"), std::string::npos);
}

TEST_F(Kafka, ResultsFromTheEndShowWhatComesFromNowOn) {
  produce_results(2);
  program x{command({"results", "--count", "1"})};
  ASSERT_TRUE(x.wait_for("JOB ")) << x.err();
  produce_results(1, 7);
  EXPECT_EQ(x.finish(), 0);
  EXPECT_EQ(x.out().find("job-0"), std::string::npos);
  EXPECT_NE(x.out().find("job-7"), std::string::npos);
}

TEST_F(Kafka, ResultsAreJsonLineByLine) {
  produce_results(2);
  kafka.produce("image.results", "k", "{\"pretty\":\n  \"零\"}");
  kafka.produce("image.results", "k", "rubbish \xff\n");
  produce_results(1, 9);
  const auto x = run({"results", "--from", "beginning", "--json", "--count", "4"});
  EXPECT_EQ(x.exit_code, 0);
  const auto lines = lines_of(x.out);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(json::parse(lines[0])["job_id"], "job-0");
  EXPECT_EQ(lines[2], R"({"pretty":"零"})");
  EXPECT_EQ(json::parse(lines[3])["job_id"], "job-9");
  EXPECT_EQ(without_notes(x.err), "ziyu: image.results-0-3 is not JSON: left out\n");
}

TEST_F(Kafka, ARecordThatNestsDeepEndsNoCommand) {
  const auto deep = std::string(200'000, '[') + std::string(200'000, ']');
  kafka.produce("image.results", "deep", deep);
  kafka.produce("ziyu.events", "deep", deep);
  kafka.produce("ziyu.events", "fine", "{}");
  produce_results(1);
  for (const auto* command : {"results", "events"}) {
    const auto x = run({command, "--from", "beginning", "--count", "1", "--json"});
    EXPECT_EQ(x.exit_code, 0) << command << ": " << x.err;
    EXPECT_EQ(lines_of(x.out).size(), 1u) << x.out.substr(0, 1000);
    EXPECT_NE(x.err.find("nests too deep"), x.err.npos) << x.err;
  }
  EXPECT_EQ(run({"results", "--from", "beginning", "--count", "1"}).exit_code, 0);
  EXPECT_EQ(run({"leaks"}).exit_code, 0);
}

TEST_F(Kafka, ResultsSayWhenFewerCameThanAskedFor) {
  produce_results(1);
  // Long enough to connect and to get the one, also on a busy machine; both wait at once.
  const auto ask = [&](const std::string& flag) {
    return std::make_unique<program>(
      command({"results", "--from", "beginning", "--count", "5", flag, "5"}),
      program::output::pipes, std::map<std::string, std::string>{{"ZIYU_CONFIG", ""}});
  };
  const auto by_timeout = ask("--timeout"), by_idle = ask("--idle");
  for (auto* x : {by_timeout.get(), by_idle.get()}) {
    EXPECT_EQ(x->finish(), 1);
    EXPECT_EQ(without_notes(x->err()), "ziyu: only 1 of 5 came\n");
  }
  EXPECT_EQ(run({"results", "--from", "beginning", "--idle", "0.5"}).exit_code, 0);
}

TEST_F(Kafka, ResultsOfOneJobAreFoundInThePastAndEnd) {
  produce_results(5);
  const auto x = run({"results", "--job", "job-3", "--json"});
  EXPECT_EQ(x.exit_code, 0) << x.err;
  const auto lines = lines_of(x.out);
  ASSERT_EQ(lines.size(), 1u) << x.out;
  EXPECT_EQ(json::parse(lines[0])["job_id"], "job-3");
  const auto y = run({"results", "--job", "job-9", "--timeout", "3"});
  EXPECT_EQ(y.exit_code, 1);
  EXPECT_NE(y.err.find("waiting for the result of job-9 (`ziyu dlq list`"), y.err.npos) << y.err;
}

TEST_F(Kafka, AnInterruptedCountExitsWith130) {
  program x{command({"results", "--count", "1"})};
  ASSERT_TRUE(x.wait_for("JOB ")) << x.err();
  x.signal(SIGINT);
  EXPECT_EQ(x.finish(), 130);
}

TEST_F(Kafka, TopicsListSaysWhichExist) {
  const auto x = run({"topics", "list"});
  EXPECT_EQ(x.exit_code, 0) << x.err;
  EXPECT_NE(x.out.find("3 partitions"), x.out.npos) << x.out;
  const auto y = run({"topics", "list", "--json", "--set", "topics.events=nobody.knows"});
  EXPECT_EQ(y.exit_code, 1);
  const auto last = json::parse(lines_of(y.out).back());
  EXPECT_EQ(last["topic"], "nobody.knows");
  EXPECT_FALSE(last["exists"].get<bool>());
}

TEST_F(Kafka, ResultsNameTheMissingTopic) {
  const auto x = run({"results", "--set", "topics.results=nobody.knows"});
  EXPECT_EQ(x.exit_code, 4);
  EXPECT_NE(x.err.find("nobody.knows"), x.err.npos);
}

TEST_F(Kafka, ResultsEndInGoodOrderOnCtrlC) {
  for (const auto number : {SIGINT, SIGTERM}) {
    program x{command({"results"})};
    ASSERT_TRUE(x.wait_for("JOB ")) << x.err();
    x.signal(number);
    EXPECT_EQ(x.finish(), 0);
    EXPECT_EQ(without_notes(x.err()), "");
  }
}

TEST_F(Kafka, ResultsEndWhenTheirReaderGoesAwayThoughNothingComes) {
  program x{command({"results"})};
  ASSERT_TRUE(x.wait_for("JOB ")) << x.err();
  x.close_standard_output();
  EXPECT_EQ(x.finish(), 0);
  EXPECT_EQ(without_notes(x.err()), "");
}

TEST_F(Kafka, ResultsEndWhenTheirReaderGoesAwayInTheMiddle) {
  produce_results(200);
  program x{command({"results", "--from", "beginning"})};
  ASSERT_TRUE(x.wait_for("job-0 "));
  x.close_standard_output();
  EXPECT_EQ(x.finish(), 0);
  EXPECT_EQ(without_notes(x.err()), "");
}

TEST_F(Kafka, ResultsAreColouredOnATerminal) {
  produce_results(1);
  program x{command({"results", "--from", "beginning", "--count", "1"}),
            program::output::terminal,
            {{"TERM", "xterm"}, {"NO_COLOR", ""}}};
  EXPECT_EQ(x.finish(), 0);
  EXPECT_NE(x.out().find("\x1b[36m七"), std::string::npos) << x.out();
}

// -- events and dead letters ----------------------------------------------------------

TEST_F(Kafka, EventsAreShown) {
  events::worker_replaced x;
  x.cause = "retained_tensors";
  kafka.produce("ziyu.events", "h-1", events::to_json({1'700'000'000'000, "h-1", x}).dump());
  const auto shown = run({"events", "--from", "beginning", "--count", "1"});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_NE(shown.out.find("worker_replaced"), shown.out.npos);
  EXPECT_NE(shown.out.find("cause=retained_tensors"), shown.out.npos);
  const auto raw = run({"events", "--from", "beginning", "--count", "1", "--json"});
  EXPECT_EQ(json::parse(raw.out)["type"], "worker_replaced");
}

TEST_F(Kafka, DeadLettersAreListedWithTheirReasonsAndTheListEnds) {
  messaging::outgoing x;
  x.topic = "image.jobs-dlt";
  x.key = "坏.png";
  x.value = "not an image";
  x.headers = messaging::dead_letter_headers(
    job_at(1, 5), {errc::undecodable_image, "no known format"}, 1, 1'000);
  messaging::outgoing tombstone;
  tombstone.topic = x.topic;
  tombstone.key = "b";
  kafka.produce({x, tombstone});
  const auto shown = run({"dlq", "list"});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  const auto lines = lines_of(shown.out);
  ASSERT_EQ(lines.size(), 3u);
  for (const auto* part : {"坏.png", "undecodable_image", "image.jobs-1-5", "no known format"})
    EXPECT_NE(lines[1].find(part), std::string::npos) << lines[1];
  const auto raw = run({"dlq", "list", "--json"});
  EXPECT_EQ(raw.exit_code, 0);
  const auto first = json::parse(lines_of(raw.out).at(0));
  EXPECT_EQ(first["job_id"], "坏.png");
  EXPECT_EQ(first["reason"]["code"], "undecodable_image");
  EXPECT_EQ(first["payload_bytes"], 12);
}

TEST_F(Kafka, DeadLettersAreCountedByReasonAndAnUnknownReasonIsWrongUsage) {
  std::vector<messaging::outgoing> letters;
  for (const auto code : {errc::undecodable_image, errc::max_attempts, errc::undecodable_image}) {
    messaging::outgoing x;
    x.topic = "image.jobs-dlt";
    x.value = "v";
    x.headers = messaging::dead_letter_headers(job_at(0, static_cast<int64_t>(letters.size())),
                                               {code, "why"}, 1, 1'000);
    letters.push_back(x);
  }
  kafka.produce(letters);
  const auto x = run({"dlq", "summary", "--json"});
  EXPECT_EQ(x.exit_code, 0) << x.err;
  std::map<std::string, size_t> counts;
  for (const auto& line : lines_of(x.out))
    counts[json::parse(line).at("code").get<std::string>()] = json::parse(line).at("count");
  EXPECT_EQ(counts, (std::map<std::string, size_t>{{"undecodable_image", 2}, {"max_attempts", 1}}));
  const auto y = run({"dlq", "list", "--code", "nonsense"});
  EXPECT_EQ(y.exit_code, 2);
  EXPECT_NE(y.err.find("nonsense"), y.err.npos) << y.err;
}

// -- check ----------------------------------------------------------------------------

TEST_F(Kafka, CheckFindsBrokerAndTopics) {
  const auto config = test::source_dir() + "/configs/ziyu.json";
  const std::vector<std::string> arguments{binary,  "check",
                                           config,  "--json",
                                           "--set", "kafka.bootstrap.servers=" + kafka.bootstrap(),
                                           "--set", "memory.container_limit_bytes=8GiB",
                                           "--set", "http.port=0"};
  program x{arguments};
  EXPECT_EQ(x.finish(), 0) << x.out();
  const auto report = json::parse(x.out());
  EXPECT_EQ(report["checks"].size(), 11u) << report.dump(2);
  auto other = arguments;
  other.insert(other.end(), {"--set", "topics.events=nobody.knows"});
  program y{other};
  EXPECT_EQ(y.finish(), 1);
  EXPECT_NE(y.out().find("topic nobody.knows"), std::string::npos);
}

TEST_F(Kafka, CheckAsksTheBrokerAsEachClientConnects) {
  program x{{binary, "check", test::source_dir() + "/configs/ziyu.json", "--json", "--set",
             "kafka.bootstrap.servers=" + kafka.bootstrap(), "--set",
             "memory.container_limit_bytes=8GiB", "--set", "http.port=0", "--set",
             "kafka.security.protocol=ssl", "--set", "kafka.consumer.security.protocol=plaintext",
             "--set", "kafka.producer.security.protocol=PLAINTEXT"}};
  EXPECT_EQ(x.finish(), 0) << x.out();
  EXPECT_NE(x.out().find("broker, consumer"), std::string::npos) << x.out();
  EXPECT_NE(x.out().find("broker, producer"), std::string::npos) << x.out();
}
