#pragma once

#include <chrono>
#include <cstddef>
#include <deque>

namespace ziyu::supervision {

/// Decides whether a supervisor may restart a child once more.
///
/// Follows the OTP rule (stdlib, supervisor): more than `max_restarts` within
/// `period` means that the fault is not transient, so the supervisor should stop
/// restarting and escalate. Not thread-safe; lives in a supervisor's state.
class restart_intensity {
public:
  using clock = std::chrono::steady_clock;

  /// @param max_restarts Restarts tolerated within one `period`; 0 forbids any.
  /// @pre `period > 0`
  restart_intensity(size_t max_restarts, clock::duration period);

  /// Records a restart at `now`; returns whether it is within the limit. The
  /// caller passes the time, so tests need neither clock nor sleep.
  [[nodiscard]] bool admit(clock::time_point now);

  /// Restarts within the period that ends at `now`.
  size_t recent(clock::time_point now) const;

private:
  size_t max_restarts_;
  clock::duration period_;
  std::deque<clock::time_point> restarts_;
};

} // namespace ziyu::supervision
