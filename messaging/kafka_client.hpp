#pragma once

// What all Kafka clients share: handles, configuration, metadata.

#include "base/error.hpp"
#include "messaging/producer.hpp"

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <map>
#include <memory>
#include <vector>

namespace ziyu::messaging {

/// librdkafka properties by name.
using kafka_properties = std::map<std::string, std::string>;

template <auto Destroy>
struct destroy_with {
  template <class T>
  void operator()(T* x) const {
    Destroy(x);
  }
};

using conf_ptr = std::unique_ptr<rd_kafka_conf_t, destroy_with<rd_kafka_conf_destroy>>;
using kafka_ptr = std::unique_ptr<rd_kafka_t, destroy_with<rd_kafka_destroy>>;
using queue_ptr = std::unique_ptr<rd_kafka_queue_t, destroy_with<rd_kafka_queue_destroy>>;
using event_ptr = std::unique_ptr<rd_kafka_event_t, destroy_with<rd_kafka_event_destroy>>;
using error_ptr = std::unique_ptr<rd_kafka_error_t, destroy_with<rd_kafka_error_destroy>>;
/// Must not outlive the client it was used with: it holds references to partitions, and
/// rd_kafka_destroy waits for those.
using partition_list_ptr = std::unique_ptr<rd_kafka_topic_partition_list_t,
                                           destroy_with<rd_kafka_topic_partition_list_destroy>>;

/// A configuration from `properties`; the error names the property. The client's logs go to our
/// log.
expected<conf_ptr> make_conf(const kafka_properties& properties);

/// A producer's default of `queue.buffering.max.kbytes` with these properties: 64 MiB, or one
/// record of `message.max.bytes` if that is more. A record larger than the whole queue would be
/// refused as if the queue were full, for ever.
std::string default_queue_kbytes(const kafka_properties& properties);

/// Our default of `batch.size`. A broker refuses a whole batch that is above its topic's
/// `max.message.bytes`, as if each of its records were too large. Few topics have a bound below
/// this.
inline constexpr size_t default_batch_bytes = 128 << 10;

/// `x` as one of our errors: librdkafka's text and whether it is fatal.
error to_error(rd_kafka_resp_err_t x, const std::string& what);

/// Has `where` fetched from `offset` on (below 0: from its beginning), within `limit`.
expected<void> seek_to(rd_kafka_t* consumer, const topic_partition& where, int64_t offset,
                       std::chrono::milliseconds limit);

/// Whether `x`, a broker's answer to a record, refuses the record or its topic.
refusal refusal_of(rd_kafka_resp_err_t x) noexcept;

/// The leader epoch of a fetched message, as in `record::leader_epoch`.
int32_t leader_epoch_of(const rd_kafka_message_t& x) noexcept;

/// The leader epoch of an offset that is or will be committed.
int32_t leader_epoch_of(const rd_kafka_topic_partition_t& x) noexcept;
void set_leader_epoch(rd_kafka_topic_partition_t& x, int32_t epoch) noexcept;

/// A copy of a fetched message, so that its fetch buffer can be freed.
record to_record(const rd_kafka_message_t& message, uint64_t epoch);

/// Gives `x` to a producing client without blocking and copies its bytes. Its delivery
/// report carries `opaque` (as `_private`). Errors as those of `producer::produce`.
expected<void> produce_record(rd_kafka_t* client, const outgoing& x, uint64_t opaque);

/// As `produce_record`, with librdkafka's error code.
rd_kafka_resp_err_t try_produce(rd_kafka_t* client, const outgoing& x, uint64_t opaque);

/// Our producers' default of `topic.metadata.propagation.max.ms`: for so long a missing
/// topic counts as just made. Less than the 10 s after which a silent producer opens the
/// breaker.
inline constexpr const char* default_propagation_ms = "5000";

struct topic_metadata {
  std::string name;
  int32_t partitions = 0;
};

struct cluster_metadata {
  std::vector<std::string> brokers; ///< host:port
  std::vector<topic_metadata> topics;
  const topic_metadata* find(const std::string& topic) const;
};

/// Reads the cluster's id and brokers. `unavailable` when no broker answers within `limit`.
expected<cluster_metadata> read_metadata(const kafka_properties& properties,
                                         std::chrono::milliseconds limit);

struct topic_specification {
  std::string name;
  int32_t partitions = 1;
  int32_t replication = 1;                     ///< −1: the broker's default.
  std::map<std::string, std::string> settings; ///< E.g., "max.message.bytes".
};

/// Creates the topics that do not exist yet. Returns the names of the new ones when all clients can
/// see them.
expected<std::vector<std::string>> create_topics(const kafka_properties& properties,
                                                 const std::vector<topic_specification>& topics,
                                                 std::chrono::milliseconds limit);

} // namespace ziyu::messaging
