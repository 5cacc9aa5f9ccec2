#include "messaging/kafka_consumer.hpp"

#include "messaging/kafka_producer.hpp"
#include "support/mock_cluster.hpp"
#include "support/report_book.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <set>

using namespace ziyu;
using namespace ziyu::messaging;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds patience{30'000};

/// A member of the group and all that it was told.
struct member {
  std::unique_ptr<consumer> it;
  bool answer_revocations = true;
  std::vector<record> records;
  std::vector<partitions_assigned> assigned;
  std::vector<partitions_revoked> revoked;
  std::vector<offsets_committed::item> committed;
  std::vector<error> failures;
  std::map<topic_partition, uint64_t> owned; ///< With their epochs.

  void step(milliseconds limit = milliseconds{10}) {
    auto event = it->poll(limit);
    if (auto x = std::get_if<record>(&event)) {
      records.push_back(std::move(*x));
    } else if (auto news = std::get_if<partitions_assigned>(&event)) {
      for (const auto& where : news->partitions)
        owned[where] = news->epoch;
      assigned.push_back(std::move(*news));
    } else if (auto going = std::get_if<partitions_revoked>(&event)) {
      for (const auto& where : going->partitions)
        owned.erase(where);
      revoked.push_back(std::move(*going));
      if (answer_revocations)
        it->finish_revoke();
    } else if (auto answers = std::get_if<offsets_committed>(&event)) {
      committed.insert(committed.end(), answers->items.begin(), answers->items.end());
    } else if (auto trouble = std::get_if<consumer_failed>(&event)) {
      failures.push_back(std::move(trouble->reason));
    }
  }

  std::vector<int64_t> offsets() const {
    std::vector<int64_t> result;
    for (const auto& x : records)
      result.push_back(x.id.offset);
    return result;
  }
};

/// Polls all `members` until `condition` holds.
bool until(std::vector<member*> members, const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline)
      return false;
    for (auto x : members)
      x->step();
  }
  return true;
}

std::vector<int64_t> range(int64_t from, int64_t to) {
  std::vector<int64_t> result;
  for (; from < to; ++from)
    result.push_back(from);
  return result;
}

class KafkaConsumer : public ::testing::TestWithParam<const char*> {
protected:
  explicit KafkaConsumer(int brokers = 1) : cluster(brokers) {}

  kafka_properties properties(const kafka_properties& more = {}) const {
    auto x = cluster.properties();
    x["group.id"] = "workers";
    x["partition.assignment.strategy"] = GetParam();
    x["heartbeat.interval.ms"] = "50";
    x["fetch.wait.max.ms"] = "50";
    x["topic.metadata.refresh.interval.ms"] = "100";
    x["auto.commit.interval.ms"] = "3600000"; // nothing below is done by one
    x["session.timeout.ms"] = "2000";         // the mock waits so long for members to join
    for (const auto& [name, value] : more)
      x[name] = value;
    return x;
  }

  member join(const kafka_properties& more = {}) const {
    member result;
    auto x = make_kafka_consumer(properties(more), {"in"});
    EXPECT_TRUE(x) << x.error().describe();
    result.it = std::move(*x);
    return result;
  }

  /// Puts `count` records into one partition, in one batch.
  void produce(int count, int32_t partition = 0) {
    char text[512];
    auto conf = make_conf(cluster.properties());
    ASSERT_TRUE(conf);
    rd_kafka_conf_set((*conf).get(), "linger.ms", "50", text, sizeof text);
    kafka_ptr client{rd_kafka_new(RD_KAFKA_PRODUCER, conf->release(), text, sizeof text)};
    ASSERT_TRUE(client) << text;
    for (int i = 0; i < count; ++i)
      ASSERT_EQ(rd_kafka_producev(client.get(), RD_KAFKA_V_TOPIC("in"),
                                  RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_KEY("key", 3),
                                  RD_KAFKA_V_VALUE(const_cast<char*>("value"), 5),
                                  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                RD_KAFKA_RESP_ERR_NO_ERROR);
    ASSERT_EQ(rd_kafka_flush(client.get(), static_cast<int>(patience.count())),
              RD_KAFKA_RESP_ERR_NO_ERROR);
  }

  test::mock_cluster cluster;
};

class KafkaConsumerOfTwoBrokers : public KafkaConsumer {
protected:
  KafkaConsumerOfTwoBrokers() : KafkaConsumer(2) {}
};

} // namespace

