#include "messaging/kafka_consumer.hpp"

#include "support/kafka_group.hpp"

#include <future>
#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::messaging;
using namespace ziyu::test;
using std::chrono::milliseconds;

namespace {

class KafkaConsumer : public kafka_group_test {};

} // namespace

TEST_P(KafkaConsumer, AnnouncesItsPartitionsBeforeTheirRecords) {
  cluster.create_topic("in", 2);
  produce(3, 0);
  produce(2, 1);
  auto x = join_last();
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

TEST_P(KafkaConsumer, ItsPollEndsWhenItIsWoken) {
  cluster.create_topic("in", 1);
  auto x = join_last();
  x.it->gate(true);
  const auto waker = std::async(std::launch::async, [&] { x.it->wake(); });
  // Events of the group end a poll, too, but there are few of them.
  for (auto i = 0; i < 1'000; ++i)
    if (std::holds_alternative<nothing>(x.it->poll(std::chrono::hours{1})))
      return;
  FAIL() << "only events ended it";
}

TEST_P(KafkaConsumer, GatedItBringsNoRecordAndFetchesNothingTwice) {
  cluster.create_topic("in", 1);
  produce(50);
  auto x = join_last();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 1; })); // the rest was prefetched
  x.it->gate(true);
  for (int i = 0; i < 20; ++i)
    x.step(milliseconds{5});
  EXPECT_EQ(x.records.size(), 1u);
  // Prefetched records are still here: they can be read without the broker.
  cluster.down();
  x.it->gate(false);
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 50; }));
  EXPECT_EQ(x.offsets(), range(0, 50)) << "each once, in order";
  cluster.up();
  produce(5);
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() >= 55; }));
  EXPECT_EQ(x.offsets(), range(0, 55));
}

TEST_P(KafkaConsumer, AHeldPartitionBringsNothingWhileOthersGoOn) {
  cluster.create_topic("in", 2);
  auto x = join_last();
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
  auto x = join_last();
  x.it->gate(true);
  ASSERT_TRUE(until({&x}, [&] { return x.owned.size() == 2; }));
  x.it->gate(false);
  for (int32_t p : {0, 1}) { // one record of each: the rest was prefetched
    x.it->hold({{"in", 1 - p}});
    ASSERT_TRUE(
      until({&x}, [&] { return !x.records.empty() && x.records.back().id.partition == p; }));
  }
  x.records.clear();
  x.it->hold({});
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 20; }));
  const auto first = std::count_if(x.records.begin(), x.records.end(),
                                   [](const auto& r) { return r.id.partition == 0; });
  EXPECT_EQ(first, 10);
}

TEST_P(KafkaConsumer, KnowsWhereItIsAndGoesBackWhenTold) {
  cluster.create_topic("in", 1);
  produce(10);
  auto x = join_last();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 10; }));
  EXPECT_EQ(x.it->view().at(0).log_end, -1) << "asked for by this call, told with the next one";
  std::vector<partition_view> views;
  ASSERT_TRUE(until({&x}, [&] {
    views = x.it->view();
    return views.size() == 1 && views[0].log_end >= 0;
  }));
  EXPECT_EQ(views[0].where, (topic_partition{"in", 0}));
  EXPECT_EQ(views[0].epoch, x.assigned[0].epoch);
  EXPECT_EQ(views[0].position, 10);
  EXPECT_EQ(views[0].log_end, 10);
  const auto sought = x.it->seek({"in", 0}, 7, group_patience);
  ASSERT_TRUE(sought) << sought.error().describe();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 13; }));
  EXPECT_EQ(x.records[10].id.offset, 7);
}

TEST_P(KafkaConsumer, KnowsThatAnEmptyPartitionHasNothingToBring) {
  cluster.create_topic("in", 1);
  auto x = join_last();
  EXPECT_TRUE(until({&x}, [&] {
    const auto views = x.it->view();
    return views.size() == 1 && views[0].known && views[0].position == 0;
  }));
}

TEST_P(KafkaConsumer, PausedItDropsWhatIsPrefetchedAndResumedItLosesNothing) {
  cluster.create_topic("in", 1);
  produce(50);
  auto x = join_last({{"statistics.interval.ms", "50"}});
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 5; }));
  x.it->gate(true);
  for (int round = 0; round < 50; ++round) { // until the statistics show the prefetched bytes
    for (int i = 0; i < 20; ++i)
      x.step(milliseconds{10});
    x.it->pause(true);
    if (x.it->refetched_bytes() > 0)
      break;
    x.it->pause(false);
  }
  ASSERT_GT(x.it->refetched_bytes(), 0u);
  for (int i = 0; i < 10; ++i)
    x.step(milliseconds{10});
  x.it->pause(false);
  x.it->gate(false);
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() >= 50; }));
  EXPECT_EQ(x.offsets(), range(0, 50));
}

TEST_P(KafkaConsumer, ABrokerThatIsAwayAtFirstIsWaitedFor) {
  cluster.create_topic("in", 1);
  produce(2);
  cluster.down();
  auto x = join_last();
  for (int i = 0; i < 20; ++i)
    x.step();
  EXPECT_TRUE(x.assigned.empty());
  cluster.up();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 2; }));
}

TEST_P(KafkaConsumer, OneAbsentBrokerOfSeveralIsNoFailure) {
  cluster.create_topic("in", 1);
  produce(2);
  closed_port nobody;
  auto x = join_last({{"bootstrap.servers", nobody.bootstrap() + "," + cluster.bootstrap()},
                      {"statistics.interval.ms", "3600000"}}); // none before the other is found
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 2; }));
  EXPECT_TRUE(x.failures.empty()) << x.failures[0].describe();
}

TEST_P(KafkaConsumer, APortAtWhichNobodyListensIsReported) {
  closed_port nobody;
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
  ASSERT_TRUE(x.it->commit(group_patience));
  cluster.down();
  for (int i = 0; i < 20; ++i)
    x.step();
  cluster.up();
  produce(5);
  // The session of the consumer may have ended meanwhile, so that it had to join again.
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
  auto x = join(); // its close may take as long as its session
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

INSTANTIATE_TEST_SUITE_P(Assignment, KafkaConsumer, every_assignor(), name_of_assignor);
