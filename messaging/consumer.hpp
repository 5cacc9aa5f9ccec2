#pragma once

#include "base/error.hpp"
#include "messaging/commit_point.hpp"
#include "messaging/record.hpp"

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <variant>

namespace ziyu::messaging {

/// These partitions are ours from now on, under assignment number `epoch`. No other assignment
/// of this process has or had this number, not even one of another consumer: the epoch alone
/// tells work that was begun under it from later work on the same records. Partitions are
/// announced when it is known what is committed for them, not all at once: another
/// `partitions_assigned` of the same epoch may follow. A partition that is ours already gets a
/// new epoch when its log went back behind what was read of it: other records have taken the
/// offsets of those that were lost.
struct partitions_assigned {
  uint64_t epoch = 0;
  std::vector<topic_partition> partitions;
  /// What was found committed, by partition. Partitions without a commit are not in it. Fetching
  /// begins at the committed offset.
  std::map<topic_partition, committed_state> committed;
};

/// These partitions will be taken from us (or, when `lost`, have been taken already:
/// nothing can be committed any more). The consumer holds the rebalance until
/// `finish_revoke()`.
struct partitions_revoked {
  uint64_t epoch = 0; ///< The assignment that they belonged to.
  std::vector<topic_partition> partitions;
  bool lost = false;
};

/// Trouble to log and to show in `/readyz`, e.g., all brokers are down or a topic is missing. The
/// consumer keeps trying unless the code is `kafka_fatal`.
struct consumer_failed {
  error reason;
};

/// A commit has been answered.
struct offsets_committed {
  struct item {
    topic_partition where;
    uint64_t epoch = 0;
    uint64_t version = 0;         ///< Of the `commit_point`.
    std::optional<error> failure; ///< Why not; tried again while the partition is ours.
    bool without_map = false;     ///< The broker refused the metadata, not the offset.
  };
  std::vector<item> items;
};

/// Records that retention deleted before they were fetched.
struct records_lost {
  topic_partition where;
  int64_t from = 0, past = 0; ///< Their offsets: [from, past).
  int64_t log_start = 0;      ///< The lowest offset that the log had after that.
};

/// A broker answers again after a `consumer_failed` that said that no broker answers.
struct consumer_recovered {};

/// A poll brought nothing within its time.
struct nothing {};

using consumer_event =
  std::variant<nothing, record, partitions_assigned, partitions_revoked, offsets_committed,
               records_lost, consumer_failed, consumer_recovered>;

/// The identity of a consumer in its group at one moment (group, generation, member). It fences the
/// transaction of a consumer that is not a member any more (KIP-447). Opaque; may outlive its
/// consumer.
class group_membership {
public:
  virtual ~group_membership() = default;
};

/// Where the consumer is in a partition, as far as it knows.
struct partition_view {
  topic_partition where;
  uint64_t epoch = 0;
  /// The next record to fetch; -1: nothing was committed, and neither a record nor the log's end
  /// has come yet.
  int64_t position = -1;
  int64_t log_end = -1; ///< As a broker last told it; -1: not known.
  bool held = false;
  bool known = true; ///< Whether its committed offset is known; it brings no record before.
  /// The topic's id; it changes when the topic is deleted and made again. Empty: not known.
  std::string topic_id = {};
};

/// The port to a Kafka consumer group member. Thread rules: everything from one
/// thread (the poll thread), except for `wake`, `store` and `membership`, which are
/// thread-safe.
class consumer {
public:
  virtual ~consumer() = default;

  /// Waits up to `limit` for the next event. Must be called often (well within
  /// `max.poll.interval.ms`), also while gated; otherwise the group evicts this consumer.
  virtual consumer_event poll(std::chrono::milliseconds limit) = 0;

  /// Ends a poll that waits, or the next one, which then brings `nothing`. Thread-safe.
  virtual void wake() = 0;

  /// While the gate is closed, `poll` brings no records, but all other events. Prefetched records
  /// stay (nothing is fetched twice). When the gate opens, fetching goes on.
  virtual void gate(bool closed) = 0;

  /// Brings no records of these partitions until the next call. Their prefetched records stay, and
  /// other partitions go on. Replaces the partitions held before.
  virtual void hold(const std::set<topic_partition>& partitions) = 0;

  /// The partitions that are ours. Call it every few seconds: the logs' ends are those that the
  /// previous call asked for.
  virtual std::vector<partition_view> view() = 0;

  /// Drops the prefetched records of `where` and fetches from `offset` on, within `limit`.
  /// @param offset Below 0: the beginning of the log.
  virtual expected<void> seek(const topic_partition& where, int64_t offset,
                              std::chrono::milliseconds limit) = 0;

  /// While paused, nothing is fetched, and prefetched records are dropped, to be fetched again
  /// later. That costs bytes on the network; only a gate is free.
  virtual void pause(bool on) = 0;

  /// Bytes that had to be fetched again because of a pause or a seek.
  virtual uint64_t refetched_bytes() const = 0;

  /// Takes over what is to be committed: at once when it is urgent, else with the next commit
  /// (about once a second). The latest point wins. An `offsets_committed` answers each commit.
  /// `errc::revoked` when the partition is not ours, or not in that epoch.
  virtual expected<void> store(const topic_partition& where, commit_point point) = 0;

  /// Our identity in the group if all of these partitions are ours under these epochs now, else
  /// null. The broker refuses a commit with it as soon as one of them may belong to another member.
  /// Thread-safe.
  virtual std::shared_ptr<const group_membership> membership(
    const std::map<topic_partition, uint64_t>& epochs) const = 0;

  /// Answers `partitions_revoked`: commits what was stored (unless lost), within a few
  /// seconds, and gives the partitions up.
  virtual void finish_revoke() = 0;

  /// Commits what was stored, now, waiting up to `limit`.
  virtual expected<void> commit(std::chrono::milliseconds limit) = 0;

  /// Commits, leaves the group and closes, within about `limit`.
  virtual void close(std::chrono::milliseconds limit) = 0;
};

} // namespace ziyu::messaging
