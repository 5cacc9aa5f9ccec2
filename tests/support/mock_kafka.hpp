#pragma once

#include "messaging/kafka_producer.hpp"
#include "messaging/topic_reader.hpp"
#include "support/report_book.hpp"

#include <gtest/gtest.h>
#include <librdkafka/rdkafka_mock.h>

#include <string>
#include <vector>

namespace ziyu::test {

/// A Kafka broker inside the test: librdkafka's mock cluster. It has only the topics that were made
/// here, and forgets everything at the end.
class mock_kafka {
public:
  mock_kafka() {
    char text[512];
    auto* conf = rd_kafka_conf_new();
    // The client would log that it knows no broker: it will be one.
    rd_kafka_conf_set(conf, "log_level", "3", text, sizeof text);
    client_.reset(rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text));
    if (!client_)
      throw std::runtime_error(text);
    cluster_ = rd_kafka_mock_cluster_new(client_.get(), 1);
    if (cluster_ == nullptr)
      throw std::runtime_error("no mock cluster");
  }
  mock_kafka(const mock_kafka&) = delete;
  mock_kafka& operator=(const mock_kafka&) = delete;
  ~mock_kafka() { rd_kafka_mock_cluster_destroy(cluster_); }

  std::string bootstrap() const { return rd_kafka_mock_cluster_bootstraps(cluster_); }

  void make_topic(const std::string& name, int partitions = 1) {
    ASSERT_EQ(rd_kafka_mock_topic_create(cluster_, name.c_str(), partitions, 1),
              RD_KAFKA_RESP_ERR_NO_ERROR);
  }

  /// Writes records in their order, and waits until all are acknowledged.
  void produce(const std::vector<messaging::outgoing>& records) {
    report_book reports;
    auto out = messaging::make_kafka_producer(properties(), reports.handler());
    ASSERT_TRUE(out) << out.error().message;
    for (const auto& x : records)
      ASSERT_TRUE((*out)->produce(x));
    const auto found = reports.wait_for(records.size());
    ASSERT_EQ(found.size(), records.size());
    for (const auto& x : found)
      ASSERT_FALSE(x.failure) << x.failure->message;
  }

  void produce(const std::string& topic, const std::string& key, const std::string& value) {
    messaging::outgoing x;
    x.topic = topic;
    x.key = key;
    x.value = value;
    produce({x});
  }

  /// The first `count` records of a topic, of all partitions.
  std::vector<messaging::record> read(const std::string& topic, size_t count) {
    std::vector<messaging::record> result;
    auto reader = messaging::read_topic(
      properties(), topic, messaging::topic_reader::start::beginning, std::chrono::seconds{60});
    EXPECT_TRUE(reader);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{60};
    while (reader && result.size() < count && std::chrono::steady_clock::now() < deadline)
      if (auto next = (*reader)->next(std::chrono::milliseconds{100}); next && *next)
        result.push_back(std::move(**next));
    return result;
  }

  messaging::kafka_properties properties() const { return {{"bootstrap.servers", bootstrap()}}; }

private:
  messaging::kafka_ptr client_;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
};

} // namespace ziyu::test
