#pragma once

#include "messaging/consumer.hpp"

#include <chrono>
#include <map>

namespace ziyu::messaging {

/// Notices a partition that is ours, may be fetched and has records, but brings none: the group
/// looks stable, and nothing moves. Proposes one remedy after the other. A partition whose
/// committed offset is not known is escalated at once, since the offset is asked for repeatedly
/// anyway. Pure: the caller passes the time.
class stall_watchdog {
public:
  using duration = std::chrono::milliseconds;

  enum class remedy : uint8_t {
    seek,     ///< Fetch again from the position.
    reopen,   ///< Make a fresh client.
    escalate, ///< No remedy is left: tell a person.
  };

  struct finding {
    topic_partition where;
    remedy what = remedy::seek;
    int64_t position = 0; ///< Where to seek to; -1: the beginning of the log.
    int64_t lag = 0;      ///< Records that wait, at most; 0: not known.
    bool known = true;    ///< Whether the committed offset is known.
    duration silent{};    ///< Time without progress.
  };

  /// @param patience Time without progress after which a remedy is due, and between two remedies.
  explicit stall_watchdog(duration patience) : patience_(patience) {}

  /// @param now On a clock that stands still while nothing may be fetched (gated).
  /// @param views All partitions that are ours. A partition that is missing keeps its state until
  /// it comes back, so that a fresh client does not reset it.
  std::vector<finding> observe(duration now, const std::vector<partition_view>& views);

  /// The time of the last observation: the clock of a fresh client goes on from there.
  duration now() const { return now_; }

private:
  struct watched {
    int64_t position = -1;
    bool known = false;
    duration since{};      ///< Of the latest progress.
    duration acted{};      ///< Of the latest remedy, or of the latest progress.
    uint32_t remedies = 0; ///< Remedies tried since then.
  };
  duration patience_, now_{};
  std::map<topic_partition, watched> watched_;
};

std::string_view to_string(stall_watchdog::remedy x) noexcept;

} // namespace ziyu::messaging
