#pragma once

#include "messaging/kafka_client.hpp"

namespace ziyu::messaging {

/// Reads all partitions of one topic without a consumer group: for people and
/// tests that watch. Not thread-safe.
class topic_reader {
public:
  enum class start { beginning, end };

  virtual ~topic_reader() = default;

  /// The next record, waiting up to `limit`; nothing when none came. Trouble that
  /// may pass (no broker) is logged and waited out; the error is for what will not.
  virtual expected<std::optional<record>> next(std::chrono::milliseconds limit) = 0;

  /// True if all records that the partitions hold have been handed out by `next`, as
  /// far as the broker has said. Not before the transactions that were open in them when
  /// reading began have ended: what lies behind them is still to come.
  virtual bool at_end() const = 0;

  /// True if `next` has nothing more of a partition because a transaction is open in it. It
  /// ends within its producer's `transaction.timeout.ms`, and some seconds, at the latest.
  virtual bool awaits_transaction() const = 0;
};

/// `unavailable` when the topic's metadata cannot be had within `limit` or the
/// topic does not exist.
expected<std::unique_ptr<topic_reader>> read_topic(kafka_properties properties,
                                                   const std::string& topic,
                                                   topic_reader::start from,
                                                   std::chrono::milliseconds limit);

} // namespace ziyu::messaging