TEST_P(KafkaConsumer, AnnouncesItsPartitionsBeforeTheirRecords) {
  cluster.create_topic("in", 2);
  produce(3, 0);
  produce(2, 1);
  auto x = join();
  while (x.assigned.empty() && x.failures.empty())
    x.step();
  ASSERT_TRUE(x.records.empty());
  ASSERT_EQ(x.assigned.size(), 1u);
  EXPECT_EQ(x.assigned[0].partitions.size(), 2u);
  const auto epoch = x.assigned[0].epoch;
  EXPECT_GT(epoch, 0u);
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 5; }));
  std::map<int32_t, int64_t> next;
  for (const auto& r : x.records) {
    EXPECT_EQ(r.epoch, epoch);
    EXPECT_EQ(r.id.topic, "in");
    EXPECT_EQ(r.id.offset, next[r.id.partition]++) << "in order within its partition";
    EXPECT_EQ(r.key, "key");
    EXPECT_EQ(*r.value, "value");
  }
  EXPECT_EQ(next[0], 3);
  EXPECT_EQ(next[1], 2);
}

TEST_P(KafkaConsumer, GatedItBringsNoRecordAndFetchesNothingTwice) {
  cluster.create_topic("in", 1);
  produce(50);
  auto x = join();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 1; })); // the rest came along
  x.it->gate(true);
  for (int i = 0; i < 20; ++i)
    x.step(milliseconds{5});
  EXPECT_EQ(x.records.size(), 1u);
  // What was prefetched is still here: it can be had without the broker.
  cluster.down();
  x.it->gate(false);
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 50; }));
  EXPECT_EQ(x.offsets(), range(0, 50)) << "each once, in order";
  cluster.up();
  produce(5);
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() >= 55; }));
  EXPECT_EQ(x.offsets(), range(0, 55));
}

TEST_P(KafkaConsumer, GatedItStillHearsOfRebalances) {
  cluster.create_topic("in", 2);
  auto x = join();
  x.it->gate(true);
  ASSERT_TRUE(until({&x}, [&] { return x.owned.size() == 2; }));
  auto y = join();
  ASSERT_TRUE(until({&x, &y}, [&] { return x.owned.size() == 1 && y.owned.size() == 1; }));
  EXPECT_FALSE(x.revoked.empty());
}

TEST_P(KafkaConsumer, ACommitIsWhereTheNextMemberGoesOn) {
  cluster.create_topic("in", 1);
  produce(10);
  {
    auto x = join();
    ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 10; }));
    EXPECT_TRUE(x.it->commit(patience)) << "nothing stored: nothing to commit";
    ASSERT_TRUE(x.it->store({"in", 0}, 4));
    const auto done = x.it->commit(patience);
    ASSERT_TRUE(done) << done.error().describe();
    // Stored, never committed: closing commits it.
    ASSERT_TRUE(x.it->store({"in", 0}, 7));
    x.it->close(patience);
  }
  auto y = join();
  ASSERT_TRUE(until({&y}, [&] { return y.records.size() >= 3; }));
  EXPECT_EQ(y.offsets(), range(7, 10));
}

namespace {

/// A commit point with a map: 5 and 6 are finished, 3 has been tried.
commit_point point_with_map(uint64_t version) {
  offset_map map;
  map.finished = {{5, 7}};
  map.attempts = {{3, 1}};
  return {3, encode_offset_map(map, 3), version};
}

} // namespace

TEST_P(KafkaConsumer, ACommitCarriesItsMapToTheNextMember) {
  cluster.create_topic("in", 2);
  produce(10);
  {
    auto x = join();
    ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 10; }));
    EXPECT_TRUE(x.assigned.at(0).committed.empty()) << "nobody has committed yet";
    ASSERT_TRUE(x.it->store({"in", 0}, point_with_map(7)));
    x.it->close(patience);
  }
  auto y = join();
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

