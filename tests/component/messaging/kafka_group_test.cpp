#include "support/kafka_group.hpp"

#include <gtest/gtest.h>

#include <algorithm>

using namespace ziyu;
using namespace ziyu::messaging;
using namespace ziyu::test;
using std::chrono::milliseconds;

namespace {

class KafkaGroup : public kafka_group_test {};

/// The offsets of one partition that any of `members` got, ascending.
std::vector<int64_t> offsets_of(int32_t partition, std::initializer_list<const member*> members) {
  std::vector<int64_t> result;
  for (const auto* x : members)
    for (const auto& each : x->records)
      if (each.id.partition == partition)
        result.push_back(each.id.offset);
  std::sort(result.begin(), result.end());
  return result;
}

/// Whether the only partition has been assigned to one of them.
bool share_one(const member& x, const member& y) {
  return !y.assigned.empty() && x.owned.size() + y.owned.size() == 1;
}

/// Stops reading, and commits its position in all partitions that it owns.
void stop_and_commit(member& x) {
  x.it->gate(true);
  std::map<topic_partition, int64_t> next;
  for (const auto& each : x.records)
    next[each.id.where()] = each.id.offset + 1;
  for (const auto& [where, offset] : next) {
    if (x.owned.contains(where)) {
      EXPECT_TRUE(x.it->store(where, offset));
    }
  }
  EXPECT_TRUE(x.it->commit(group_patience)); // the mock takes none during a rebalance
}

} // namespace

TEST_P(KafkaGroup, GatedItStillHearsOfRebalances) {
  cluster.create_topic("in", 2);
  auto x = join();
  x.it->gate(true);
  ASSERT_TRUE(until({&x}, [&] { return x.owned.size() == 2; }));
  auto y = join();
  ASSERT_TRUE(until({&x, &y}, [&] { return x.owned.size() == 1 && y.owned.size() == 1; }));
  EXPECT_FALSE(x.revoked.empty());
}

TEST_P(KafkaGroup, ARevocationWaitsForItsAnswer) {
  cluster.create_topic("in", 2);
  produce(10, 0);
  produce(10, 1);
  auto x = join(patient);
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 20; }));
  x.answer_revocations = false;
  auto y = join(patient);
  ASSERT_TRUE(until({&x, &y}, [&] { return !x.revoked.empty(); }));
  EXPECT_FALSE(x.revoked[0].lost);
  EXPECT_EQ(x.revoked[0].epoch, x.assigned[0].epoch);
  for (int i = 0; i < 20; ++i) {
    x.step();
    y.step();
  }
  EXPECT_TRUE(y.owned.empty()) << "they are not given away before the answer";
  // Work that is finished meanwhile still counts.
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

TEST_P(KafkaGroup, APauseOutlastsARebalanceAndStrandsNoRecord) {
  cluster.create_topic("in", 2);
  produce(30, 0);
  produce(30, 1);
  auto often = patient;
  often["statistics.interval.ms"] = "50"; // repeats what was ordered
  auto x = join(often);
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 10; }));
  stop_and_commit(x);
  x.it->pause(true);
  auto y = join(often);
  ASSERT_TRUE(until({&x, &y}, [&] { return x.owned.size() == 1 && y.owned.size() == 1; }));
  ASSERT_TRUE(until({&x, &y}, [&] { return y.records.size() == 10; })) << "it is not paused";
  stop_and_commit(y);
  y.it->close(group_patience);
  ASSERT_TRUE(until({&x}, [&] { return x.owned.size() == 2; }));
  x.it->gate(false);
  for (int i = 0; i < 50; ++i)
    x.step();
  EXPECT_EQ(x.records.size(), 10u) << "the pause holds for what is new, too";
  x.it->pause(false);
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() + y.records.size() >= 60; }))
    << x.records.size() << " of 50";
  for (int i = 0; i < 20; ++i)
    x.step();
  for (int32_t partition : {0, 1})
    EXPECT_EQ(offsets_of(partition, {&x, &y}), range(0, 30)) << partition;
}

