#pragma once

#include "messaging/kafka_consumer.hpp"
#include "support/mock_cluster.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <map>

namespace ziyu::test {

inline constexpr std::chrono::milliseconds group_patience{120'000};

/// A session that outlasts a short standstill of this machine: the mock evicts a member that was
/// silent for longer. But whenever a member joins or leaves, all wait for a second less than it.
inline const messaging::kafka_properties patient{{"session.timeout.ms", "4000"}};

/// A member of the group and what it was told.
struct member {
  std::unique_ptr<messaging::consumer> it;
  bool answer_revocations = true;
  std::vector<messaging::record> records;
  std::vector<messaging::partitions_assigned> assigned;
  std::vector<messaging::partitions_revoked> revoked;
  std::vector<messaging::offsets_committed::item> committed;
  std::vector<error> failures;
  std::map<messaging::topic_partition, uint64_t> owned; ///< With their epochs.

  void step(std::chrono::milliseconds limit = std::chrono::milliseconds{10}) {
    auto event = it->poll(limit);
    if (auto x = std::get_if<messaging::record>(&event)) {
      records.push_back(std::move(*x));
    } else if (auto news = std::get_if<messaging::partitions_assigned>(&event)) {
      for (const auto& where : news->partitions)
        owned[where] = news->epoch;
      assigned.push_back(std::move(*news));
    } else if (auto going = std::get_if<messaging::partitions_revoked>(&event)) {
      for (const auto& where : going->partitions)
        owned.erase(where);
      revoked.push_back(std::move(*going));
      if (answer_revocations)
        it->finish_revoke();
    } else if (auto answers = std::get_if<messaging::offsets_committed>(&event)) {
      committed.insert(committed.end(), answers->items.begin(), answers->items.end());
    } else if (auto trouble = std::get_if<messaging::consumer_failed>(&event)) {
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
inline bool until(std::vector<member*> members, const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + group_patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline)
      return false;
    for (auto x : members)
      x->step();
  }
  return true;
}

inline std::vector<int64_t> range(int64_t from, int64_t to) {
  std::vector<int64_t> result;
  for (; from < to; ++from)
    result.push_back(from);
  return result;
}

/// A mock cluster, and members of a group on its topic "in" which use the assignors that the
/// parameter names.
class kafka_group_test : public ::testing::TestWithParam<const char*> {
protected:
  explicit kafka_group_test(int brokers = 1) : cluster(brokers) {}

  messaging::kafka_properties properties(const messaging::kafka_properties& more = {}) const {
    auto x = cluster.properties();
    x["group.id"] = "workers";
    x["partition.assignment.strategy"] = GetParam();
    x["heartbeat.interval.ms"] = "50";
    x["fetch.wait.max.ms"] = "50";
    x["topic.metadata.refresh.interval.ms"] = "100";
    x["auto.commit.interval.ms"] = "3600000"; // no commit below happens by this interval
    x["session.timeout.ms"] = "2000";         // the mock waits so long for members to join
    x["max.poll.interval.ms"] = "4000";       // a join that the mock forgets is tried again
    for (const auto& [name, value] : more)
      x[name] = value;
    return x;
  }

  member join(const messaging::kafka_properties& more = {}) const {
    member result;
    auto x = messaging::make_kafka_consumer(properties(more), {"in"});
    EXPECT_TRUE(x) << x.error().describe();
    result.it = std::move(*x);
    return result;
  }

  /// No member joins or leaves after it, so that none waits for its session, however long that is.
  member join_last(messaging::kafka_properties more = {}) const {
    more["session.timeout.ms"] = "20000";
    more["max.poll.interval.ms"] = "60000";
    return join(more);
  }

  /// Puts `count` records into one partition, in one batch.
  void produce(int count, int32_t partition = 0) {
    char text[512];
    auto conf = messaging::make_conf(cluster.properties());
    ASSERT_TRUE(conf);
    rd_kafka_conf_set((*conf).get(), "linger.ms", "5000", text, sizeof text);
    messaging::kafka_ptr client{
      rd_kafka_new(RD_KAFKA_PRODUCER, conf->release(), text, sizeof text)};
    ASSERT_TRUE(client) << text;
    // What is produced before the leader is known is handed over to it one by one when it is, and
    // the flush would send the first few in a batch of their own.
    const std::unique_ptr<rd_kafka_topic_t, decltype(&rd_kafka_topic_destroy)> topic{
      rd_kafka_topic_new(client.get(), "in", nullptr), &rd_kafka_topic_destroy};
    const rd_kafka_metadata_t* metadata = nullptr;
    ASSERT_EQ(rd_kafka_metadata(client.get(), 0, topic.get(), &metadata,
                                static_cast<int>(group_patience.count())),
              RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_metadata_destroy(metadata);
    for (int i = 0; i < count; ++i)
      ASSERT_EQ(rd_kafka_producev(client.get(), RD_KAFKA_V_TOPIC("in"),
                                  RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_KEY("key", 3),
                                  RD_KAFKA_V_VALUE(const_cast<char*>("value"), 5),
                                  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                RD_KAFKA_RESP_ERR_NO_ERROR);
    ASSERT_EQ(rd_kafka_flush(client.get(), static_cast<int>(group_patience.count())),
              RD_KAFKA_RESP_ERR_NO_ERROR);
  }

  mock_cluster cluster;
};

/// The assignors that a group may use: parameters of the tests, and their names.
inline auto every_assignor() { return ::testing::Values("range,roundrobin", "cooperative-sticky"); }
inline std::string name_of_assignor(const ::testing::TestParamInfo<const char*>& x) {
  return x.param == std::string{"cooperative-sticky"} ? "Cooperative" : "Eager";
}

} // namespace ziyu::test
