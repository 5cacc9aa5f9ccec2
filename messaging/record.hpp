#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ziyu::messaging {

struct topic_partition {
  std::string topic;
  int32_t partition = 0;
  auto operator<=>(const topic_partition&) const = default;
};

/// Names one Kafka record: the unit we acknowledge.
struct record_id {
  std::string topic;
  int32_t partition = 0;
  int64_t offset = 0;
  auto operator<=>(const record_id&) const = default;

  topic_partition where() const { return {topic, partition}; }
};

/// "topic-partition-offset", also the job id of a record without a key.
std::string to_string(const record_id& id);

/// Headers in their order; names may repeat. A value may be null, which is not "".
using header_list = std::vector<std::pair<std::string, std::optional<std::string>>>;

/// The value of the last header called `name`; a null value reads as "".
std::optional<std::string> find_header(const header_list& headers, const std::string& name);

/// A fetched record. Its bytes are copied out of librdkafka's buffers, since a single message keeps
/// its whole fetch response in memory.
struct record {
  record_id id;
  uint64_t epoch = 0; ///< Number of the assignment under which it was fetched.
  std::optional<std::string> key;
  std::shared_ptr<const std::string> value; ///< Null for a tombstone.
  header_list headers;
  int64_t timestamp_ms = 0; ///< Since the Unix epoch; set by the broker or the producer.
  /// Number of the leader that appended it (KIP-320); -1: not known. Never falls in a log.
  int32_t leader_epoch = -1;

  /// Its bytes in memory: key, value and headers.
  size_t bytes() const;
};

} // namespace ziyu::messaging