TEST_P(KafkaGroup, ClosingLeavesTheGroup) {
  cluster.create_topic("in", 2);
  auto x = join();
  ASSERT_TRUE(until({&x}, [&] { return x.owned.size() == 2; }));
  auto y = join();
  ASSERT_TRUE(until({&x, &y}, [&] { return x.owned.size() == 1 && y.owned.size() == 1; }));
  x.it->close(group_patience);
#if RD_KAFKA_VERSION >= 0x02060000
  EXPECT_EQ(cluster.requests(api_leave_group), 1u);
#endif
  ASSERT_TRUE(until({&y}, [&] { return y.owned.size() == 2; }));
}

#if RD_KAFKA_VERSION >= 0x02060000
TEST_P(KafkaGroup, WhoHasNoPartitionsLeavesTheGroupToo) {
  cluster.create_topic("in", 1);
  auto x = join();
  ASSERT_TRUE(until({&x}, [&] { return x.owned.size() == 1; }));
  auto y = join();
  ASSERT_TRUE(until({&x, &y}, [&] { return share_one(x, y); }));
  (x.owned.empty() ? x : y).it->close(group_patience);
  EXPECT_EQ(cluster.requests(api_leave_group), 1u);
}

TEST_P(KafkaGroup, AStaticMemberKeepsItsPlaceAlsoWithoutPartitions) {
  cluster.create_topic("in", 1);
  auto x = join({{"group.instance.id", "a"}});
  ASSERT_TRUE(until({&x}, [&] { return x.owned.size() == 1; }));
  auto y = join({{"group.instance.id", "b"}});
  ASSERT_TRUE(until({&x, &y}, [&] { return share_one(x, y); }));
  y.it->close(group_patience);
  x.it->close(group_patience);
  EXPECT_EQ(cluster.requests(api_leave_group), 0u);
}
#endif

TEST_P(KafkaGroup, ClosingAmidARebalanceEnds) {
  cluster.create_topic("in", 2);
  for (int round = 0; round < 8; ++round) {
    auto x = join({{"session.timeout.ms", "300"}});
    ASSERT_TRUE(until({&x}, [&] { return x.owned.size() == 2; }));
    auto y = join({{"session.timeout.ms", "300"}});
    ASSERT_TRUE(until({&x, &y}, [&] { return x.owned.size() < 2; }));
    // At another point of the rebalance each time; its requests stay unanswered.
    for (int i = 0; i < round; ++i) {
      x.step(milliseconds{1});
      y.step(milliseconds{1});
    }
    for (auto closing : {&y, &x}) {
      const auto begin = std::chrono::steady_clock::now();
      closing->it->close(group_patience);
      EXPECT_LT(std::chrono::steady_clock::now() - begin, group_patience);
    }
  }
}

TEST_P(KafkaGroup, AnEvictedMemberLosesItsPartitionsAndReturns) {
  cluster.create_topic("in", 1);
  produce(3);
  auto x = join();
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 3; }));
  cluster.fail_next(api_heartbeat, {RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID});
  ASSERT_TRUE(until({&x}, [&] { return x.assigned.size() == 2; }));
  ASSERT_EQ(x.revoked.size(), 1u);
  EXPECT_TRUE(x.revoked[0].lost);
  EXPECT_GT(x.assigned[1].epoch, x.assigned[0].epoch);
  ASSERT_TRUE(until({&x}, [&] { return x.records.size() == 6; })) << "nothing was stored";
  EXPECT_EQ(x.records[5].epoch, x.assigned[1].epoch);
}

TEST_P(KafkaGroup, AFreshConsumerDoesNotUseTheEpochsOfTheLastOne) {
  cluster.create_topic("in", 1);
  auto x = join();
  ASSERT_TRUE(until({&x}, [&] { return x.owned.size() == 1; }));
  x.it->close(group_patience);
  auto y = join();
  ASSERT_TRUE(until({&y}, [&] { return y.owned.size() == 1; }));
  EXPECT_GT(y.assigned[0].epoch, x.assigned[0].epoch);
}

INSTANTIATE_TEST_SUITE_P(Assignment, KafkaGroup, every_assignor(), name_of_assignor);
