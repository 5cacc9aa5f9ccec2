#pragma once

#include "messaging/record.hpp"

#include <nlohmann/json.hpp>

#include <map>

namespace ziyu::messaging {

/// Where a fetched record stands. Only the last three are final.
enum class record_state : uint8_t {
  queued,        ///< Waits in the dispatcher.
  running,       ///< At a worker.
  publishing,    ///< Its result or dead letter is at the producer.
  done,          ///< Its result has a delivery report.
  dead_lettered, ///< Its dead letter has a delivery report.
  handed_back,   ///< Its partition went, or we stop: somebody else's again.
};

std::string_view to_string(record_state x) noexcept;

/// Accounts for every fetched offset per (topic, partition, assignment epoch)
/// and knows what may be committed: the contiguous prefix of final offsets, no
/// more. Pure: no I/O, no clock. Not thread-safe; lives in the dispatcher.
class offset_ledger {
public:
  struct balance {
    uint64_t fetched = 0, published = 0, dead_lettered = 0, handed_back = 0;
    uint64_t in_flight = 0; ///< queued + running + publishing
    /// fetched == published + dead_lettered + handed_back + in_flight
    bool balanced() const;
  };

  /// Starts an assignment of `where`. Replaces an older one (its open records
  /// count as handed back).
  void assign(const topic_partition& where, uint64_t epoch);

  /// Ends the assignment of `where`; returns the open records, now handed back.
  std::vector<record_id> revoke(const topic_partition& where);

  /// True if `where` is assigned under `epoch`: only then is work on it ours.
  bool owns(const topic_partition& where, uint64_t epoch) const;

  /// A record was fetched. False (and nothing happens) when the epoch is stale
  /// or the offset was seen already.
  bool fetched(const record_id& id, uint64_t epoch);

  /// Moves a record on. False when the epoch is stale or the record is final
  /// already: the caller drops its news, it no longer counts.
  bool advance(const record_id& id, uint64_t epoch, record_state to);

  /// The offset to commit next for `where` (all below it are final) if it has
  /// grown since the last call.
  std::optional<int64_t> take_committable(const topic_partition& where);

  balance total() const;          ///< Over all epochs since the start.
  nlohmann::json to_json() const; ///< For `GET /ledger` and the exit report.

private:
  struct partition {
    uint64_t epoch = 0;
    bool assigned = false;
    int64_t next = -1;                      ///< Lowest offset not final; -1 before the first.
    int64_t highest = -1;                   ///< Highest offset fetched.
    int64_t reported = -1;                  ///< Last value of take_committable.
    std::map<int64_t, record_state> window; ///< From `next` up.
    balance sums;
  };
  std::map<topic_partition, partition> partitions_;
};

} // namespace ziyu::messaging
