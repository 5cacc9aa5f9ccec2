#include "messaging/kafka_consumer.hpp"

#include "base/log.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace ziyu::messaging {

namespace {

using message_ptr = std::unique_ptr<rd_kafka_message_t, destroy_with<rd_kafka_message_destroy>>;

std::vector<topic_partition> to_vector(const rd_kafka_topic_partition_list_t& list) {
  std::vector<topic_partition> result;
  for (int i = 0; i < list.cnt; ++i)
    result.push_back({list.elems[i].topic, list.elems[i].partition});
  return result;
}

class kafka_consumer : public consumer {
public:
  explicit kafka_consumer(rd_kafka_t* client)
    : client_(client), control_(rd_kafka_queue_get_consumer(client)),
      records_(rd_kafka_queue_new(client)) {
    rd_kafka_poll_set_consumer(client);
  }

  ~kafka_consumer() override {
    if (!closed_)
      close(std::chrono::milliseconds{1000});
    revoking_.reset();
    records_.reset();
    control_.reset();
    // close() was given its time; what did not come back will not.
    rd_kafka_destroy_flags(client_, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
  }

  rd_kafka_resp_err_t subscribe(const std::vector<std::string>& topics) {
    partition_list_ptr list{rd_kafka_topic_partition_list_new(static_cast<int>(topics.size()))};
    for (const auto& x : topics)
      rd_kafka_topic_partition_list_add(list.get(), x.c_str(), RD_KAFKA_PARTITION_UA);
    return rd_kafka_subscribe(client_, list.get());
  }

  consumer_event poll(std::chrono::milliseconds limit) override {
    const auto wait_ms = static_cast<int>(limit.count());
    // Polling this queue is what keeps us in the group (max.poll.interval.ms).
    if (event_ptr event{rd_kafka_queue_poll(control_.get(), gated_ ? wait_ms : 0)})
      return on_event(*event);
    if (gated_)
      return nothing{};
    message_ptr message{rd_kafka_consume_queue(records_.get(), wait_ms)};
    if (!message)
      return nothing{};
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
      return consumer_failed{to_error(message->err, rd_kafka_message_errstr(message.get()))};
    auto i = epochs_.find({rd_kafka_topic_name(message->rkt), message->partition});
    if (i == epochs_.end())
      return nothing{}; // its partition has gone meanwhile
    return to_record(*message, i->second);
  }

  void gate(bool closed) override { gated_ = closed; }

  expected<void> store(const topic_partition& where, int64_t next) override {
    partition_list_ptr list{rd_kafka_topic_partition_list_new(1)};
    auto item = rd_kafka_topic_partition_list_add(list.get(), where.topic.c_str(), where.partition);
    item->offset = next;
    auto status = rd_kafka_offsets_store(client_, list.get());
    if (status == RD_KAFKA_RESP_ERR_NO_ERROR)
      status = item->err;
    if (status == RD_KAFKA_RESP_ERR_NO_ERROR)
      return {};
    if (status == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) // never ours so far
      status = RD_KAFKA_RESP_ERR__STATE;
    return tl::unexpected(to_error(status, "store"));
  }

  void finish_revoke() override {
    if (!revoking_)
      return;
    for (const auto& where : to_vector(*revoking_))
      epochs_.erase(where);
    // Both commit what was stored for these partitions before they give them up.
    if (cooperative()) {
      if (auto failure = rd_kafka_incremental_unassign(client_, revoking_.get())) {
        spdlog::warn("incremental_unassign: {}", rd_kafka_error_string(failure));
        rd_kafka_error_destroy(failure);
      }
    } else {
      rd_kafka_assign(client_, nullptr);
      epochs_.clear();
    }
    revoking_.reset();
  }

  expected<void> commit(std::chrono::milliseconds limit) override {
    // Not rd_kafka_commit: without a coordinator it waits as long as a session lasts.
    queue_ptr answer{rd_kafka_queue_new(client_)};
    auto status = rd_kafka_commit_queue(client_, nullptr, answer.get(), nullptr, nullptr);
    if (status == RD_KAFKA_RESP_ERR_NO_ERROR) {
      event_ptr event{rd_kafka_queue_poll(answer.get(), static_cast<int>(limit.count()))};
      status = event ? rd_kafka_event_error(event.get()) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    }
    if (status == RD_KAFKA_RESP_ERR_NO_ERROR || status == RD_KAFKA_RESP_ERR__NO_OFFSET)
      return {};
    return tl::unexpected(to_error(status, "commit"));
  }

  void close(std::chrono::milliseconds limit) override {
    closed_ = true;
    if (auto failure = rd_kafka_consumer_close_queue(client_, control_.get())) {
      rd_kafka_error_destroy(failure);
      return;
    }
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!rd_kafka_consumer_closed(client_) && std::chrono::steady_clock::now() < deadline) {
      event_ptr event{rd_kafka_queue_poll(control_.get(), 50)};
      if (event && rd_kafka_event_type(event.get()) == RD_KAFKA_EVENT_REBALANCE) {
        on_event(*event);
        finish_revoke();
      }
    }
    if (!rd_kafka_consumer_closed(client_))
      spdlog::warn("the consumer did not leave its group within {} ms", limit.count());
  }

private:
  bool cooperative() const {
    return std::string_view{rd_kafka_rebalance_protocol(client_)} == "COOPERATIVE";
  }

