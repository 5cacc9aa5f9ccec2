#include "messaging/kafka_transactional_producer.hpp"

#include "messaging/kafka_membership.hpp"
#include "support/mock_cluster.hpp"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

using namespace ziyu;
using namespace ziyu::messaging;
using namespace std::chrono_literals;

namespace {

constexpr int32_t first = 1, second = 2;

constexpr auto patience = 30s;

class KafkaTransactions : public ::testing::Test {
protected:
  /// @param limit Of each step: longer than a standstill of a loaded machine.
  explicit KafkaTransactions(std::chrono::milliseconds limit = 20s) {
    for (const auto* topic : {"jobs", "results"}) {
      cluster.create_topic(topic, 1);
      cluster.set_leader(topic, 0, first);
    }
    cluster.set_coordinator("transaction", "ours", first);
    cluster.set_coordinator("group", "workers", second);
    auto properties = cluster.properties();
    properties["transactional.id"] = "ours";
    auto made = make_kafka_transactional_producer(properties, {"workers", limit, {}},
                                                  [this](transaction_report x) {
                                                    std::lock_guard guard{mutex};
                                                    reports.push_back(std::move(x));
                                                    changed.notify_all();
                                                  });
    producer = std::move(*made);
    properties = cluster.properties();
    properties.insert({{"group.id", "workers"}, {"session.timeout.ms", "30000"}});
    auto conf = make_conf(properties);
    char text[512];
    member.reset(rd_kafka_new(RD_KAFKA_CONSUMER, conf->release(), text, sizeof text));
    rd_kafka_poll_set_consumer(member.get());
    partition_list_ptr list{rd_kafka_topic_partition_list_new(1)};
    rd_kafka_topic_partition_list_add(list.get(), "jobs", RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(member.get(), list.get());
  }

  std::shared_ptr<const group_membership> joined() {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < deadline) {
      if (auto message = rd_kafka_consumer_poll(member.get(), 50))
        rd_kafka_message_destroy(message);
      if (auto who = membership_of(member.get()))
        return who;
    }
    return nullptr;
  }

  /// One transaction to its end.
  std::optional<transaction_report> run(const std::shared_ptr<const group_membership>& who) {
    transaction x;
    x.id = ++number;
    x.records.push_back({"results", "key", "value", {}, 0, {}});
    x.offsets.push_back({{"jobs", 0}, static_cast<int64_t>(number), ""});
    x.member = who;
    if (auto ok = producer->submit(std::move(x)); !ok)
      return std::nullopt;
    std::unique_lock guard{mutex};
    const auto here = [this] { return !reports.empty() && reports.back().id == number; };
    if (!changed.wait_for(guard, patience, here))
      return std::nullopt;
    return reports.back();
  }

  /// …and again when it was aborted: its coordinator had just come back, or this machine was slow.
  std::optional<transaction_report> run_until_committed(
    const std::shared_ptr<const group_membership>& who) {
    auto report = run(who);
    for (auto i = 0; i < 10 && report && report->end != transaction_end::committed; ++i)
      report = run(who);
    return report;
  }

  test::mock_cluster cluster{2};
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<transaction_report> reports;
  uint64_t number = 0;
  kafka_ptr member;
  std::unique_ptr<transactional_producer> producer;
};

/// Tests that wait until a step has taken too long.
class LostCoordinator : public KafkaTransactions {
protected:
  LostCoordinator() : KafkaTransactions(2s) {}
};

} // namespace

TEST_F(KafkaTransactions, NobodyWhoIsNoMemberHasAMembership) {
  EXPECT_EQ(membership_of(member.get()), nullptr) << "it has not joined yet";
}

#if RD_KAFKA_VERSION >= 0x02060000
TEST_F(LostCoordinator, ARecordThatMayArriveLateMeetsAnotherEpoch) {
  cluster.set_coordinator("transaction", "ours", second);
  const auto who = joined();
  ASSERT_TRUE(who);
  auto report = run_until_committed(who);
  ASSERT_TRUE(report);
  ASSERT_EQ(report->end, transaction_end::committed) << report->reason.describe();
  const auto before = cluster.requests(test::api_init_producer_id);
  const auto ended = cluster.requests(test::api_end_transaction);
  cluster.slow(first, 10s);
  report = run(who);
  ASSERT_TRUE(report);
  ASSERT_EQ(report->end, transaction_end::aborted);
  EXPECT_EQ(cluster.requests(test::api_end_transaction), ended)
    << "of the same epoch as the late record";
  cluster.slow(first, 0s);
  report = run_until_committed(who);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->end, transaction_end::committed) << report->reason.describe();
  EXPECT_GT(cluster.requests(test::api_init_producer_id), before);
}
#endif

TEST_F(KafkaTransactions, CommitsWithoutMapsWhenTheBrokerTakesLessMetadata) {
  const auto who = joined();
  ASSERT_TRUE(who);
  auto report = run(who);
  ASSERT_TRUE(report);
  ASSERT_EQ(report->end, transaction_end::committed) << report->reason.describe();
  EXPECT_FALSE(report->without_maps);
  cluster.fail_next(test::api_commit_offsets_of_transaction,
                    {RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE});
  report = run(who);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->end, transaction_end::committed) << report->reason.describe();
  EXPECT_TRUE(report->without_maps);
}

TEST_F(LostCoordinator, ATransactionEndsWithinItsTimeAndTheNextOneIsCommitted) {
  const auto who = joined();
  ASSERT_TRUE(who);
  auto report = run_until_committed(who);
  ASSERT_TRUE(report);
  ASSERT_EQ(report->end, transaction_end::committed) << report->reason.describe();
  cluster.down(second);
  report = run(who);
  ASSERT_TRUE(report) << "it waits for the coordinator for ever";
  EXPECT_EQ(report->end, transaction_end::aborted);
  cluster.up(second);
  report = run_until_committed(who);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->end, transaction_end::committed) << report->reason.describe();
}
