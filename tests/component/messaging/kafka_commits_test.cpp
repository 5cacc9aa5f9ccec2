#include "support/kafka_group.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::messaging;
using namespace ziyu::test;
using std::chrono::milliseconds;

namespace {

class KafkaCommits : public kafka_group_test {};

/// A commit point with a map: 5 and 6 are finished, 3 has been tried.
commit_point point_with_map(uint64_t version) {
  offset_map map;
  map.finished = {{5, 7}};
  map.attempts = {{3, 1}};
  return {3, encode_offset_map(map, 3), version};
}

/// One broker coordinates the group and leads partition 0, the other one leads partition 1.
class KafkaCommitsOnTwoBrokers : public kafka_group_test {
protected:
  KafkaCommitsOnTwoBrokers() : kafka_group_test(2) {
    cluster.set_coordinator("group", "workers", 1);
    cluster.create_topic("in", 2);
    for (int32_t p : {0, 1}) {
      cluster.set_leader("in", p, p + 1);
      produce(10, p);
    }
  }

  /// …in the commits of an earlier member, which has left.
  void leave_maps(const kafka_properties& more = {}) const {
    auto x = join(more);
    ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 20; }));
    for (int32_t p : {0, 1})
      ASSERT_TRUE(x.it->store({"in", p}, point_with_map(7)));
    x.it->close(group_patience);
  }

  static void expect_maps(const member& x) {
    for (const auto& news : x.assigned)
      for (const auto& where : news.partitions) {
        ASSERT_TRUE(news.committed.contains(where));
        EXPECT_EQ(news.committed.at(where).ignored, "");
        EXPECT_EQ(news.committed.at(where).map.finished, (std::vector<offset_range>{{5, 7}}));
      }
  }
};

} // namespace

TEST_P(KafkaCommits, ACommitIsWhereTheNextMemberGoesOn) {
  cluster.create_topic("in", 1);
  produce(10);
  {
    auto x = join(patient);
    ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 10; }));
    EXPECT_TRUE(x.it->commit(group_patience)) << "nothing stored: nothing to commit";
    ASSERT_TRUE(x.it->store({"in", 0}, 4));
    const auto done = x.it->commit(group_patience);
    ASSERT_TRUE(done) << done.error().describe();
    // Stored, never committed: closing commits it.
    ASSERT_TRUE(x.it->store({"in", 0}, 7));
    x.it->close(group_patience);
  }
  auto y = join_last();
  ASSERT_TRUE(until({&y}, [&] { return y.records.size() >= 3; }));
  EXPECT_EQ(y.offsets(), range(7, 10));
}

TEST_P(KafkaCommits, ACommitCarriesItsMapToTheNextMember) {
  cluster.create_topic("in", 2);
  produce(10);
  {
    auto x = join(patient);
    ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 10; }));
    EXPECT_TRUE(x.assigned.at(0).committed.empty()) << "nobody has committed yet";
    ASSERT_TRUE(x.it->store({"in", 0}, point_with_map(7)));
    x.it->close(group_patience);
  }
  auto y = join_last();
  ASSERT_TRUE(until({&y}, [&] { return !y.assigned.empty(); }));
  ASSERT_EQ(y.assigned[0].committed.size(), 1u);
  const auto& found = y.assigned[0].committed.at({"in", 0});
  EXPECT_EQ(found.next, 3);
  EXPECT_EQ(found.ignored, "");
  EXPECT_EQ(found.map.finished, (std::vector<offset_range>{{5, 7}}));
  EXPECT_EQ(found.map.attempts, (std::map<int64_t, uint32_t>{{3, 1}}));
  ASSERT_TRUE(until({&y}, [&] { return y.records.size() >= 7; }));
  EXPECT_EQ(y.offsets(), range(3, 10)) << "fetching begins where the map says";
}

TEST_P(KafkaCommits, AMapBeyondTheEndOfTheLogIsIgnored) {
  cluster.create_topic("in", 1);
  produce(5);
  {
    auto x = join(patient);
    ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 5; }));
    ASSERT_TRUE(x.it->store({"in", 0}, point_with_map(1))); // of a log of at least 7 records
    x.it->close(group_patience);
  }
  auto y = join_last();
  ASSERT_TRUE(until({&y}, [&] { return !y.assigned.empty(); }));
  const auto& found = y.assigned[0].committed.at({"in", 0});
  EXPECT_NE(found.ignored, "");
  EXPECT_TRUE(found.map.empty());
}

TEST_P(KafkaCommitsOnTwoBrokers, WithoutALeaderAPartitionIsAnnouncedLaterWithItsMap) {
  leave_maps();
  cluster.down(2);
  auto y = join();
  ASSERT_TRUE(until({&y}, [&] { return y.records.size() == 7; })) << "of the partition with one";
  // With a map that cannot be checked yet it waits, also while the group changes.
  auto z = join();
  ASSERT_TRUE(
    until({&y, &z}, [&] { return !y.revoked.empty() && y.owned.size() + z.owned.size() == 1; }));
  z.it->close(group_patience);
  ASSERT_TRUE(until({&y}, [&] { return y.owned.contains({"in", 0}); }));
  cluster.up(2);
  ASSERT_TRUE(until({&y}, [&] { return y.owned.size() == 2; }));
  expect_maps(y);
  for (const auto& x : y.revoked)
    for (const auto& where : x.partitions)
      EXPECT_EQ(where.partition, 0) << "the other one was not told";
  ASSERT_TRUE(until({&y}, [&] { return y.records.back().id.partition == 1; }));
}

