#pragma once

#include <chrono>
#include <cstdint>

namespace ziyu::messaging {

/// Decides when the next transaction begins. Committing takes a bounded share of the time, whatever
/// a commit costs on this cluster, and a single record does not wait. Each commit is several round
/// trips to the coordinator and a marker on each partition. Too many small transactions cost
/// throughput; too large ones cost latency and, after an abort, repetition. Pure: no clock, no I/O.
///
/// The interval follows the commits: smoothed commit time · (1 − share) / share, within bounds. The
/// size follows the aborts: an abort that no record caused halves it, and a full transaction that
/// is committed doubles it. (Additive growth would regain a size lost to one broken link too
/// slowly.)
class transaction_pace {
public:
  using duration = std::chrono::milliseconds;

  struct settings {
    double share = 0.1; ///< Share of the time that commits may take; above 0, below 1.
    duration min_interval{10}, max_interval{1'000};
    uint64_t min_records = 1, max_records = 1'000;
    uint64_t max_bytes = 8u << 20; ///< Of keys, values and headers.
  };

  explicit transaction_pace(settings x);

  /// Whether so many records should be committed now, `rest` after the last transaction's end.
  bool due(uint64_t records, uint64_t bytes, duration rest) const;

  /// Whether one more record still fits.
  bool fits(uint64_t records, uint64_t bytes) const;

  /// A transaction of `records` was committed. `time` is from the hand-over of its first record to
  /// the acknowledgement of its commit.
  void committed(uint64_t records, duration time);

  /// A transaction was aborted though none of its records is at fault.
  void aborted();

  duration interval() const { return interval_; } ///< Between two transactions, unless one is full.
  uint64_t max_records() const { return max_records_; }

private:
  settings settings_;
  double commit_ms_ = 0; ///< Smoothed; 0: no commit seen yet.
  duration interval_;
  uint64_t max_records_;
};

} // namespace ziyu::messaging
