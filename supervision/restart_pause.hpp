#pragma once

#include "supervision/backoff.hpp"

#include <optional>

namespace ziyu::supervision {

/// The pause before a child that died is started again: a backoff whose series ends when no child
/// has died for a while. So rare deaths never add up to long pauses. Pure.
class restart_pause {
public:
  using clock = std::chrono::steady_clock;

  /// @param calm The series begins anew when so much time passes between two deaths.
  /// @pre 0 < initial <= max, calm > 0
  restart_pause(backoff::duration initial, backoff::duration max, clock::duration calm)
    : backoff_(initial, max), calm_(calm) {}

  /// The pause after a death at `now`. @param random Any 64-bit number.
  backoff::duration next(uint64_t random, clock::time_point now) {
    if (latest_ && now - *latest_ >= calm_)
      backoff_.reset();
    latest_ = now;
    return backoff_.next(random);
  }

  void reset() { backoff_.reset(); }

private:
  backoff backoff_;
  clock::duration calm_;
  std::optional<clock::time_point> latest_;
};

} // namespace ziyu::supervision
