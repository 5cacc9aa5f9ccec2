// `delivery.guarantee` exactly_once, as a reader with isolation.level=read_committed sees it: each
// job has one answer, whichever process dies.

#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"

#include <gmock/gmock.h>

#include <csignal>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;
using namespace std::chrono_literals;

namespace {

/// @param id The same over all lives of an instance.
json exactly_once(const std::string& id, int slow_ms = 5) {
  const auto slow = "slow:" + std::to_string(slow_ms);
  return {{"delivery", {{"guarantee", "exactly_once"}, {"transactional_id", id}}},
          {"faults", {{"allowed", true}, {"slots", {{"0", slow}, {"1", slow}}}}}};
}

std::string unique(const std::string& name) { return name + "-" + std::to_string(::getpid()); }

} // namespace

TEST(ExactlyOnce, EachJobHasOneAnswerAndTheOffsetsAreCommittedWithIt) {
  stage x{shared_broker()};
  const auto patch = exactly_once(unique("one"));
  {
    auto s = x.serve(patch);
    x.submit_digits(200);
    x.submit({job_record("nothing", std::nullopt)}); // a dead letter
    x.expect("nothing");
    ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
    expect_all_accounted(x, s);
    EXPECT_EQ(s.stop(), 0) << s.log();
  }
  EXPECT_EQ(x.dead_letters().size(), 1u);
  EXPECT_EQ(x.duplicates(), 0u);
  EXPECT_EQ(x.accuracy(), 1.0);
  // The next instance has nothing left to do.
  auto s = x.serve(patch);
  x.submit_digits(20, "later");
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  EXPECT_EQ(s.get_json("/ledger").at("total").at("fetched"), 20);
  EXPECT_EQ(x.duplicates(), 0u);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(ExactlyOnce, NothingIsLostOrSeenTwiceWhenTheServiceIsKilledAgainAndAgain) {
  stage x{shared_broker()};
  const auto patch = exactly_once(unique("killed"), 2);
  x.submit_digits(600);
  for (auto life = size_t{1}; life <= 4; ++life) {
    auto s = x.serve(patch);
    // During a transaction: transactions of some milliseconds follow one another.
    ASSERT_TRUE(x.read_until([&] { return x.results().size() >= life * 100; }))
      << "life " << life << x.account() << s.log();
    s.signal(SIGKILL);
    ASSERT_EQ(s.wait(30s), 128 + SIGKILL);
  }
  auto s = x.serve(patch);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  EXPECT_TRUE(x.lost().empty());
  EXPECT_EQ(x.duplicates(), 0u);
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(ExactlyOnce, PartitionsGoFromOneInstanceToTheOtherWithoutARepetition) {
  for (const std::string assignor : {"range", "cooperative-sticky"}) {
    SCOPED_TRACE(assignor);
    stage x{shared_broker()};
    const auto serve = [&](const std::string& name) {
      auto patch = exactly_once(unique(name + "-" + assignor));
      patch["kafka"]["consumer"]["partition.assignment.strategy"] = assignor;
      return x.serve(patch);
    };
    auto first = serve("first");
    x.submit_digits(300, "a");
    ASSERT_TRUE(x.read_until([&] { return x.results().size() >= 50; }))
      << x.account() << first.log();
    auto second = serve("second"); // takes half of the partitions
    ASSERT_TRUE(x.read_all_answers()) << x.account() << first.log() << second.log();
    x.submit_digits(300, "b");
    ASSERT_TRUE(x.read_until([&] { return x.results().size() >= 350; }))
      << x.account() << first.log() << second.log();
    EXPECT_EQ(first.stop(), 0) << first.log();
    ASSERT_TRUE(x.read_all_answers()) << x.account() << second.log();
    EXPECT_EQ(x.duplicates(), 0u);
    expect_all_accounted(x, second);
    EXPECT_EQ(second.stop(), 0) << second.log();
  }
}

TEST(ExactlyOnce, AResultInOrderIsCommittedInOrder) {
  stage x{shared_broker(), true, 2};
  auto patch = exactly_once(unique("order"));
  patch["delivery"]["ordering"] = "partition";
  auto s = x.serve(patch);
  x.submit_digits(200);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  std::map<int32_t, int64_t> last;
  for (const auto& r : x.results()) {
    const auto& source = r.document.at("source");
    auto& before = last.try_emplace(source.at("partition").get<int32_t>(), -1).first->second;
    EXPECT_GT(source.at("offset").get<int64_t>(), before);
    before = source.at("offset").get<int64_t>();
  }
  EXPECT_EQ(s.stop(), 0) << s.log();
}
