#pragma once

#include <cstdint>
#include <optional>

namespace ziyu::messaging {

/// Where a reader is in the log of a partition, and what a record that comes says of the log.
/// A log may go back behind what was read of it: it was cut off (an election of a leader that
/// was not in sync) or the topic was made anew, and other records took the offsets of those that
/// were lost. Pure.
class log_position {
public:
  enum class verdict : uint8_t {
    next,      ///< The next record.
    repeat,    ///< The one that came last, once more: a pause inside librdkafka may do so.
    went_back, ///< The log was cut off at its offset, or before.
    made_anew, ///< It is of another log: all of that one is new.
  };

  /// Offsets [from, past) of which no record came.
  struct gap {
    int64_t from = 0, past = 0;
  };

  /// Reading begins at `next`, where an earlier reader was; below 0: it is not known where. The
  /// log may not reach it any more, which is no surprise.
  /// @param leader_epoch Of the record before it; -1: not known.
  void begin(int64_t next, int32_t leader_epoch = -1);

  /// Reading goes on at `next` in a log that went back.
  void restart(int64_t next);

  /// A record came. Moves on for `next` and `repeat`.
  /// @param leader_epoch As in `record`.
  verdict see(int64_t offset, int32_t leader_epoch);

  /// There is nothing (more) before `offset`: also behind what brings no record, as the marker of
  /// a transaction, what was aborted, compacted or expired.
  void see_end(int64_t offset);

  /// What was passed over since the last call. It is no loss by itself: see `see_end`.
  std::optional<gap> take_gap();

  int64_t next() const { return next_; }           ///< -1: not known.
  int64_t past_last() const { return past_last_; } ///< Behind the last that came; -1: none.

private:
  void pass_over(int64_t to);

  int64_t next_ = -1, past_last_ = -1;
  int32_t leader_epoch_ = -1; ///< Of the last that came.
  std::optional<gap> gap_;
};

} // namespace ziyu::messaging
