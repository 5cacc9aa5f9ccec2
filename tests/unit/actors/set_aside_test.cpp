#include "actors/set_aside.hpp"

#include <gtest/gtest.h>

namespace ziyu::actors {

namespace {

using namespace std::chrono_literals;

class SetAside : public testing::Test {
protected:
  static publication letter(int64_t offset, const std::string& topic = "dead",
                            publication_kind kind = publication_kind::dead_letter) {
    auto content = std::make_shared<messaging::outgoing>();
    content->topic = topic;
    return {kind, content, {"image.jobs", 0, offset}, 1};
  }
  static publication result(int64_t offset) {
    return letter(offset, "results", publication_kind::result);
  }
  bool refuse(publication x, bool whole_topic = true) {
    return aut.refuse(std::move(x), why, whole_topic, now, 0);
  }
  std::vector<int64_t> due() {
    std::vector<int64_t> xs;
    for (const auto& x : aut.due(now))
      xs.push_back(x.source.offset);
    return xs;
  }
  using offsets = std::vector<int64_t>;

  const error why{errc::kafka, "Broker: Unknown topic or partition"};
  set_aside::clock::time_point now{1h};
  set_aside aut;
};

} // namespace

TEST_F(SetAside, KnowsNothingAgainstATopicThatNeverRefused) {
  EXPECT_TRUE(aut.empty());
  EXPECT_EQ(aut.trouble_of("dead"), nullptr);
  EXPECT_FALSE(aut.accept(letter(0)));
}

TEST_F(SetAside, IsNewsOnlyOnceForATopic) {
  EXPECT_TRUE(refuse(letter(0)));
  EXPECT_FALSE(refuse(letter(1))) << "it was on its way when the first was refused";
  ASSERT_NE(aut.trouble_of("dead"), nullptr);
  EXPECT_EQ(aut.trouble_of("dead")->message, why.message);
  EXPECT_EQ(aut.trouble_of("results"), nullptr);
  aut.take(letter(2));
  EXPECT_EQ(aut.size(), 3u);
}

TEST_F(SetAside, TriesOneRecordOfATopicAtATimeWithGrowingPauses) {
  for (auto i = 0; i < 3; ++i)
    refuse(letter(i));
  EXPECT_EQ(due(), offsets{});
  auto pause = 0ms;
  std::vector<std::chrono::milliseconds> pauses;
  for (auto tries = 0; tries < 8; ++tries) {
    for (pause = 0ms; due().empty(); pause += 100ms)
      now += 100ms;
    pauses.push_back(pause);
    EXPECT_EQ(due(), offsets{}) << "one is being tried";
    refuse(letter(0));
    EXPECT_EQ(aut.size(), 3u);
  }
  EXPECT_LE(pauses.front(), 1'100ms);
  EXPECT_GT(pauses[2], pauses[0]);
  EXPECT_LE(pauses.back(), 30'100ms);
}

TEST_F(SetAside, LetsAllOfATopicGoOnWhenOneWasTaken) {
  for (auto i = 0; i < 3; ++i)
    refuse(letter(i));
  refuse(result(7));
  now += 2s;
  auto tried = aut.due(now);
  ASSERT_EQ(tried.size(), 2u);
  now += 1s;
  const auto released = aut.accept(letter(0));
  ASSERT_TRUE(released);
  EXPECT_TRUE(released->whole_topic);
  EXPECT_EQ(released->records.size(), 2u);
  EXPECT_EQ(now - released->since, 3s);
  EXPECT_EQ(released->reason.message, why.message);
  EXPECT_EQ(aut.trouble_of("dead"), nullptr);
  EXPECT_NE(aut.trouble_of("results"), nullptr) << "another topic";
}

TEST_F(SetAside, ARecordThatIsRefusedAloneHoldsNoOtherOfItsTopicBack) {
  EXPECT_TRUE(refuse(letter(0), false));
  EXPECT_TRUE(refuse(letter(1), false)) << "news each time";
  EXPECT_EQ(aut.trouble_of("dead"), nullptr);
  now += 2s;
  EXPECT_EQ(due(), (offsets{0, 1}));
  const auto released = aut.accept(letter(1));
  ASSERT_TRUE(released);
  EXPECT_FALSE(released->whole_topic);
  EXPECT_TRUE(released->records.empty());
  EXPECT_EQ(aut.size(), 1u);
}

TEST_F(SetAside, ARecordOfARefusingTopicMayTurnOutToBeRefusedAlone) {
  refuse(letter(0));
  refuse(letter(1));
  now += 2s;
  EXPECT_EQ(due(), offsets{0});
  EXPECT_TRUE(refuse(letter(0), false));
  EXPECT_EQ(due(), offsets{1}) << "the topic answers, so the next one is tried at once";
  now += 2s;
  EXPECT_EQ(due(), offsets{0});
  EXPECT_TRUE(refuse(letter(0), true) || aut.size() == 2u);
  EXPECT_EQ(aut.size(), 2u) << "no record is lost, whatever it is taken for";
}

TEST_F(SetAside, WaitsForTheRecordThatMadeASilentTopicSuspect) {
  EXPECT_TRUE(aut.suspect(letter(0), why, now));
  EXPECT_FALSE(aut.suspect(letter(1), why, now));
  aut.take(letter(2));
  now += 1min;
  EXPECT_EQ(due(), offsets{}) << "the producer has one still";
  const auto released = aut.accept(letter(0));
  ASSERT_TRUE(released);
  EXPECT_EQ(released->records.size(), 1u);
}

// Else nobody would ever find out that the topic takes records again.
TEST_F(SetAside, TriesTheNextRecordWhenThePartitionOfTheOneOnTrialHasGone) {
  aut.suspect(letter(0), why, now);
  aut.take(letter(2));
  aut.remove_if([](const publication& x) { return x.source.offset == 0; });
  EXPECT_EQ(due(), offsets{2});
  aut.remove_if([](const publication&) { return true; });
  aut.take(letter(3));
  EXPECT_EQ(due(), offsets{3}) << "also if nothing waited then";
}

TEST_F(SetAside, TellsOfATopicThatHoldsResultsBackForLong) {
  refuse(letter(0));
  now += 1min;
  EXPECT_FALSE(aut.results_held(now, 10s)) << "dead letters are no reason to stop";
  refuse(result(1));
  EXPECT_FALSE(aut.results_held(now, 10s));
  now += 10s;
  ASSERT_TRUE(aut.results_held(now, 10s));
  EXPECT_EQ(aut.results_held(now, 10s)->first, "results");
  aut.remove_if([](const publication&) { return true; });
  EXPECT_FALSE(aut.results_held(now, 10s)) << "nothing of it is left";
}

TEST_F(SetAside, GivesBackWhatIsNotOursAnyMore) {
  for (auto i = 0; i < 3; ++i)
    refuse(letter(i));
  refuse(letter(3), false);
  const auto gone = aut.remove_if([](const publication& x) { return x.source.offset != 1; });
  EXPECT_EQ(gone.size(), 3u);
  EXPECT_EQ(aut.size(), 1u);
  now += 2s;
  EXPECT_EQ(due(), offsets{1});
}

} // namespace ziyu::actors