  consumer_event on_event(rd_kafka_event_t& event) {
    switch (rd_kafka_event_type(&event)) {
    case RD_KAFKA_EVENT_REBALANCE: return on_rebalance(event);
    case RD_KAFKA_EVENT_ERROR: return on_error(event);
    case RD_KAFKA_EVENT_STATS: return on_statistics(rd_kafka_event_stats(&event));
    default: return nothing{};
    }
  }

  consumer_event on_rebalance(rd_kafka_event_t& event) {
    auto list = rd_kafka_event_topic_partition_list(&event);
    const auto status = rd_kafka_event_error(&event);
    if (status != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
      // Also for errors: give up what there is, as the API asks.
      revoking_.reset(rd_kafka_topic_partition_list_copy(list));
      return partitions_revoked{epoch_, to_vector(*list), rd_kafka_assignment_lost(client_) != 0};
    }
    partitions_assigned news{++epoch_, to_vector(*list)};
    for (const auto& where : news.partitions) {
      epochs_[where] = epoch_;
      // Before the assignment, or records would leak into the consumer queue.
      // Gating is then not popping `records_`: nothing is fetched twice.
      queue_ptr queue{rd_kafka_queue_get_partition(client_, where.topic.c_str(), where.partition)};
      rd_kafka_queue_forward(queue.get(), records_.get());
    }
    if (cooperative()) {
      if (auto failure = rd_kafka_incremental_assign(client_, list)) {
        spdlog::warn("incremental_assign: {}", rd_kafka_error_string(failure));
        rd_kafka_error_destroy(failure);
      }
    } else {
      rd_kafka_assign(client_, list);
    }
    // A pause of an earlier assignment would survive.
    rd_kafka_resume_partitions(client_, list);
    return news;
  }

  consumer_event on_error(rd_kafka_event_t& event) {
    const auto status = rd_kafka_event_error(&event);
    const std::string text = rd_kafka_event_error_string(&event);
    if (status == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_event_error_is_fatal(&event))
      return consumer_failed{{errc::kafka_fatal, text}};
    if (status == RD_KAFKA_RESP_ERR__TRANSPORT || status == RD_KAFKA_RESP_ERR__RESOLVE) {
      connection_trouble_ = text; // one broker of perhaps many; the statistics tell
      return nothing{};
    }
    if (status == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
      down_ = true;
    if (status == RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED)
      spdlog::error("evicted from the consumer group: {}", text);
    return consumer_failed{to_error(status, text)};
  }

  /// Whether any broker can be reached: librdkafka has no event for the end of an
  /// outage, and for its beginning (ALL_BROKERS_DOWN) not in all of its versions.
  consumer_event on_statistics(const char* text) {
    const auto news = nlohmann::json::parse(text, nullptr, false);
    const auto brokers = news.find("brokers");
    if (brokers == news.end())
      return nothing{};
    const auto up = std::any_of(brokers->begin(), brokers->end(), [](const auto& x) {
      const auto state = x.value("state", "");
      return state == "UP" || state == "UPDATE";
    });
    if (up) {
      connection_trouble_.clear();
      if (std::exchange(down_, false))
        return consumer_recovered{};
    } else if (!connection_trouble_.empty()) {
      down_ = true;
      return consumer_failed{{errc::unavailable, "no broker is reachable: " + connection_trouble_}};
    }
    return nothing{};
  }

  rd_kafka_t* client_;
  queue_ptr control_, records_;
  partition_list_ptr revoking_;
  std::map<topic_partition, uint64_t> epochs_;
  uint64_t epoch_ = 0;
  std::string connection_trouble_; ///< The last since a broker was seen up.
  bool down_ = false;              ///< Told by `consumer_failed`: no broker is up.
  bool gated_ = false;
  bool closed_ = false;
};

} // namespace

expected<std::unique_ptr<consumer>> make_kafka_consumer(kafka_properties properties,
                                                        const std::vector<std::string>& topics) {
  properties["enable.auto.offset.store"] = "false";
  properties.insert({
    {"enable.auto.commit", "true"},
    {"auto.commit.interval.ms", "1000"},
    {"auto.offset.reset", "earliest"},
    {"client.id", "ziyu"},
    // Prefetched encoded images; the credit bounds what is beyond.
    {"queued.max.messages.kbytes", "16384"},
    // A topic that is created later is found within this.
    {"topic.metadata.refresh.interval.ms", "5000"},
    // Tell whether a broker is up.
    {"statistics.interval.ms", "1000"},
  });
  auto conf = make_conf(properties);
  if (!conf)
    return tl::unexpected(conf.error());
  rd_kafka_conf_set_events(conf->get(),
                           RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_STATS);
  char text[512];
  auto client = rd_kafka_new(RD_KAFKA_CONSUMER, conf->get(), text, sizeof text);
  if (client == nullptr)
    return fail(errc::invalid_config, std::string{"kafka consumer: "} + text);
  conf->release();
  auto result = std::make_unique<kafka_consumer>(client);
  if (auto status = result->subscribe(topics); status != RD_KAFKA_RESP_ERR_NO_ERROR)
    return tl::unexpected(to_error(status, "subscribe"));
  return result;
}

} // namespace ziyu::messaging
