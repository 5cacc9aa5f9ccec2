#pragma once

#include <chrono>
#include <cstdint>

namespace ziyu::messaging {

/// When to begin the next transaction, so that committing takes a bounded part of the time
/// whatever a commit costs on this cluster, and a record that comes alone does not wait. Each commit is several round trips to the coordinator
/// and a marker on each partition: too many small ones cost throughput, too large ones
/// latency and, after an abort, repetition. Pure: no clock, no I/O.
///
/// The interval follows the commits: smoothed commit time · (1 − share) / share, within
/// bounds. The size follows the aborts: halved by one that nobody is guilty of, doubled by
/// a commit that was full (AIMD would regain a size lost to one broken link only slowly).
class transaction_pace {
public:
  using duration = std::chrono::milliseconds;

  struct settings {
    double share = 0.1; ///< Of the time that commits may take; above 0, below 1.
    duration min_interval{10}, max_interval{1'000};
    uint64_t min_records = 1, max_records = 1'000;
    uint64_t max_bytes = 8u << 20; ///< Of keys, values and headers.
  };

  explicit transaction_pace(settings x);

  /// Whether so many records should be committed now, `rest` after the last one's end.
  bool due(uint64_t records, uint64_t bytes, duration rest) const;

  /// Whether one more record still fits.
  bool fits(uint64_t records, uint64_t bytes) const;

  /// A transaction of `records` was committed, which took `time` from its first record's
  /// hand-over to the commit's acknowledgement.
  void committed(uint64_t records, duration time);

  /// A transaction was aborted though none of its records is at fault.
  void aborted();

  duration interval() const { return interval_; } ///< Between two of them, unless full.
  uint64_t max_records() const { return max_records_; }

private:
  settings settings_;
  double commit_ms_ = 0; ///< Smoothed; 0: none seen yet.
  duration interval_;
  uint64_t max_records_;
};

} // namespace ziyu::messaging
