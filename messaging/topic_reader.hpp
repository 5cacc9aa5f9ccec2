#pragma once

#include "messaging/kafka_client.hpp"

namespace ziyu::messaging {

/// Reads all partitions of one topic without a consumer group, for commands and tests. Not
/// thread-safe.
class topic_reader {
public:
  enum class start { beginning, end };

  virtual ~topic_reader() = default;

  /// The next record, waiting up to `limit`; nothing when none came. Passing trouble (no broker) is
  /// logged and waited out. An error is permanent.
  virtual expected<std::optional<record>> next(std::chrono::milliseconds limit) = 0;

  /// True if `next` has returned all records that the partitions hold, as far as the broker has
  /// said. False while a transaction is open that was open when reading began: records behind it
  /// are still to come.
  virtual bool at_end() const = 0;

  /// True if an open transaction in a partition keeps `next` from its further records. It ends, at
  /// the latest, some seconds after its producer's `transaction.timeout.ms`.
  virtual bool awaits_transaction() const = 0;
};

/// `unavailable` when the topic does not exist or its metadata cannot be had within `limit`;
/// `kafka` when it may not be described. One that may not be read is an error of `next`.
expected<std::unique_ptr<topic_reader>> read_topic(kafka_properties properties,
                                                   const std::string& topic,
                                                   topic_reader::start from,
                                                   std::chrono::milliseconds limit);

} // namespace ziyu::messaging
