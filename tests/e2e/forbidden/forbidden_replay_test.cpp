// `ziyu dlq` where an ACL forbids something, on a real broker with Kafka's own authorizer. The
// dead letters are written by the tests: they come from four topics.

#include "e2e/support/acls.hpp"
#include "e2e/support/stage.hpp"
#include "messaging/dead_letter.hpp"
#include "messaging/topic_access.hpp"
#include "messaging/transactional_writer.hpp"
#include "support/places.hpp"
#include "support/program.hpp"

#include <gmock/gmock.h>

using namespace ziyu;
using namespace ziyu::e2e;
using namespace std::chrono_literals;
using messaging::topic_access;
using testing::HasSubstr;

namespace {

constexpr auto nobody = "User:nobody";
constexpr auto we = "User:ANONYMOUS";

class ForbiddenReplay : public testing::Test {
protected:
  static constexpr int letters_of_each = 3;

  ForbiddenReplay()
    : broker_(authorizing_broker(folder_.path())), x_(broker_.bootstrap(), false),
      acls_(x_.client()) {
    x_.create_topics({"jobs", "results", "dead", "events"});
    must(messaging::create_topics(
      x_.client(), {{x_.topic("other"), 4, 1, {}}, {x_.topic("hidden"), 4, 1, {}}}, 30s));
    EXPECT_TRUE(write_file(file_, x_.configuration().dump()));
  }

  ~ForbiddenReplay() override { broker_.stop(); }

  /// Some of each topic, in turn.
  void write_letters(const std::vector<std::string>& topics) {
    std::vector<messaging::outgoing> records;
    for (auto i = 0; i < letters_of_each; ++i)
      for (const auto& topic : topics) {
        messaging::record job;
        job.id = {topic, 0, i};
        records.push_back(
          {x_.topic("dead"),
           topic + "-" + std::to_string(i),
           "a job",
           messaging::dead_letter_headers(job, {errc::inference_failed, "test"}, 1, 1000),
           0,
           {}});
      }
    auto writer = must(messaging::open_transactional_writer(x_.client(), x_.topic("test"), 30s));
    const auto ok = writer->write(records, 30s);
    ASSERT_TRUE(ok) << ok.error().reason.describe();
  }

  std::vector<std::string> dlq(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {test::program_dir() + "/ziyu", "dlq"});
    arguments.insert(arguments.end(), {"--config", file_.string()});
    return arguments;
  }

  outcome run(const std::vector<std::string>& arguments) const {
    return run_program(dlq(arguments));
  }

  topic_access access(const std::string& topic) const {
    return must(messaging::describe_topics(x_.client(), {topic}, 30s)).at(topic);
  }

  /// Returns when the broker does what it has answered.
  void forbid(const std::string& topic, bool may_be_read) {
    acls_.allow(topic, nobody, RD_KAFKA_ACL_OPERATION_WRITE);
    if (may_be_read)
      acls_.allow(topic, we, RD_KAFKA_ACL_OPERATION_READ);
    ASSERT_TRUE(eventually([&] {
      const auto now = access(topic);
      return may_be_read ? !now.trouble && !now.may_write : now.trouble.has_value();
    }));
  }

  void allow_all(const std::string& topic) {
    acls_.clear(topic);
    ASSERT_TRUE(eventually([&] { return !access(topic).unwritable(topic); }));
  }

  size_t open_letters() const {
    const auto listed = run({"list", "--json"});
    EXPECT_EQ(listed.exit_code, 0) << listed.err;
    return static_cast<size_t>(std::count(listed.out.begin(), listed.out.end(), '\n'));
  }

  void expect_refused(const std::string& said, const std::string& topic,
                      const std::string& why) const {
    for (auto i = 0; i < letters_of_each; ++i)
      EXPECT_THAT(said, HasSubstr("(job " + topic + "-" + std::to_string(i)
                                  + ") was not replayed and stays a dead letter: topic " + topic
                                  + " " + why));
  }

  temp_dir folder_{"ziyu-acl"};
  broker::embedded_broker broker_;
  stage x_;
  topic_acls acls_;
  const std::filesystem::path file_ = x_.folder() / "dlq.json";
};

} // namespace

TEST_F(ForbiddenReplay, LettersOfForbiddenTopicsAreNamedAndTheOthersAreReplayed) {
  const auto jobs = x_.topic("jobs"), seen = x_.topic("other"), hidden = x_.topic("hidden"),
             missing = x_.topic("missing");
  forbid(seen, true);
  forbid(hidden, false);
  write_letters({seen, jobs, hidden, missing});
  const auto replayed = run({"replay", "--all", "--yes"});
  EXPECT_EQ(replayed.exit_code, 1) << replayed.err;
  EXPECT_THAT(replayed.err, HasSubstr("3 of 12 dead letters replayed, 9 refused"));
  expect_refused(replayed.err, seen, "may not be written to; allow Write on it");
  expect_refused(replayed.err, hidden, "may not be described");
  expect_refused(replayed.err, missing, "does not exist; create it");
  EXPECT_EQ(open_letters(), 9u);
  EXPECT_TRUE(access(missing).trouble) << "it was made by asking for it";
  allow_all(seen);
  allow_all(hidden);
  const auto again = run({"replay", "--all", "--yes"});
  EXPECT_EQ(again.exit_code, 1) << again.err;
  EXPECT_THAT(again.err, HasSubstr("6 of 9 dead letters replayed, 3 refused"));
}

