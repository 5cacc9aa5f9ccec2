#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>

namespace ziyu::messaging {

/// Which records go to the broker together. A record goes at once while few groups are on their
/// way; otherwise it waits, and goes with all that have come meanwhile (Nagle's algorithm, RFC
/// 896). So a lone record waits for nobody, and under load requests are few and large. Pure: the
/// caller passes the time.
class send_groups {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// @param most Groups on their way at once, at least 1.
  /// @param patience A group that is longer on its way holds nobody up: a topic may take no records
  /// while others do.
  send_groups(size_t most, std::chrono::milliseconds patience) : most_(most), patience_(patience) {}

  /// Whether a group may go.
  bool open(time_point now);

  /// A record of the present group goes. Returns the group's number, for `settle`.
  uint64_t add(time_point now);

  /// The present group, if any, is complete: the next record begins another one.
  void close() { closed_ = true; }

  /// The outcome of one record of `group` is known.
  void settle(uint64_t group);

private:
  struct group {
    uint64_t number = 0;
    size_t left = 0; ///< Records whose outcome is not known.
    time_point since;
  };
  size_t most_;
  std::chrono::milliseconds patience_;
  std::deque<group> out_; ///< In the order in which they went.
  uint64_t last_ = 0;
  bool closed_ = true;
};

} // namespace ziyu::messaging
