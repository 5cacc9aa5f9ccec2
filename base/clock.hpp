#pragma once

#include <chrono>
#include <cstdint>

namespace ziyu {

/// The port to wall-clock time and to randomness. Actors take deadlines and delays from CAF's actor
/// clock. Everything else that would make a run unrepeatable comes through this port, so that a
/// simulation can supply it.
class environment {
public:
  virtual ~environment() = default;

  /// Milliseconds since the Unix epoch.
  virtual int64_t wall_ms() = 0;

  /// Microseconds of a monotonic clock, for durations.
  virtual int64_t monotonic_us() = 0;

  /// A uniformly distributed 64-bit number.
  virtual uint64_t random() = 0;
};

/// The real clocks and a generator seeded by the system. Thread-safe.
environment& system_environment();

} // namespace ziyu
