#include "messaging/offset_ledger.hpp"

#include <gtest/gtest.h>

using namespace ziyu::messaging;

namespace {

const topic_partition jobs0{"image.jobs", 0};
const topic_partition jobs1{"image.jobs", 1};

record_id at(int64_t offset, const topic_partition& where = jobs0) {
  return {where.topic, where.partition, offset};
}

/// A ledger with `jobs0` under epoch 1 and the records `offsets` fetched.
offset_ledger ledger_with(std::initializer_list<int64_t> offsets) {
  offset_ledger x;
  x.assign(jobs0, 1);
  for (auto offset : offsets)
    EXPECT_TRUE(x.fetched(at(offset), 1));
  return x;
}

void finish(offset_ledger& x, int64_t offset, record_state to = record_state::done) {
  EXPECT_TRUE(x.advance(at(offset), 1, record_state::running));
  EXPECT_TRUE(x.advance(at(offset), 1, record_state::publishing));
  EXPECT_TRUE(x.advance(at(offset), 1, to));
}

} // namespace

TEST(OffsetLedger, CommitsOnlyTheContiguousPrefix) {
  auto x = ledger_with({10, 11, 12, 13});
  finish(x, 12);
  finish(x, 11);
  EXPECT_EQ(x.take_committable(jobs0), std::nullopt) << "10 is open";
  finish(x, 10);
  EXPECT_EQ(x.take_committable(jobs0), 13);
  EXPECT_EQ(x.take_committable(jobs0), std::nullopt) << "nothing new";
  finish(x, 13, record_state::dead_lettered);
  EXPECT_EQ(x.take_committable(jobs0), 14) << "a dead letter is finished, too";
}

TEST(OffsetLedger, FetchingIsNoProgress) {
  auto x = ledger_with({10});
  EXPECT_EQ(x.take_committable(jobs0), std::nullopt);
  x.advance(at(10), 1, record_state::publishing);
  EXPECT_EQ(x.take_committable(jobs0), std::nullopt) << "published, but without a report";
}

TEST(OffsetLedger, GapsInTheOffsetsDoNotHoldItUp) {
  auto x = ledger_with({0, 5, 6, 100});
  finish(x, 0);
  EXPECT_EQ(x.take_committable(jobs0), 5);
  finish(x, 6);
  EXPECT_EQ(x.take_committable(jobs0), std::nullopt);
  finish(x, 5);
  EXPECT_EQ(x.take_committable(jobs0), 100);
  finish(x, 100);
  EXPECT_EQ(x.take_committable(jobs0), 101);
}

TEST(OffsetLedger, ARecordFetchedTwiceCountsOnce) {
  auto x = ledger_with({3, 4});
  EXPECT_FALSE(x.fetched(at(4), 1));
  EXPECT_FALSE(x.fetched(at(3), 1));
  EXPECT_FALSE(x.fetched(at(1), 1)) << "from before the first";
  finish(x, 3);
  EXPECT_FALSE(x.fetched(at(3), 1)) << "also when it is finished";
  EXPECT_EQ(x.total().fetched, 2u);
  EXPECT_TRUE(x.total().balanced());
}

TEST(OffsetLedger, NewsOfAFinishedOrUnknownRecordIsDropped) {
  auto x = ledger_with({0, 1});
  finish(x, 1);
  for (auto to : {record_state::queued, record_state::running, record_state::done,
                  record_state::dead_lettered, record_state::handed_back})
    EXPECT_FALSE(x.advance(at(1), 1, to)) << to_string(to);
  EXPECT_FALSE(x.advance(at(7), 1, record_state::done)) << "never fetched";
  finish(x, 0);
  EXPECT_FALSE(x.advance(at(0), 1, record_state::done)) << "below the prefix";
  EXPECT_EQ(x.total().published, 2u);
}

TEST(OffsetLedger, AnotherAttemptMovesARecordBack) {
  auto x = ledger_with({0});
  EXPECT_TRUE(x.advance(at(0), 1, record_state::running));
  EXPECT_TRUE(x.advance(at(0), 1, record_state::queued));
  EXPECT_EQ(x.total().in_flight, 1u);
  finish(x, 0);
  EXPECT_EQ(x.take_committable(jobs0), 1);
}

TEST(OffsetLedger, AHandedBackRecordIsNeverPassedByACommit) {
  auto x = ledger_with({0, 1, 2});
  finish(x, 0);
  EXPECT_TRUE(x.advance(at(1), 1, record_state::handed_back));
  finish(x, 2);
  EXPECT_EQ(x.take_committable(jobs0), 1);
  EXPECT_EQ(x.take_committable(jobs0), std::nullopt);
  EXPECT_EQ(x.total().handed_back, 1u);
  EXPECT_EQ(x.total().in_flight, 0u);
}