TEST_P(KafkaConsumer, AMapBeyondTheEndOfTheLogIsIgnored) {
  cluster.create_topic("in", 1);
  produce(5);
  {
    auto x = join();
    ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 5; }));
    ASSERT_TRUE(x.it->store({"in", 0}, point_with_map(1))); // of a log of at least 7 records
    x.it->close(patience);
  }
  auto y = join();
  ASSERT_TRUE(until({&y}, [&] { return !y.assigned.empty(); }));
  const auto& found = y.assigned[0].committed.at({"in", 0});
  EXPECT_NE(found.ignored, "");
  EXPECT_TRUE(found.map.empty());
}

TEST_P(KafkaConsumerOfTwoBrokers, WithoutALeaderAPartitionIsAnnouncedLaterWithItsMap) {
  cluster.set_coordinator("group", "workers", 1);
  cluster.create_topic("in", 2);
  for (int32_t p : {0, 1}) {
    cluster.set_leader("in", p, p + 1);
    produce(10, p);
  }
  {
    auto x = join();
    ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 20; }));
    for (int32_t p : {0, 1})
      ASSERT_TRUE(x.it->store({"in", p}, point_with_map(7)));
    x.it->close(patience);
  }
  cluster.down(2);
  auto y = join();
  ASSERT_TRUE(until({&y}, [&] { return y.records.size() == 7; })) << "of the partition with one";
  // With a map of unknown worth it waits, also while the group changes.
  auto z = join();
  ASSERT_TRUE(
    until({&y, &z}, [&] { return !y.revoked.empty() && y.owned.size() + z.owned.size() == 1; }));
  z.it->close(patience);
  ASSERT_TRUE(until({&y}, [&] { return y.owned.contains({"in", 0}); }));
  cluster.up(2);
  ASSERT_TRUE(until({&y}, [&] { return y.owned.size() == 2; }));
  const auto& found = y.assigned.back().committed.at({"in", 1});
  EXPECT_EQ(found.ignored, "");
  EXPECT_EQ(found.map.finished, (std::vector<offset_range>{{5, 7}}));
  for (const auto& x : y.assigned)
    for (const auto& where : x.partitions)
      EXPECT_TRUE(x.committed.contains(where));
  for (const auto& x : y.revoked)
    EXPECT_EQ(x.partitions, (std::vector<topic_partition>{{"in", 0}})) << "the other was not told";
  ASSERT_TRUE(until({&y}, [&] { return y.records.back().id.partition == 1; }));
}

TEST_P(KafkaConsumer, AnUrgentCommitGoesAtOnceAndIsAnswered) {
  cluster.create_topic("in", 1);
  produce(10);
  auto x = join();
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

TEST_P(KafkaConsumer, ACommitThatFailsIsToldAndTriedAgain) {
  cluster.create_topic("in", 1);
  produce(10);
  auto x = join();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 10; }));
  cluster.fail_next(test::api_offset_commit, {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED});
  auto urgent = point_with_map(1);
  urgent.urgent = true;
  ASSERT_TRUE(x.it->store({"in", 0}, urgent));
  ASSERT_TRUE(until({&x}, [&] { return x.committed.size() >= 2; }));
  EXPECT_TRUE(x.committed[0].failure);
  EXPECT_FALSE(x.committed[1].failure) << x.committed[1].failure->describe();
  EXPECT_EQ(x.committed[1].version, 1u);
}

TEST_P(KafkaConsumer, WhenTheMetadataIsRefusedTheOffsetIsCommittedWithoutIt) {
  cluster.create_topic("in", 1);
  produce(10);
  {
    auto x = join();
    ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 10; }));
    cluster.fail_next(test::api_offset_commit, {RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE});
    ASSERT_TRUE(x.it->store({"in", 0}, point_with_map(1)));
    const auto done = x.it->commit(patience);
    ASSERT_TRUE(done) << done.error().describe();
    ASSERT_TRUE(until({&x}, [&] { return x.committed.size() == 2; }));
    EXPECT_TRUE(x.committed[1].without_map);
    EXPECT_FALSE(x.committed[1].failure);
  }
  auto y = join();
  ASSERT_TRUE(until({&y}, [&] { return !y.assigned.empty(); }));
  EXPECT_EQ(y.assigned[0].committed.at({"in", 0}).next, 3);
  EXPECT_TRUE(y.assigned[0].committed.at({"in", 0}).map.empty());
}

