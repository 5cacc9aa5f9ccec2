#pragma once

#include "base/error.hpp"
#include "messaging/offset_ledger.hpp"
#include "messaging/record.hpp"

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <variant>

namespace ziyu::messaging {

/// We own these partitions from now on, under assignment number `epoch`, which no other
/// assignment of this process has or had, not even one of another consumer: work that
/// was begun under it is told from later work on the same records by it alone. They are
/// told as it becomes known what is committed for them, not all at once: another
/// `partitions_assigned` of the same epoch may follow. A partition that is ours already gets
/// a new epoch when its log went back behind what it had brought: other records have
/// taken the offsets of those that were lost.
struct partitions_assigned {
  uint64_t epoch = 0;
  std::vector<topic_partition> partitions;
  /// What was found committed; nothing of those without a commit. Fetching begins at its
  /// offset.
  std::map<topic_partition, committed_state> committed;
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

/// A commit has been answered.
struct offsets_committed {
  struct item {
    topic_partition where;
    uint64_t epoch = 0;
    uint64_t version = 0;         ///< Of the `commit_point`.
    std::optional<error> failure; ///< Not committed; it is tried again if it is still ours.
    bool without_map = false;     ///< The broker refused the metadata: only the offset is.
  };
  std::vector<item> items;
};

/// Records that the log no longer had when they were to be fetched: its retention was faster.
struct records_lost {
  topic_partition where;
  int64_t from = 0, past = 0; ///< Their offsets: [from, past).
  int64_t log_start = 0;      ///< The lowest offset that the log had after that.
};

/// A broker answers again after a `consumer_failed` that told of none.
struct consumer_recovered {};

/// A poll brought nothing within its time.
struct nothing {};

using consumer_event =
  std::variant<nothing, record, partitions_assigned, partitions_revoked, offsets_committed,
               records_lost, consumer_failed, consumer_recovered>;

/// Who a consumer is in its group at one moment (group, generation, member): fences the
/// transaction of a member that is none any more (KIP-447). Opaque; may outlive its consumer.
class group_membership {
public:
  virtual ~group_membership() = default;
};

/// Where the consumer is in a partition, as far as it knows.
struct partition_view {
  topic_partition where;
  uint64_t epoch = 0;
  /// The next record to bring, if there is one; -1: nothing was committed, and none came yet,
  /// nor word that there is none.
  int64_t position = -1;
  int64_t log_end = -1; ///< As last told; -1: not known.
  bool held = false;
  bool known = true; ///< What is committed for it; before, it brings nothing.
  /// Of its topic; another one when that is deleted and made again. Empty: not known.
  std::string topic_id = {};
};

/// The port to a Kafka consumer group member. Thread rules: everything from one
/// thread (the poll thread), except for `store` and `membership`, which are thread-safe.
class consumer {
public:
  virtual ~consumer() = default;

  /// Waits up to `limit` for the next event. Must be called often (well within
  /// `max.poll.interval.ms`) even when gated, or the group evicts us.
  virtual consumer_event poll(std::chrono::milliseconds limit) = 0;

  /// Closed: `poll` brings no records, but everything else; what is prefetched
  /// stays prefetched (nothing is fetched twice). Open again: it goes on.
  virtual void gate(bool closed) = 0;

  /// Brings no records of these partitions until told otherwise, though they stay
  /// prefetched; the other ones go on. Replaces what was held before.
  virtual void hold(const std::set<topic_partition>& partitions) = 0;

  /// The partitions that are ours. To be called every few seconds: logs' ends are those that
  /// were asked for by the last call.
  virtual std::vector<partition_view> view() { return {}; }

  /// Drops what is prefetched of `where` and fetches from `offset` on, within `limit`.
  /// @param offset Below 0: the beginning of the log.
  virtual expected<void> seek(const topic_partition& where, int64_t offset,
                              std::chrono::milliseconds limit) {
    static_cast<void>(limit);
    return fail(errc::unavailable, "this consumer cannot seek to offset " + std::to_string(offset)
                                     + " of " + where.topic);
  }

  /// Paused: what is prefetched is dropped, to be fetched again later, and nothing more is
  /// fetched. Costs bytes on the network; only a gate is free.
  virtual void pause(bool on) { static_cast<void>(on); }

  /// Bytes that had to be fetched again because of a pause or a seek.
  virtual uint64_t refetched_bytes() const { return 0; }

  /// Takes over what is to be committed: at once when it is urgent, else with the next
  /// commit (each second or so); the latest wins. An `offsets_committed` answers each
  /// commit. `errc::revoked` when the partition is not ours, or not in that epoch.
  virtual expected<void> store(const topic_partition& where, commit_point point) = 0;

  /// Who we are in the group, if all of these partitions are ours under these epochs now,
  /// else null: what is committed with it is refused as soon as one of them can be
  /// somebody else's. Thread-safe.
  virtual std::shared_ptr<const group_membership> membership(
    const std::map<topic_partition, uint64_t>& epochs) const {
    static_cast<void>(epochs);
    return nullptr;
  }

  /// Answers `partitions_revoked`: commits what was stored (unless lost), within a few
  /// seconds, and gives the partitions up.
  virtual void finish_revoke() = 0;

  /// Commits what was stored, now, waiting up to `limit`.
  virtual expected<void> commit(std::chrono::milliseconds limit) = 0;

  /// Commits, leaves the group and closes, within about `limit`.
  virtual void close(std::chrono::milliseconds limit) = 0;
};

} // namespace ziyu::messaging