TEST(OffsetLedger, RevokingHandsTheOpenRecordsBack) {
  auto x = ledger_with({0, 1, 2, 3});
  finish(x, 1);
  x.advance(at(2), 1, record_state::running);
  const std::vector<record_id> open{at(0), at(2), at(3)};
  EXPECT_EQ(x.revoke(jobs0), open);
  EXPECT_TRUE(x.revoke(jobs0).empty()) << "only once";
  EXPECT_FALSE(x.owns(jobs0, 1));
  EXPECT_EQ(x.take_committable(jobs0), std::nullopt);
  const auto sum = x.total();
  EXPECT_EQ(sum.fetched, 4u);
  EXPECT_EQ(sum.published, 1u);
  EXPECT_EQ(sum.handed_back, 3u);
  EXPECT_EQ(sum.in_flight, 0u);
  EXPECT_TRUE(sum.balanced());
}

TEST(OffsetLedger, RevokingWhatIsNotOursIsNothing) {
  offset_ledger x;
  EXPECT_TRUE(x.revoke(jobs0).empty());
  EXPECT_EQ(x.total().fetched, 0u);
}

TEST(OffsetLedger, NewsUnderAStaleEpochIsDropped) {
  auto x = ledger_with({0, 1});
  EXPECT_FALSE(x.fetched(at(2), 2)) << "an epoch that has not come";
  x.revoke(jobs0);
  EXPECT_FALSE(x.fetched(at(2), 1));
  EXPECT_FALSE(x.advance(at(0), 1, record_state::done));
  x.assign(jobs0, 2);
  EXPECT_TRUE(x.owns(jobs0, 2));
  EXPECT_FALSE(x.owns(jobs0, 1));
  EXPECT_TRUE(x.fetched(at(0), 2)) << "the same record again, ours again";
  EXPECT_FALSE(x.advance(at(0), 1, record_state::done)) << "the result of the first attempt";
  EXPECT_EQ(x.take_committable(jobs0), std::nullopt);
  EXPECT_TRUE(x.advance(at(0), 2, record_state::done));
  EXPECT_EQ(x.take_committable(jobs0), 1);
  EXPECT_EQ(x.total().fetched, 3u);
  EXPECT_TRUE(x.total().balanced());
}

TEST(OffsetLedger, AssigningAnewReplacesTheOldAssignment) {
  auto x = ledger_with({5, 6});
  finish(x, 5);
  x.assign(jobs0, 2);
  EXPECT_EQ(x.total().handed_back, 1u);
  EXPECT_EQ(x.take_committable(jobs0), std::nullopt) << "of the old assignment";
  EXPECT_TRUE(x.fetched(at(2), 2)) << "an earlier offset: it was reset";
  EXPECT_TRUE(x.advance(at(2), 2, record_state::done));
  EXPECT_EQ(x.take_committable(jobs0), 3);
}

TEST(OffsetLedger, PartitionsDoNotMix) {
  offset_ledger x;
  x.assign(jobs0, 1);
  x.assign(jobs1, 2);
  EXPECT_TRUE(x.fetched(at(0), 1));
  EXPECT_TRUE(x.fetched(at(0, jobs1), 2));
  EXPECT_FALSE(x.fetched(at(1, jobs1), 1));
  EXPECT_FALSE(x.fetched({"other", 0, 0}, 1));
  EXPECT_TRUE(x.advance(at(0, jobs1), 2, record_state::done));
  EXPECT_EQ(x.take_committable(jobs0), std::nullopt);
  EXPECT_EQ(x.take_committable(jobs1), 1);
  EXPECT_EQ(x.revoke(jobs0).size(), 1u);
  EXPECT_TRUE(x.owns(jobs1, 2));
}

TEST(OffsetLedger, ShowsItsAccountAsJson) {
  auto x = ledger_with({10, 11, 12});
  finish(x, 10);
  finish(x, 11, record_state::dead_lettered);
  const nlohmann::json wanted = nlohmann::json::parse(R"({
    "total": {"fetched": 3, "published": 1, "dead_lettered": 1, "handed_back": 0, "in_flight": 1,
              "balanced": true},
    "partitions": [{"topic": "image.jobs", "partition": 0, "epoch": 1, "assigned": true,
                    "fetched": 3, "published": 1, "dead_lettered": 1, "handed_back": 0,
                    "in_flight": 1, "balanced": true, "next_offset": 12, "highest_fetched": 12}]
  })");
  EXPECT_EQ(x.to_json(), wanted);
}

TEST(OffsetLedger, ABalanceThatDoesNotAddUpIsNoBalance) {
  offset_ledger::balance x;
  EXPECT_TRUE(x.balanced());
  x.fetched = 4;
  x.published = x.dead_lettered = x.handed_back = 1;
  EXPECT_FALSE(x.balanced());
  x.in_flight = 1;
  EXPECT_TRUE(x.balanced());
}

TEST(RecordState, HasStableNames) {
  EXPECT_EQ(to_string(record_state::queued), "queued");
  EXPECT_EQ(to_string(record_state::running), "running");
  EXPECT_EQ(to_string(record_state::publishing), "publishing");
  EXPECT_EQ(to_string(record_state::done), "done");
  EXPECT_EQ(to_string(record_state::dead_lettered), "dead_lettered");
  EXPECT_EQ(to_string(record_state::handed_back), "handed_back");
}
