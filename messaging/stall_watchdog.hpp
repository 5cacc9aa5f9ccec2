#pragma once

#include "messaging/consumer.hpp"

#include <chrono>
#include <map>

namespace ziyu::messaging {

/// Notices a partition that is ours and has records, and brings none though it may: the
/// group looks stable, nothing moves. Proposes one remedy after the other. One of which
/// nobody tells what is committed is escalated at once: it is asked for again and again
/// anyway. Pure: the caller brings the time.
class stall_watchdog {
public:
  using duration = std::chrono::milliseconds;

  enum class remedy : uint8_t {
    seek,     ///< Fetch again from the position.
    reopen,   ///< Make a fresh client.
    escalate, ///< Nothing is left to try: tell a person.
  };

  struct finding {
    topic_partition where;
    remedy what = remedy::seek;
    int64_t position = 0; ///< Where to seek to; -1: the beginning of the log.
    int64_t lag = 0;      ///< Records that wait, at most; 0 if that is not known.
    bool known = true;    ///< What is committed.
    duration silent{};    ///< Since when there was no progress.
  };

  /// @param patience Without progress for so long, a remedy is due; and again after each.
  explicit stall_watchdog(duration patience) : patience_(patience) {}

  /// @param now On a clock that stands still while nothing may be fetched (gated).
  /// @param views All partitions that are ours; one that is missing goes on when it comes
  /// back, so that a fresh client does not start it anew.
  std::vector<finding> observe(duration now, const std::vector<partition_view>& views);

  /// Of the last observation: where the clock of a fresh client goes on.
  duration now() const { return now_; }

private:
  struct watched {
    int64_t position = -1;
    bool known = false;
    duration since{};      ///< Of the last progress.
    duration acted{};      ///< Of the last remedy, or of the last progress.
    uint32_t remedies = 0; ///< Tried since.
  };
  duration patience_, now_{};
  std::map<topic_partition, watched> watched_;
};

std::string_view to_string(stall_watchdog::remedy x) noexcept;

} // namespace ziyu::messaging