TEST_P(KafkaConsumer, AHeldPartitionBringsNothingWhileOthersGoOn) {
  cluster.create_topic("in", 2);
  auto x = join();
  ASSERT_TRUE(until({&x}, [&] { return x.owned.size() == 2; }));
  x.it->hold({{"in", 0}});
  produce(20, 0);
  produce(20, 1);
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 20; }));
  for (int i = 0; i < 20; ++i)
    x.step(milliseconds{5});
  EXPECT_EQ(x.records.size(), 20u);
  for (const auto& r : x.records)
    EXPECT_EQ(r.id.partition, 1);
  cluster.down(); // the held ones were prefetched: nothing is fetched twice
  x.it->hold({});
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 40; }));
  EXPECT_EQ(x.it->refetched_bytes(), 0u);
}

TEST_P(KafkaConsumer, BringsPartitionsInTurn) {
  cluster.create_topic("in", 2);
  produce(30, 0);
  produce(30, 1);
  auto x = join();
  x.it->gate(true);
  ASSERT_TRUE(until({&x}, [&] { return x.owned.size() == 2; }));
  for (int i = 0; i < 40; ++i) // both are prefetched
    x.step(milliseconds{10});
  x.it->gate(false);
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() >= 20; }));
  const auto first = std::count_if(x.records.begin(), x.records.begin() + 20,
                                   [](const auto& r) { return r.id.partition == 0; });
  EXPECT_EQ(first, 10);
}

TEST_P(KafkaConsumer, KnowsWhereItIsAndGoesBackWhenTold) {
  cluster.create_topic("in", 1);
  produce(10);
  auto x = join();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 10; }));
  EXPECT_EQ(x.it->view().at(0).log_end, -1) << "it moves: nobody need be asked";
  const auto views = x.it->view();
  ASSERT_EQ(views.size(), 1u);
  EXPECT_EQ(views[0].where, (topic_partition{"in", 0}));
  EXPECT_EQ(views[0].epoch, x.assigned[0].epoch);
  EXPECT_EQ(views[0].position, 10);
  EXPECT_EQ(views[0].log_end, 10);
  const auto sought = x.it->seek({"in", 0}, 7, patience);
  ASSERT_TRUE(sought) << sought.error().describe();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 13; }));
  EXPECT_EQ(x.records[10].id.offset, 7);
}

TEST_P(KafkaConsumer, PausedItDropsWhatIsPrefetchedAndResumedItLosesNothing) {
  cluster.create_topic("in", 1);
  produce(50);
  auto x = join({{"statistics.interval.ms", "50"}});
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 5; }));
  x.it->gate(true);
  for (int i = 0; i < 20; ++i) // until the statistics say what is prefetched
    x.step(milliseconds{10});
  x.it->pause(true);
  EXPECT_GT(x.it->refetched_bytes(), 0u);
  for (int i = 0; i < 10; ++i)
    x.step(milliseconds{10});
  x.it->pause(false);
  x.it->gate(false);
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() >= 50; }));
  EXPECT_EQ(x.offsets(), range(0, 50));
}

TEST_P(KafkaConsumer, WhatIsNotStoredComesAgain) {
  cluster.create_topic("in", 1);
  produce(5);
  {
    auto x = join();
    ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 5; }));
    x.it->commit(patience);
  } // destroyed without a close: it leaves all the same
  auto y = join();
  ASSERT_TRUE(until({&y}, [&] { return y.records.size() >= 5; }));
  EXPECT_EQ(y.offsets(), range(0, 5));
}

