#pragma once

#include "messaging/record.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>

namespace ziyu::actors {

/// Backpressure as credit, in jobs and in bytes: the job source takes credit for
/// each record that it hands on, the dispatcher takes more for what it makes of the
/// record, and gives all back when the record is final. Without credit, or on hold,
/// the source gates its consumer. Thread-safe.
class intake {
public:
  struct limits {
    uint64_t jobs = 64;
    uint64_t bytes = uint64_t{256} << 20; ///< Records, images from JSON, pixels of what runs.
  };

  explicit intake(limits x) : limits_(x), granted_(x) {}

  /// True if another record may be fetched. A single record may overshoot the
  /// limit in bytes, or one larger than the limit could never be taken.
  bool open() const;

  void take(uint64_t bytes);
  void give(uint64_t bytes);

  /// For a job that has credit: of the bytes more, or less, than it has.
  void take_more(uint64_t bytes);
  void give_some(uint64_t bytes);

  /// On hold nothing is fetched, whatever the credit (breaker, drain).
  void hold(bool on);

  /// Grants only this share (0 to 1) of the limits from now on, at least one job. What was
  /// taken before stays with its takers.
  void shrink_to(double share);

  /// Of these partitions nothing is fetched for the time being; others go on.
  void hold_partitions(std::set<messaging::topic_partition> x);
  std::set<messaging::topic_partition> held_partitions() const;

  /// Nothing is fetched, and what is prefetched must go, too: memory is so short that fetching
  /// it again is cheaper.
  void give_up_prefetched(bool on);
  bool prefetched_given_up() const;

  /// What the source knows of a partition's log.
  struct log_view {
    int64_t position = -1; ///< The next record to fetch; -1: not known.
    int64_t end = -1;      ///< As a broker told it a few seconds ago at most; -1: not known.
  };
  /// Replaces what was told before.
  void tell_logs(std::map<messaging::topic_partition, log_view> x);
  std::map<messaging::topic_partition, log_view> logs() const;

  /// Waits until `open()`, up to `limit`.
  void wait_open(std::chrono::milliseconds limit);

  uint64_t jobs() const;
  uint64_t bytes() const;
  limits granted() const; ///< The limits, as they are at present.

private:
  void give_locked(uint64_t jobs, uint64_t bytes);
  bool open_locked() const {
    return !held_ && !prefetched_given_up_ && jobs_ < granted_.jobs && bytes_ < granted_.bytes;
  }

  const limits limits_;
  limits granted_;
  mutable std::mutex mutex_;
  std::condition_variable opened_;
  uint64_t jobs_ = 0, bytes_ = 0;
  bool held_ = false, prefetched_given_up_ = false;
  std::set<messaging::topic_partition> held_partitions_;
  std::map<messaging::topic_partition, log_view> logs_;
};

} // namespace ziyu::actors
