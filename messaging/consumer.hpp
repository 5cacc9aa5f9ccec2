#pragma once

#include "base/error.hpp"
#include "messaging/record.hpp"

#include <chrono>
#include <variant>

namespace ziyu::messaging {

/// We own these partitions from now on, under assignment number `epoch`.
struct partitions_assigned {
  uint64_t epoch = 0;
  std::vector<topic_partition> partitions;
};

/// These partitions are going (or, when `lost`, gone already: nothing can be
/// committed any more). The consumer holds the rebalance until
/// `finish_revoke()`.
struct partitions_revoked {
  uint64_t epoch = 0; ///< The assignment that they belonged to.
  std::vector<topic_partition> partitions;
  bool lost = false;
};

/// Something to log and show in `/readyz`, e.g., all brokers are down or a topic
/// is missing. The consumer keeps trying unless the code is `kafka_fatal`.
struct consumer_failed {
  error reason;
};

/// A broker answers again after a `consumer_failed` that told of none.
struct consumer_recovered {};

/// A poll brought nothing within its time.
struct nothing {};

using consumer_event = std::variant<nothing, record, partitions_assigned, partitions_revoked,
                                    consumer_failed, consumer_recovered>;

/// The port to a Kafka consumer group member. Thread rules: everything from one
/// thread (the poll thread), except for `store`, which is thread-safe.
class consumer {
public:
  virtual ~consumer() = default;

  /// Waits up to `limit` for the next event. Must be called often (well within
  /// `max.poll.interval.ms`) even when gated, or the group evicts us.
  virtual consumer_event poll(std::chrono::milliseconds limit) = 0;

  /// Closed: `poll` brings no records, but everything else; what is prefetched
  /// stays prefetched (nothing is fetched twice). Open again: it goes on.
  virtual void gate(bool closed) = 0;

  /// Remembers that all offsets below `next` are done, to be committed with the
  /// next automatic commit. `errc::revoked` when the partition is not ours.
  virtual expected<void> store(const topic_partition& where, int64_t next) = 0;

  /// Answers `partitions_revoked`: commits what was stored (unless lost) and
  /// gives the partitions up.
  virtual void finish_revoke() = 0;

  /// Commits what was stored, now, waiting up to `limit`.
  virtual expected<void> commit(std::chrono::milliseconds limit) = 0;

  /// Commits, leaves the group and closes, within about `limit`.
  virtual void close(std::chrono::milliseconds limit) = 0;
};

} // namespace ziyu::messaging
