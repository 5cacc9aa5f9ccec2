#pragma once

#include <chrono>
#include <cstdint>

namespace ziyu::supervision {

/// Exponential backoff with full jitter: the n-th delay is uniform in [cap/2,
/// cap] where cap = min(max, initial · 2^n). Pure: the caller passes the random
/// number.
class backoff {
public:
  using duration = std::chrono::milliseconds;

  /// @pre 0 < initial <= max
  backoff(duration initial, duration max);

  /// The delay before the next retry. @param random Any 64-bit number.
  duration next(uint64_t random);

  /// After a success: the next delay is `initial` again.
  void reset();

  uint32_t attempts() const { return attempts_; }

private:
  duration initial_, max_;
  uint32_t attempts_ = 0;
};

} // namespace ziyu::supervision