TEST_P(KafkaCommitsOnTwoBrokers, ALeaderThatDoesNotAnswerHoldsUpOnlyItsOwnPartitions) {
  leave_maps(patient);
  cluster.slow(2, milliseconds{5'000});
  auto y = join_last();
  ASSERT_TRUE(until({&y}, [&] { return y.records.size() == 7; }));
  EXPECT_EQ(y.owned.size(), 1u);
  cluster.slow(2, milliseconds{0});
  ASSERT_TRUE(until({&y}, [&] { return y.owned.size() == 2; }));
  expect_maps(y);
}

TEST_P(KafkaCommits, AnUrgentCommitGoesAtOnceAndIsAnswered) {
  cluster.create_topic("in", 1);
  produce(10);
  auto x = join_last();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 10; }));
  ASSERT_TRUE(x.it->store({"in", 0}, {1, "", 11})); // in an hour
  x.step(milliseconds{100});
  EXPECT_TRUE(x.committed.empty());
  auto urgent = point_with_map(12);
  urgent.urgent = true;
  ASSERT_TRUE(x.it->store({"in", 0}, urgent));
  ASSERT_TRUE(until({&x}, [&] { return !x.committed.empty(); }));
  ASSERT_EQ(x.committed.size(), 1u) << "the latest wins";
  EXPECT_EQ(x.committed[0].where, (topic_partition{"in", 0}));
  EXPECT_EQ(x.committed[0].epoch, x.assigned[0].epoch);
  EXPECT_EQ(x.committed[0].version, 12u);
  EXPECT_FALSE(x.committed[0].failure);
}

TEST_P(KafkaCommits, ACommitThatFailsIsToldAndTriedAgain) {
  cluster.create_topic("in", 1);
  produce(10);
  auto x = join_last();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 10; }));
  cluster.fail_next(api_offset_commit, {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED});
  auto urgent = point_with_map(1);
  urgent.urgent = true;
  ASSERT_TRUE(x.it->store({"in", 0}, urgent));
  ASSERT_TRUE(until({&x}, [&] { return x.committed.size() >= 2; }));
  EXPECT_TRUE(x.committed[0].failure);
  EXPECT_FALSE(x.committed[1].failure) << x.committed[1].failure->describe();
  EXPECT_EQ(x.committed[1].version, 1u);
}

TEST_P(KafkaCommits, WhenTheMetadataIsRefusedTheOffsetIsCommittedWithoutIt) {
  cluster.create_topic("in", 1);
  produce(10);
  {
    auto x = join(patient);
    ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 10; }));
    cluster.fail_next(api_offset_commit, {RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE});
    ASSERT_TRUE(x.it->store({"in", 0}, point_with_map(1)));
    const auto done = x.it->commit(group_patience);
    ASSERT_TRUE(done) << done.error().describe();
    ASSERT_TRUE(until({&x}, [&] { return x.committed.size() == 2; }));
    EXPECT_TRUE(x.committed[1].without_map);
    EXPECT_FALSE(x.committed[1].failure);
    x.it->close(group_patience);
  }
  auto y = join_last();
  ASSERT_TRUE(until({&y}, [&] { return !y.assigned.empty(); }));
  EXPECT_EQ(y.assigned[0].committed.at({"in", 0}).next, 3);
  EXPECT_TRUE(y.assigned[0].committed.at({"in", 0}).map.empty());
}

TEST_P(KafkaCommits, WhatIsNotStoredComesAgain) {
  cluster.create_topic("in", 1);
  produce(5);
  {
    auto x = join();
    ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 5; }));
    x.it->commit(group_patience);
  } // destroyed without a close: it leaves nevertheless
  auto y = join(patient);
  ASSERT_TRUE(until({&y}, [&] { return y.records.size() >= 5; }));
  EXPECT_EQ(y.offsets(), range(0, 5));
}

TEST_P(KafkaCommits, StoresOnlyForItsOwnPartitions) {
  cluster.create_topic("in", 1);
  auto x = join_last();
  const auto early = x.it->store({"in", 0}, 1);
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code, errc::revoked);
  ASSERT_TRUE(until({&x}, [&] { return x.owned.size() == 1; }));
  EXPECT_TRUE(x.it->store({"in", 0}, 1));
  for (const auto& foreign : {topic_partition{"in", 7}, topic_partition{"other", 0}}) {
    const auto status = x.it->store(foreign, 1);
    ASSERT_FALSE(status) << foreign.topic;
    EXPECT_EQ(status.error().code, errc::revoked) << status.error().message;
  }
}

TEST_P(KafkaCommits, OffsetsAreNeverStoredBehindOurBack) {
  cluster.create_topic("in", 1);
  produce(5);
  {
    auto x = join({{"enable.auto.offset.store", "true"}});
    ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 5; }));
    x.it->close(group_patience);
  }
  auto y = join_last();
  ASSERT_TRUE(until({&y}, [&] { return y.records.size() >= 5; })) << "fetched is not done";
}

INSTANTIATE_TEST_SUITE_P(Assignment, KafkaCommits, every_assignor(), name_of_assignor);

INSTANTIATE_TEST_SUITE_P(Assignment, KafkaCommitsOnTwoBrokers, every_assignor(), name_of_assignor);
