#pragma once

#include "actors/credit_window.hpp"
#include "messaging/record.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>

namespace ziyu::actors {

/// Backpressure as credit, in jobs and in bytes: each job under way holds a `credit`. Without
/// credit, or on hold, the source gates its consumer. Thread-safe.
class intake {
public:
  struct limits {
    uint64_t jobs = 4'096; ///< At most; `credit_window` says how many of them are granted.
    uint64_t bytes = uint64_t{256} << 20; ///< Records, images from JSON, pixels of running jobs.
  };

  explicit intake(limits x) : limits_(x), window_(x.jobs), granted_{window_.size(), x.bytes} {}

  /// True if another record may be fetched. A single record may exceed the limit in bytes;
  /// otherwise a record larger than the limit could never be taken.
  bool open() const;

  /// While on hold, nothing is fetched, whatever the credit (breaker, drain).
  void hold(bool on);

  /// Grants only this share (0 to 1) of the credit from now on, at least one job. Credit that was
  /// taken before is kept.
  void shrink_to(double share);

  /// A slot waits for a job: more jobs are granted if all credit in jobs is used.
  void starve();

  /// A period of some seconds is over: fewer jobs are granted if few were needed.
  void end_period();

  /// Nothing of these partitions is fetched for now; others go on.
  void hold_partitions(std::set<messaging::topic_partition> x);
  std::set<messaging::topic_partition> held_partitions() const;

  /// Nothing is fetched, and prefetched records are dropped, too: memory is so short that fetching
  /// them again is cheaper.
  void give_up_prefetched(bool on);
  bool prefetched_given_up() const;

  /// The source's knowledge of a partition's log.
  struct log_view {
    int64_t position = -1; ///< The next record to fetch; -1: not known.
    int64_t end = -1;      ///< At most a few seconds old; -1: not known.
  };
  /// Replaces all logs told before.
  void tell_logs(std::map<messaging::topic_partition, log_view> x);
  std::map<messaging::topic_partition, log_view> logs() const;

  /// Calls `then` each time when it opens, on the thread that opens it. `then` must not use the
  /// intake. Empty: nothing any more; a call under way has returned.
  void on_open(std::function<void()> then);

  uint64_t jobs() const;
  uint64_t bytes() const;
  limits granted() const; ///< The limits as they are at present.

private:
  friend class credit;
  void take(uint64_t jobs, uint64_t bytes);
  void give(uint64_t jobs, uint64_t bytes);
  bool open_locked() const {
    return !held_ && !prefetched_given_up_ && jobs_ < granted_.jobs && bytes_ < granted_.bytes;
  }

  void grant();
  void note(); ///< That something has changed.

  const limits limits_;
  credit_window window_;
  double share_ = 1;
  limits granted_;
  mutable std::mutex mutex_;
  std::function<void()> on_open_;
  bool was_open_ = true;
  uint64_t jobs_ = 0, bytes_ = 0;
  bool held_ = false, prefetched_given_up_ = false;
  std::set<messaging::topic_partition> held_partitions_;
  std::map<messaging::topic_partition, log_view> logs_;
};

/// What one job holds of an intake, which it keeps alive: a place, and bytes. The source takes it
/// for the record; the dispatcher lets it grow by what is made of the record. Gives all back when
/// it is destroyed. Any thread, one at a time.
class credit {
public:
  credit(std::shared_ptr<intake> from, uint64_t bytes);
  credit(credit&& other) noexcept = default;
  credit& operator=(credit other) noexcept;
  ~credit();

  void grow(uint64_t bytes);
  /// @pre It has so many.
  void shrink(uint64_t bytes);
  uint64_t bytes() const { return from_ ? bytes_ : 0; }

private:
  std::shared_ptr<intake> from_; ///< Null: nothing, after it was moved from.
  uint64_t bytes_ = 0;
};

} // namespace ziyu::actors
