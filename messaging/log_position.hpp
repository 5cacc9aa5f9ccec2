#pragma once

#include <cstdint>
#include <optional>

namespace ziyu::messaging {

/// Where a reader is in a partition's log, and what the next record says of the log. A log may go
/// back behind what was read of it: it was cut off (by an election of a leader that was not in
/// sync) or its topic was made anew, and other records took the offsets of those that were lost.
/// Pure.
class log_position {
public:
  enum class verdict : uint8_t {
    next,      ///< The next record.
    repeat,    ///< The latest record once more: a pause inside librdkafka may repeat it.
    went_back, ///< The log was cut off at this record's offset, or before.
    made_anew, ///< The record is of another log: everything in that log is new.
  };

  /// Offsets [from, past) of which no record came.
  struct gap {
    int64_t from = 0, past = 0;
  };

  /// Reading begins at `next`, where an earlier reader was; below 0: not known. If the log does not
  /// reach `next` any more, that is no loss.
  /// @param leader_epoch Of the record before `next`; -1: not known.
  void begin(int64_t next, int32_t leader_epoch = -1);

  /// Reading goes on at `next` in a log that went back.
  void restart(int64_t next);

  /// A record came. The position moves on for `next` and `repeat`.
  /// @param leader_epoch As in `record`.
  verdict see(int64_t offset, int32_t leader_epoch);

  /// There is no (further) record before `offset`. Called also behind offsets without a record: the
  /// marker of a transaction, aborted, compacted or expired records.
  void see_end(int64_t offset);

  /// The offsets that were passed over since the last call. They are not necessarily a loss: see
  /// `see_end`.
  std::optional<gap> take_gap();

  int64_t next() const { return next_; }           ///< -1: not known.
  int64_t past_last() const { return past_last_; } ///< Behind the latest record; -1: none came.

private:
  void pass_over(int64_t to);

  int64_t next_ = -1, past_last_ = -1;
  int32_t leader_epoch_ = -1; ///< Of the latest record.
  std::optional<gap> gap_;
};

} // namespace ziyu::messaging