// The rights were asked for before the question is. The writer meets the refusal.
TEST_F(ForbiddenReplay, ATopicThatIsForbiddenInTheMiddleCostsOnlyItsOwnLetters) {
  const auto jobs = x_.topic("jobs"), other = x_.topic("other");
  write_letters({other, jobs});
  test::program p{dlq({"replay", "--all"}), test::program::output::terminal};
  ASSERT_TRUE(p.wait_for("[y/N]")) << p.out();
  forbid(other, true);
  p.type("y\n");
  EXPECT_EQ(p.finish(), 1) << p.out();
  EXPECT_THAT(p.out(), HasSubstr("3 of 6 dead letters replayed, 3 refused"));
  expect_refused(p.out(), other, "may not be written to");
  EXPECT_EQ(open_letters(), 3u);
}

TEST_F(ForbiddenReplay, AWriterThatWasRefusedATopicWritesToOthers) {
  const auto jobs = x_.topic("jobs"), other = x_.topic("other");
  auto writer = must(messaging::open_transactional_writer(x_.client(), x_.topic("id"), 30s));
  const messaging::outgoing bad{other, "a", "b", {}, 0, {}}, good{jobs, "c", "d", {}, 0, {}};
  ASSERT_TRUE(writer->write({bad, good}, 30s));
  forbid(other, true);
  const auto refused = writer->write({bad, good}, 30s);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().reason.message, HasSubstr("authorization failed"));
  if (!writer->is_open()) // as after the refusal of the first partition
    writer = must(messaging::open_transactional_writer(x_.client(), x_.topic("id"), 30s));
  const auto ok = writer->write({good}, 30s);
  ASSERT_TRUE(ok) << ok.error().reason.describe();
}

TEST_F(ForbiddenReplay, SaysWhatItMayNotDoAndNeedsNoGroup) {
  const auto dead = x_.topic("dead");
  write_letters({x_.topic("jobs")});
  const auto id = "ziyu-dlq-" + dead;
  acls_.allow(RD_KAFKA_RESOURCE_TRANSACTIONAL_ID, id, nobody, RD_KAFKA_ACL_OPERATION_WRITE);
  for (const auto* command : {"replay", "drop"}) {
    outcome said;
    ASSERT_TRUE(eventually([&] { // the broker may know the right a moment later
      said = run({command, "--all", "--yes", "--code", "bad_base64"});
      return said.exit_code == 1;
    }))
      << said.err;
    EXPECT_THAT(said.err, HasSubstr("transactions with the id " + id));
    EXPECT_THAT(said.err, HasSubstr("--transactional-id " + id));
  }
  acls_.clear(RD_KAFKA_RESOURCE_TRANSACTIONAL_ID, id);

  forbid(dead, true); // marks cannot be written
  for (const auto* command : {"replay", "drop"}) {
    outcome said;
    ASSERT_TRUE(eventually([&] {
      said = run({command, "--all", "--yes"});
      return said.err.find("transactional-id") == std::string::npos;
    }))
      << said.err;
    EXPECT_EQ(said.exit_code, 1) << said.err;
    EXPECT_THAT(said.err, HasSubstr("topic " + dead + " may not be written to; allow Write on it"));
  }
  allow_all(dead);

  acls_.allow(dead, we, RD_KAFKA_ACL_OPERATION_WRITE); // which allows to describe it, too
  ASSERT_TRUE(eventually([&] { return access(dead).unreadable(dead).has_value(); }));
  for (const auto* command : {"list", "summary", "replay"}) {
    auto arguments = std::vector<std::string>{command};
    if (command == std::string{"replay"})
      arguments.insert(arguments.end(), {"--all", "--yes"});
    const auto said = run(arguments);
    EXPECT_EQ(said.exit_code, 1) << said.err;
    EXPECT_THAT(said.err, HasSubstr("topic " + dead + " may not be read; allow Read on it"));
  }
  allow_all(dead);
  forbid(dead, false);
  const auto hidden = run({"list"});
  EXPECT_EQ(hidden.exit_code, 1) << hidden.err;
  EXPECT_THAT(hidden.err, HasSubstr("topic " + dead + " may not be described"));
  allow_all(dead);

  for (const auto* group : {"ziyu-reader", "ziyu"})
    acls_.allow(RD_KAFKA_RESOURCE_GROUP, group, nobody, RD_KAFKA_ACL_OPERATION_READ);
  const auto done = run({"replay", "--all", "--yes"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
}
