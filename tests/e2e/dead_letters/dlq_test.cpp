// `ziyu dlq` on a real broker: dead letters that the service wrote are listed, shown, replayed and
// dropped. An interrupted command can be repeated without double work.

#include "e2e/support/open_transaction.hpp"
#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"
#include "messaging/dead_letter.hpp"
#include "support/places.hpp"
#include "support/program.hpp"

#include <gmock/gmock.h>

#include <sstream>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;
using namespace std::chrono_literals;

namespace {

struct ended {
  int exit_code;
  std::string out, err;

  std::vector<json> lines() const {
    std::istringstream in{out};
    std::vector<json> result;
    for (std::string line; std::getline(in, line);)
      result.push_back(json::parse(line));
    return result;
  }
};

ended dlq(const stage& x, std::vector<std::string> arguments) {
  const auto file = x.folder() / "dlq.json";
  EXPECT_TRUE(write_file(file, x.configuration().dump()));
  arguments.insert(arguments.begin(), {test::program_dir() + "/ziyu", "dlq"});
  arguments.insert(arguments.end(), {"--config", file.string()});
  test::program p{std::move(arguments)};
  const auto code = p.finish();
  return {code, p.out(), p.err()};
}

/// Three bad jobs, one after the other, and the service that gave them up (stopped).
void make_dead_letters(stage& x, const json& patch = {}) {
  auto s = x.serve(patch);
  x.submit({job_record("bad-1", std::string{"no image \0\xff", 11}, {{"x-own", "1"}}),
            job_record("bad-2", "{\"image\": \"!\"}"), job_record({}, "neither")});
  ASSERT_TRUE(x.read_until([&] { return x.dead_letters().size() == 3; })) << x.account() << s.log();
  EXPECT_EQ(s.stop(), 0) << s.log();
}

void set_topic(const messaging::kafka_properties& client, const std::string& topic,
               const char* name, const char* value) {
  using namespace messaging;
  char text[512];
  auto conf = must(make_conf(client));
  const kafka_ptr admin{rd_kafka_new(RD_KAFKA_PRODUCER, conf.release(), text, sizeof text)};
  auto resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str());
  rd_kafka_ConfigResource_add_incremental_config(resource, name, RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET,
                                                 value);
  const queue_ptr answers{rd_kafka_queue_new(admin.get())};
  rd_kafka_IncrementalAlterConfigs(admin.get(), &resource, 1, nullptr, answers.get());
  const event_ptr event{rd_kafka_queue_poll(answers.get(), 30'000)};
  ASSERT_TRUE(event);
  EXPECT_EQ(rd_kafka_event_error(event.get()), RD_KAFKA_RESP_ERR_NO_ERROR);
  rd_kafka_ConfigResource_destroy(resource);
}

} // namespace

TEST(Dlq, ListsWithFiltersAndShowsOneWithItsPayload) {
  stage x{shared_broker()};
  make_dead_letters(x);
  auto all = dlq(x, {"list", "--json"});
  ASSERT_EQ(all.exit_code, 0) << all.err;
  ASSERT_EQ(all.lines().size(), 3u) << all.out;
  for (const auto& line : all.lines())
    EXPECT_EQ(line["state"], "open");
  const auto one = dlq(x, {"list", "--json", "--code", "bad_base64", "--since", "1h"}).lines();
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0]["job_id"], "bad-2");
  EXPECT_TRUE(dlq(x, {"list", "--json", "--until", "1h"}).lines().empty());
  EXPECT_EQ(dlq(x, {"list", "--json", "--job", "bad-1"}).lines().size(), 1u);
  const auto table = dlq(x, {"list"});
  EXPECT_THAT(table.out, testing::HasSubstr("undecodable_image"));
  const auto file = x.folder() / "payload";
  const auto shown = dlq(x, {"show", "bad-1", "--payload", file.string()});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_THAT(shown.out, testing::HasSubstr("x-own: 1"));
  EXPECT_EQ(read_file(file).value(), (std::string{"no image \0\xff", 11}));
  const auto record = one[0]["record"];
  const auto by_record = dlq(
    x, {"show", "--json", record["partition"].dump() + "-" + record["offset"].dump()});
  EXPECT_EQ(by_record.lines().at(0)["job_id"], "bad-2");
  EXPECT_EQ(dlq(x, {"show", "nobody"}).exit_code, 1);
}

