#pragma once

#include "messaging/kafka_client.hpp"

#include <librdkafka/rdkafka_mock.h>

#include <stdexcept>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ziyu::test {

/// Request types of the Kafka protocol, for `mock_cluster::fail_next`.
enum api_key : int16_t {
  api_produce = 0,
  api_fetch = 1,
  api_offset_commit = 8,
  api_heartbeat = 12,
  api_leave_group = 13,
  api_init_producer_id = 22,
  api_end_transaction = 26,
  api_commit_offsets_of_transaction = 28,
};

/// librdkafka's mock of a Kafka cluster with one broker or more, on free ports of this process. It
/// supports producing, consuming and groups, creates the topics that a producer names, and has no
/// administration. Ends with this object.
class mock_cluster {
public:
  explicit mock_cluster(int brokers = 1) {
    char text[512];
    auto conf = rd_kafka_conf_new();
    // A client that connects to no broker would log that.
    rd_kafka_conf_set(conf, "log_level", "0", text, sizeof text);
    client_.reset(rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text));
    if (!client_)
      throw std::runtime_error{text};
    cluster_ = rd_kafka_mock_cluster_new(client_.get(), brokers);
    if (cluster_ == nullptr)
      throw std::runtime_error{"no mock cluster"};
#if RD_KAFKA_VERSION >= 0x02060000
    rd_kafka_mock_group_initial_rebalance_delay_ms(cluster_, 0);
    rd_kafka_mock_start_request_tracking(cluster_);
#endif
  }

  ~mock_cluster() { rd_kafka_mock_cluster_destroy(cluster_); }
  mock_cluster(const mock_cluster&) = delete;
  mock_cluster& operator=(const mock_cluster&) = delete;

  /// Sets the coordinator of a "group" or "transaction" of this name.
  void set_coordinator(const char* kind, const std::string& name, int32_t broker) {
    need(rd_kafka_mock_coordinator_set(cluster_, kind, name.c_str(), broker));
  }
  void set_leader(const std::string& topic, int32_t partition, int32_t broker) {
    need(rd_kafka_mock_partition_set_leader(cluster_, topic.c_str(), partition, broker));
  }

  std::string bootstrap() const { return rd_kafka_mock_cluster_bootstraps(cluster_); }

  /// Properties to reach it, and to notice soon that it is back.
  messaging::kafka_properties properties() const {
    return {{"bootstrap.servers", bootstrap()},
            {"reconnect.backoff.ms", "20"},
            {"reconnect.backoff.max.ms", "100"},
            {"retry.backoff.ms", "20"}};
  }

  void create_topic(const std::string& name, int partitions) {
    need(rd_kafka_mock_topic_create(cluster_, name.c_str(), partitions, 1));
  }

  /// Connections are cut and refused until it is up again; its data stays.
  void down(int32_t broker = 1) { need(rd_kafka_mock_broker_set_down(cluster_, broker)); }
  void up(int32_t broker = 1) { need(rd_kafka_mock_broker_set_up(cluster_, broker)); }

  /// Answers are delayed by so long.
  void slow(int32_t broker, std::chrono::milliseconds x) {
    need(rd_kafka_mock_broker_set_rtt(cluster_, broker, static_cast<int>(x.count())));
  }

  /// The next requests of this type are answered by these errors.
  void fail_next(api_key type, const std::vector<rd_kafka_resp_err_t>& errors) {
    rd_kafka_mock_push_request_errors_array(cluster_, type, errors.size(), errors.data());
  }

#if RD_KAFKA_VERSION >= 0x02060000
  /// The number of requests of this type so far.
  size_t requests(api_key type) {
    size_t all = 0, result = 0;
    auto list = rd_kafka_mock_get_requests(cluster_, &all);
    for (size_t i = 0; i < all; ++i)
      result += rd_kafka_mock_request_api_key(list[i]) == type;
    rd_kafka_mock_request_destroy_array(list, all);
    return result;
  }
#endif

private:
  static void need(rd_kafka_resp_err_t status) {
    if (status != RD_KAFKA_RESP_ERR_NO_ERROR)
      throw std::runtime_error{rd_kafka_err2str(status)};
  }

  messaging::kafka_ptr client_;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
};

/// A port of 127.0.0.1 that is reserved and has no listener.
class closed_port {
public:
  closed_port() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) != 0
        || ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::runtime_error{"no free port"};
    bootstrap_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }

  ~closed_port() { ::close(fd_); }
  closed_port(const closed_port&) = delete;
  closed_port& operator=(const closed_port&) = delete;

  const std::string& bootstrap() const { return bootstrap_; }

private:
  int fd_;
  std::string bootstrap_;
};

} // namespace ziyu::test
