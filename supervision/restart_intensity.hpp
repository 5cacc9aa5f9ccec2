#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>

namespace ziyu::supervision {

/// Decides whether a supervisor may restart a child once more.
///
/// Follows the OTP rule (stdlib, supervisor): more than `max_restarts` within `period` means that
/// the fault is not transient, so that the supervisor should stop restarting and escalate. A
/// restart can be excused while another party may be at fault. Not thread-safe; lives in a
/// supervisor's state.
class restart_intensity {
public:
  using clock = std::chrono::steady_clock;
  using child = std::pair<uint32_t, uint64_t>; ///< Slot and generation.

  /// @param max_restarts Restarts tolerated within one `period`; 0 forbids any.
  /// @pre `period > 0`
  restart_intensity(size_t max_restarts, clock::duration period);

  /// Records a restart at `now`; returns whether it is within the limit. The caller passes the
  /// time, so that tests need neither clock nor sleep.
  /// @param who For `excuse`; nothing when the restart will never be excused.
  [[nodiscard]] bool admit(clock::time_point now, std::optional<child> who = std::nullopt);

  /// The restart of `who` does not count, even if it is recorded only after this call.
  void excuse(child who, clock::time_point now);

  /// The restart counts after all, at its own time. Returns whether that is within the limit.
  [[nodiscard]] bool accuse(child who, clock::time_point now);

  /// Restarts within the period that ends at `now`, without excused ones.
  size_t recent(clock::time_point now) const;

private:
  struct restart {
    clock::time_point when;
    std::optional<child> who;
    bool excused = false;
  };
  void forget_old(clock::time_point now);

  size_t max_restarts_;
  clock::duration period_;
  std::deque<restart> restarts_;
  std::map<child, clock::time_point> excused_early_; ///< When each was excused; not recorded yet.
};

} // namespace ziyu::supervision
