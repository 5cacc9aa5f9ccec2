#include "messaging/kafka_transactional_producer.hpp"

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

class LostCoordinator : public ::testing::Test {
protected:
  LostCoordinator() {
    for (const auto* topic : {"jobs", "results"}) {
      cluster_.create_topic(topic, 1);
      cluster_.set_leader(topic, 0, first);
    }
    cluster_.set_coordinator("transaction", "ours", first);
    cluster_.set_coordinator("group", "workers", second);
    auto properties = cluster_.properties();
    properties["transactional.id"] = "ours";
    auto made = make_kafka_transactional_producer(properties, {"workers", 2'000ms, {}},
                                                  [this](transaction_report x) {
                                                    std::lock_guard guard{mutex_};
                                                    reports_.push_back(std::move(x));
                                                    changed_.notify_all();
                                                  });
    producer_ = std::move(*made);
    properties = cluster_.properties();
    properties.insert({{"group.id", "workers"}, {"session.timeout.ms", "30000"}});
    auto conf = make_conf(properties);
    char text[512];
    member_.reset(rd_kafka_new(RD_KAFKA_CONSUMER, conf->release(), text, sizeof text));
    rd_kafka_poll_set_consumer(member_.get());
    partition_list_ptr list{rd_kafka_topic_partition_list_new(1)};
    rd_kafka_topic_partition_list_add(list.get(), "jobs", RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(member_.get(), list.get());
  }

  std::shared_ptr<const group_membership> joined() {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < deadline) {
      if (auto message = rd_kafka_consumer_poll(member_.get(), 50))
        rd_kafka_message_destroy(message);
      if (auto who = membership_of(member_.get()))
        return who;
    }
    return nullptr;
  }

  /// One transaction to its end.
  std::optional<transaction_report> run(const std::shared_ptr<const group_membership>& who) {
    transaction x;
    x.id = ++number_;
    x.records.push_back({"results", "key", "value", {}, 0, {}});
    x.offsets.push_back({{"jobs", 0}, static_cast<int64_t>(number_), ""});
    x.member = who;
    if (auto ok = producer_->submit(std::move(x)); !ok)
      return std::nullopt;
    std::unique_lock guard{mutex_};
    const auto here = [this] { return !reports_.empty() && reports_.back().id == number_; };
    if (!changed_.wait_for(guard, patience, here))
      return std::nullopt;
    return reports_.back();
  }

  test::mock_cluster cluster_{2};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<transaction_report> reports_;
  uint64_t number_ = 0;
  kafka_ptr member_;
  std::unique_ptr<transactional_producer> producer_;
};

} // namespace

TEST_F(LostCoordinator, NobodyWhoIsNoMemberHasAMembership) {
  EXPECT_EQ(membership_of(member_.get()), nullptr) << "it has not joined yet";
}

TEST_F(LostCoordinator, ATransactionEndsWithinItsTimeAndTheNextOneIsCommitted) {
  const auto who = joined();
  ASSERT_TRUE(who);
  auto report = run(who);
  ASSERT_TRUE(report);
  ASSERT_EQ(report->end, transaction_end::committed) << report->reason.describe();
  cluster_.down(second);
  report = run(who);
  ASSERT_TRUE(report) << "it waits for the coordinator for ever";
  EXPECT_EQ(report->end, transaction_end::aborted);
  cluster_.up(second);
  for (auto i = 0; i < 10 && report && report->end != transaction_end::committed; ++i)
    report = run(who);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->end, transaction_end::committed) << report->reason.describe();
}
