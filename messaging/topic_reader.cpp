#include "messaging/topic_reader.hpp"

#include "base/log.hpp"
#include "messaging/topic_access.hpp"

#include <algorithm>
#include <map>
#include <thread>

namespace ziyu::messaging {

namespace {

using message_ptr = std::unique_ptr<rd_kafka_message_t, destroy_with<rd_kafka_message_destroy>>;

class kafka_topic_reader : public topic_reader {
public:
  kafka_topic_reader(kafka_ptr client, size_t partitions)
    : client_(std::move(client)), partitions_(partitions) {
    rd_kafka_poll_set_consumer(client_.get());
  }

  ~kafka_topic_reader() override { rd_kafka_consumer_close(client_.get()); }

  expected<std::optional<record>> next(std::chrono::milliseconds limit) override {
    message_ptr message{rd_kafka_consumer_poll(client_.get(), static_cast<int>(limit.count()))};
    if (!message)
      return std::optional<record>{};
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      partition_of(*message).at = place::within;
      return std::optional{to_record(*message, 0)};
    }
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      // A reader of committed records gets an end-of-partition event already at an open
      // transaction.
      auto& x = partition_of(*message);
      x.at = message->offset >= x.end ? place::end : place::transaction;
      return std::optional<record>{};
    }
    if (message->err == RD_KAFKA_RESP_ERR__FATAL)
      return tl::unexpected(to_error(message->err, rd_kafka_message_errstr(message.get())));
    if (message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED && message->rkt != nullptr) {
      topic_access forbidden;
      forbidden.may_read = false;
      return tl::unexpected(*forbidden.unreadable(rd_kafka_topic_name(message->rkt)));
    }
    spdlog::debug("reader: {}", rd_kafka_message_errstr(message.get()));
    return std::optional<record>{};
  }

  bool at_end() const override {
    return known_.size() == partitions_
           && std::all_of(known_.begin(), known_.end(),
                          [](const auto& x) { return x.second.at == place::end; });
  }

  bool awaits_transaction() const override {
    return std::any_of(known_.begin(), known_.end(),
                       [](const auto& x) { return x.second.at == place::transaction; });
  }

private:
  enum class place : uint8_t { within, transaction, end };
  struct partition {
    int64_t end = 0; ///< End of its log, committed or not, when it was first known.
    place at = place::within;
  };

  partition& partition_of(const rd_kafka_message_t& message) {
    const auto [i, is_new] = known_.try_emplace(message.partition);
    if (is_new) {
      // As the last fetch said. A broker's own answer to such a reader is only where the first open
      // transaction begins.
      int64_t low = 0;
      rd_kafka_get_watermark_offsets(client_.get(), rd_kafka_topic_name(message.rkt),
                                     message.partition, &low, &i->second.end);
    }
    return i->second;
  }

  kafka_ptr client_;
  size_t partitions_;
  std::map<int32_t, partition> known_; ///< Partitions of which any event has come.
};

/// Trouble that passes by itself: not every broker knows a new topic or a moved leader at
/// once.
bool is_transient(rd_kafka_resp_err_t x) {
  return x == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION
         || x == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
         || x == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
         || x == RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH
         || x == RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH
         || x == RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE || x == RD_KAFKA_RESP_ERR__TRANSPORT;
}

/// Where a partition ends now; asked again until `deadline` while the trouble may pass.
expected<int64_t> end_of(rd_kafka_t* client, const std::string& topic, int32_t partition,
                         std::chrono::steady_clock::time_point deadline) {
  constexpr std::chrono::milliseconds pause{100};
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
    int64_t low = 0, high = 0;
    const auto status = rd_kafka_query_watermark_offsets(
      client, topic.c_str(), partition, &low, &high,
      static_cast<int>(std::max<int64_t>(left.count(), 1)));
    if (status == RD_KAFKA_RESP_ERR_NO_ERROR)
      return high;
    if (!is_transient(status) || left <= pause)
      return tl::unexpected(to_error(status, "end of " + topic));
    std::this_thread::sleep_for(pause);
  }
}

/// Why the broker's list of topics does not have this one. It is asked only for what it says beside
/// that, so not for long.
error not_listed(const kafka_properties& properties, const std::string& topic) {
  const auto said = describe_topics(properties, {topic}, std::chrono::seconds{5});
  if (said && said->at(topic).trouble && said->at(topic).trouble->code != errc::unavailable)
    return *said->at(topic).trouble;
  return {errc::unavailable,
          "topic " + topic + " does not exist on " + properties.at("bootstrap.servers")};
}

} // namespace

expected<std::unique_ptr<topic_reader>> read_topic(kafka_properties properties,
                                                   const std::string& topic,
                                                   topic_reader::start from,
                                                   std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  auto known = read_metadata(properties, limit);
  if (!known)
    return tl::unexpected(known.error());
  const auto found = known->find(topic);
  if (found == nullptr)
    return tl::unexpected(not_listed(properties, topic));
  // Partitions are assigned by hand: the group's name is never sent to the broker.
  properties["group.id"] = "ziyu-reader";
  properties["enable.auto.commit"] = "false";
  properties["enable.partition.eof"] = "true";
  properties.insert({{"client.id", "ziyu-reader"}, {"fetch.wait.max.ms", "50"}});
  auto conf = make_conf(properties);
  if (!conf)
    return tl::unexpected(conf.error());
  char text[512];
  kafka_ptr client{rd_kafka_new(RD_KAFKA_CONSUMER, conf->get(), text, sizeof text)};
  if (!client)
    return fail(errc::invalid_config, std::string{"kafka: "} + text);
  conf->release();
  {
    partition_list_ptr list{rd_kafka_topic_partition_list_new(found->partitions)};
    for (int32_t i = 0; i < found->partitions; ++i) {
      auto item = rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), i);
      item->offset = RD_KAFKA_OFFSET_BEGINNING;
      if (from == topic_reader::start::end) {
        // The end of the readable records now, not at some later moment when fetching
        // begins.
        const auto end = end_of(client.get(), topic, i, deadline);
        if (!end)
          return tl::unexpected(end.error());
        item->offset = *end;
      }
    }
    if (auto status = rd_kafka_assign(client.get(), list.get());
        status != RD_KAFKA_RESP_ERR_NO_ERROR)
      return tl::unexpected(to_error(status, "assign"));
  }
  return std::make_unique<kafka_topic_reader>(std::move(client),
                                              static_cast<size_t>(found->partitions));
}

} // namespace ziyu::messaging