TEST_P(KafkaConsumer, StoresOnlyForItsOwnPartitions) {
  cluster.create_topic("in", 1);
  auto x = join();
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

TEST_P(KafkaConsumer, ARevocationWaitsForItsAnswer) {
  cluster.create_topic("in", 2);
  produce(10, 0);
  produce(10, 1);
  auto x = join();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 20; }));
  x.answer_revocations = false;
  auto y = join();
  ASSERT_TRUE(until({&x, &y}, [&] { return !x.revoked.empty(); }));
  EXPECT_FALSE(x.revoked[0].lost);
  EXPECT_EQ(x.revoked[0].epoch, x.assigned[0].epoch);
  for (int i = 0; i < 20; ++i) {
    x.step();
    y.step();
  }
  EXPECT_TRUE(y.owned.empty()) << "they are not given away before the answer";
  // Work that finishes meanwhile still counts.
  for (int32_t partition : {0, 1})
    EXPECT_TRUE(x.it->store({"in", partition}, 6));
  x.answer_revocations = true;
  x.it->finish_revoke();
  ASSERT_TRUE(until({&x, &y}, [&] { return x.owned.size() == 1 && y.owned.size() == 1; }));
  EXPECT_NE(x.owned.begin()->first, y.owned.begin()->first);
  const auto gone = x.it->store(y.owned.begin()->first, 10);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, errc::revoked);
}

TEST_P(KafkaConsumer, ClosingLeavesTheGroup) {
  cluster.create_topic("in", 2);
  auto x = join();
  ASSERT_TRUE(until({&x}, [&] { return x.owned.size() == 2; }));
  auto y = join();
  ASSERT_TRUE(until({&x, &y}, [&] { return x.owned.size() == 1 && y.owned.size() == 1; }));
  x.it->close(patience);
#if RD_KAFKA_VERSION >= 0x02060000
  EXPECT_EQ(cluster.requests(test::api_leave_group), 1u);
#endif
  ASSERT_TRUE(until({&y}, [&] { return y.owned.size() == 2; }));
}

TEST_P(KafkaConsumer, ClosingAmidARebalanceEnds) {
  cluster.create_topic("in", 2);
  for (int round = 0; round < 8; ++round) {
    auto x = join({{"session.timeout.ms", "300"}});
    ASSERT_TRUE(until({&x}, [&] { return x.owned.size() == 2; }));
    auto y = join({{"session.timeout.ms", "300"}});
    ASSERT_TRUE(until({&x, &y}, [&] { return x.owned.size() < 2; }));
    // At another point of the rebalance each time; what is asked of them waits unanswered.
    for (int i = 0; i < round; ++i) {
      x.step(milliseconds{1});
      y.step(milliseconds{1});
    }
    for (auto closing : {&y, &x}) {
      const auto begin = std::chrono::steady_clock::now();
      closing->it->close(patience);
      EXPECT_LT(std::chrono::steady_clock::now() - begin, patience);
    }
  }
}

TEST_P(KafkaConsumer, AnEvictedMemberLosesItsPartitionsAndReturns) {
  cluster.create_topic("in", 1);
  produce(3);
  auto x = join();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 3; }));
  cluster.fail_next(test::api_heartbeat, {RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID});
  ASSERT_TRUE(until({&x}, [&] { return x.assigned.size() == 2; }));
  ASSERT_EQ(x.revoked.size(), 1u);
  EXPECT_TRUE(x.revoked[0].lost);
  EXPECT_GT(x.assigned[1].epoch, x.assigned[0].epoch);
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 6; })) << "nothing was stored";
  EXPECT_EQ(x.records[5].epoch, x.assigned[1].epoch);
}

TEST_P(KafkaConsumer, AFreshConsumerDoesNotUseTheEpochsOfTheLastOne) {
  cluster.create_topic("in", 1);
  auto x = join();
  ASSERT_TRUE(until({&x}, [&] { return x.owned.size() == 1; }));
  x.it->close(patience);
  auto y = join();
  ASSERT_TRUE(until({&y}, [&] { return y.owned.size() == 1; }));
  EXPECT_GT(y.assigned[0].epoch, x.assigned[0].epoch);
}

TEST_P(KafkaConsumer, ABrokerThatIsAwayAtFirstIsWaitedFor) {
  cluster.create_topic("in", 1);
  produce(2);
  cluster.down();
  auto x = join();
  for (int i = 0; i < 20; ++i)
    x.step();
  EXPECT_TRUE(x.assigned.empty());
  cluster.up();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 2; }));
}