TEST(Dlq, ReplaysOnceWithKeyPayloadAndHeadersAndKeepsTheHistory) {
  stage x{shared_broker()};
  make_dead_letters(x);
  // Nothing is done without a confirmation.
  EXPECT_EQ(dlq(x, {"replay", "--job", "bad-1"}).exit_code, 2);
  EXPECT_EQ(dlq(x, {"replay", "--yes"}).exit_code, 2) << "which ones?";
  const auto done = dlq(x, {"replay", "--job", "bad-1", "--yes", "--json"});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  ASSERT_EQ(done.lines().size(), 1u);
  EXPECT_EQ(done.lines()[0]["replays"], 1);
  EXPECT_THAT(done.err, testing::HasSubstr("1 of 1 dead letter replayed"));
  const auto again = dlq(x, {"replay", "--job", "bad-1", "--yes"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.err, testing::HasSubstr("nothing to do"));
  EXPECT_EQ(dlq(x, {"list", "--json"}).lines().size(), 2u);
  EXPECT_EQ(dlq(x, {"list", "--json", "--handled"}).lines().size(), 3u);
  // The service finds the same job, and gives it up the same way: one dead letter more.
  auto s = x.serve();
  const auto is_second = [](const messaging::record& r) {
    return header(r, "ziyu-replays") == "1";
  };
  ASSERT_TRUE(x.read_until(
    [&] { return std::any_of(x.dead_letters().begin(), x.dead_letters().end(), is_second); }))
    << x.account() << s.log();
  const auto& second = *std::find_if(x.dead_letters().begin(), x.dead_letters().end(), is_second);
  EXPECT_EQ(second.key, "bad-1");
  EXPECT_EQ(*second.value, (std::string{"no image \0\xff", 11}));
  EXPECT_EQ(header(second, "x-own"), "1");
  EXPECT_EQ(std::count_if(second.headers.begin(), second.headers.end(),
                          [](const auto& h) { return h.first == "__connect.errors.topic"; }),
            1);
  EXPECT_EQ(json::parse(header(second, "ziyu-history")).at(0)["code"], "undecodable_image");
  EXPECT_EQ(s.stop(), 0) << s.log();
  const auto open = dlq(x, {"list", "--json", "--job", "bad-1"}).lines();
  ASSERT_EQ(open.size(), 1u);
  EXPECT_EQ(open[0]["replays"], 1);
}

TEST(Dlq, DropsWhatItIsToldToAndOnlyThat) {
  stage x{shared_broker()};
  make_dead_letters(x);
  const auto done = dlq(x, {"drop", "--code", "bad_base64", "--yes"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  const auto left = dlq(x, {"list", "--json"}).lines();
  ASSERT_EQ(left.size(), 2u);
  for (const auto& line : left)
    EXPECT_EQ(line["reason"]["code"], "undecodable_image");
  const auto all = dlq(x, {"drop", "--all", "--yes"});
  EXPECT_EQ(all.exit_code, 0) << all.err;
  EXPECT_TRUE(dlq(x, {"list", "--json"}).lines().empty());
  for (const auto& line : dlq(x, {"list", "--json", "--handled"}).lines())
    EXPECT_EQ(line["state"], "dropped");
}

TEST(Dlq, LettersInSpringsStyleAreReadAndReplayedAsWell) {
  stage x{shared_broker()};
  make_dead_letters(x, {{"jobs", {{"dead_letter_headers", "kafka_dlt"}}}});
  for (const auto& d : x.dead_letters()) {
    EXPECT_EQ(header(d, "kafka_dlt-original-topic"), x.topic("jobs"));
    EXPECT_EQ(header(d, "__connect.errors.topic"), "(none)");
  }
  const auto listed = dlq(x, {"list", "--json", "--job", "bad-2"}).lines();
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0]["reason"]["code"], "bad_base64");
  EXPECT_EQ(listed[0]["source"]["topic"], x.topic("jobs"));
  const auto done = dlq(x, {"replay", "--all", "--yes"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_THAT(done.err, testing::HasSubstr("3 of 3 dead letters replayed"));
}

TEST(Dlq, ALetterThatItsTopicDoesNotTakeAnyMoreIsNamedAndTheOthersAreReplayed) {
  stage x{shared_broker()};
  // Six small letters, and two that fit the dead-letter topic, but not that of their job. All
  // are of one partition, in which a refused record leaves a gap in the sequence numbers.
  const std::string bulk(300'000, 'x');
  {
    auto s = x.serve();
    std::vector<messaging::outgoing> records{job_record("large-1", bulk),
                                             job_record("large-2", bulk)};
    for (auto i = 0; i < 6; ++i)
      records.push_back(job_record("bad-" + std::to_string(i), "no image"));
    for (auto& record : records)
      record.partition = 0;
    x.submit(std::move(records));
    ASSERT_TRUE(x.read_until([&] { return x.dead_letters().size() == 8; }))
      << x.account() << s.log();
    EXPECT_EQ(s.stop(), 0) << s.log();
  }
  set_topic(x.client(), x.topic("jobs"), "max.message.bytes", "50000");
  const auto replayed = dlq(x, {"replay", "--all", "--yes"});
  EXPECT_EQ(replayed.exit_code, 1) << replayed.err;
  EXPECT_THAT(replayed.err, testing::HasSubstr("6 of 8 dead letters replayed, 2 refused"));
  for (const auto* job : {"large-1", "large-2"})
    EXPECT_THAT(replayed.err,
                testing::HasSubstr("(job " + std::string{job}
                                   + ") was not replayed and stays a dead letter: topic "
                                   + x.topic("jobs") + " does not take it"));
  const auto left = dlq(x, {"list", "--json"}).lines();
  ASSERT_EQ(left.size(), 2u);
  for (const auto& line : left)
    EXPECT_THAT(line["job_id"].get<std::string>(), testing::StartsWith("large-"));
}

// A running service has an open transaction in the topic, and the marks of a replay are behind it.
// A reader that takes the transaction's beginning for the end would replay the same jobs again.
TEST(Dlq, AReplayWaitsForATransactionThatHidesTheMarksOfAnother) {
  stage x{shared_broker()};
  make_dead_letters(x);
  const auto& first = x.dead_letters().front();
  messaging::outgoing letter{x.topic("dead"), first.key, *first.value, first.headers, 0, {}};
  letter.partition = first.id.partition;
  open_transaction open{x.client(), x.topic("service"), {letter}};
  std::vector<messaging::outgoing> marks;
  for (const auto& d : x.dead_letters())
    marks.push_back(
      messaging::make_mark(d.id, messaging::dead_letter_action::replayed, d.timestamp_ms));
  open_transaction{x.client(), x.topic("other"), marks}.commit();
  const auto file = x.folder() / "dlq.json";
  ASSERT_TRUE(write_file(file, x.configuration().dump()));
  test::program p{
    {test::program_dir() + "/ziyu", "dlq", "replay", "--all", "--yes", "--config", file.string()}};
  EXPECT_TRUE(p.wait_for("waiting: a transaction is open in topic " + x.topic("dead"))) << p.err();
  open.abort();
  EXPECT_EQ(p.finish(), 0) << p.err();
  EXPECT_THAT(p.err(), testing::HasSubstr("nothing to do"));
}

// Jobs and marks are written in one transaction: after a kill at any moment and a second run, each
// job is in its topic once.
TEST(Dlq, AReplayThatIsKilledAndRepeatedReplaysNoJobTwice) {
  stage x{shared_broker()};
  constexpr size_t jobs = 900; // several transactions
  {
    auto s = x.serve();
    std::vector<messaging::outgoing> records;
    for (size_t i = 0; i < jobs; ++i)
      records.push_back(job_record("bad-" + std::to_string(i), "no image"));
    x.submit(std::move(records));
    ASSERT_TRUE(x.read_until([&] { return x.dead_letters().size() == jobs; }))
      << x.account() << s.log();
    EXPECT_EQ(s.stop(), 0) << s.log();
  }
  const auto file = x.folder() / "dlq.json";
  ASSERT_TRUE(write_file(file, x.configuration().dump()));
  {
    test::program p{{test::program_dir() + "/ziyu", "dlq", "replay", "--all", "--yes", "--json",
                     "--config", file.string()}};
    ASSERT_TRUE(p.wait_for("\"replayed\"")) << p.err(); // the first transaction is committed
    p.signal(SIGKILL);
    EXPECT_EQ(p.finish(), 128 + SIGKILL);
  }
  const auto rest = dlq(x, {"replay", "--all", "--yes"});
  EXPECT_EQ(rest.exit_code, 0) << rest.err;
  EXPECT_TRUE(dlq(x, {"list", "--json"}).lines().empty());
  std::map<std::string, size_t> replayed;
  auto reader = messaging::read_topic(x.client(), x.topic("jobs"),
                                      messaging::topic_reader::start::beginning, 30s);
  ASSERT_TRUE(reader);
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (!(*reader)->at_end() && std::chrono::steady_clock::now() < deadline) {
    auto next = (*reader)->next(200ms);
    ASSERT_TRUE(next);
    if (*next && messaging::find_header((*next)->headers, "ziyu-replays"))
      ++replayed[(*next)->key.value_or("")];
  }
  EXPECT_EQ(replayed.size(), jobs);
  for (const auto& [key, n] : replayed)
    EXPECT_EQ(n, 1u) << key;
}