TEST_P(KafkaConsumer, OneAbsentBrokerOfSeveralIsNoFailure) {
  cluster.create_topic("in", 1);
  produce(2);
  test::closed_port nobody;
  auto x = join({{"bootstrap.servers", nobody.bootstrap() + "," + cluster.bootstrap()}});
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 2; }));
  EXPECT_TRUE(x.failures.empty()) << x.failures[0].describe();
}

TEST_P(KafkaConsumer, APortAtWhichNobodyListensIsReported) {
  test::closed_port nobody;
  auto x = join({{"bootstrap.servers", nobody.bootstrap()}});
  ASSERT_TRUE(until({&x}, [&] { return !x.failures.empty(); }));
  EXPECT_EQ(x.failures[0].code, errc::unavailable) << x.failures[0].describe();
  EXPECT_NE(x.failures[0].message.find(nobody.bootstrap()), std::string::npos)
    << x.failures[0].message;
}

TEST_P(KafkaConsumer, ABrokerThatGoesAndReturnsCostsNoRecord) {
  cluster.create_topic("in", 1);
  produce(5);
  auto x = join();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 5; }));
  ASSERT_TRUE(x.it->store({"in", 0}, 5));
  ASSERT_TRUE(x.it->commit(patience));
  cluster.down();
  for (int i = 0; i < 20; ++i)
    x.step();
  cluster.up();
  produce(5);
  // Also when its session has ended meanwhile and it had to join again.
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() >= 10; }));
  EXPECT_EQ(x.offsets(), range(0, 10));
}

TEST_P(KafkaConsumer, ATopicThatIsCreatedLaterIsFound) {
  auto x = join();
  ASSERT_TRUE(until({&x}, [&] { return !x.failures.empty(); }));
  EXPECT_EQ(x.failures[0].code, errc::kafka) << x.failures[0].describe();
  EXPECT_NE(x.failures[0].message.find("in"), std::string::npos) << x.failures[0].message;
  cluster.create_topic("in", 1);
  produce(2);
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 2; }));
}

TEST_P(KafkaConsumer, WithoutABrokerCommittingAndClosingEndInTime) {
  cluster.create_topic("in", 1);
  produce(5);
  auto x = join();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 5; }));
  ASSERT_TRUE(x.it->store({"in", 0}, 5));
  cluster.down();
  const auto status = x.it->commit(milliseconds{100});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, errc::timeout) << status.error().describe();
  x.it->close(milliseconds{100});
  x.it.reset();
}

TEST_P(KafkaConsumer, AWrongPropertyIsAnErrorWithItsName) {
  const auto unknown = make_kafka_consumer(properties({{"no.such.property", "1"}}), {"in"});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, errc::invalid_config);
  EXPECT_NE(unknown.error().message.find("kafka.no.such.property"), std::string::npos);
  auto without_group = cluster.properties();
  const auto x = make_kafka_consumer(without_group, {"in"});
  ASSERT_FALSE(x);
  EXPECT_NE(x.error().message.find("group"), std::string::npos) << x.error().message;
}

TEST_P(KafkaConsumer, OffsetsAreNeverStoredBehindOurBack) {
  cluster.create_topic("in", 1);
  produce(5);
  {
    auto x = join({{"enable.auto.offset.store", "true"}});
    ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 5; }));
    x.it->close(patience);
  }
  auto y = join();
  ASSERT_TRUE(until({&y}, [&] { return y.records.size() >= 5; })) << "fetched is not done";
}

INSTANTIATE_TEST_SUITE_P(Assignment, KafkaConsumer,
                         ::testing::Values("range,roundrobin", "cooperative-sticky"),
                         [](const auto& x) {
                           return x.param == std::string{"cooperative-sticky"} ? "Cooperative"
                                                                               : "Eager";
                         });
INSTANTIATE_TEST_SUITE_P(Assignment, KafkaConsumerOfTwoBrokers,
                         ::testing::Values("range,roundrobin", "cooperative-sticky"),
                         [](const auto& x) {
                           return x.param == std::string{"cooperative-sticky"} ? "Cooperative"
                                                                               : "Eager";
                         });
