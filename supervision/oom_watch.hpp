#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>

namespace ziyu::supervision {

/// Tells whether the kernel may have killed a process for lack of memory, by the cgroup's counter
/// of such kills (`read_oom_kills`). Each kill explains one death, and only for a while: a later
/// death has another reason. Pure; not thread-safe.
class oom_watch {
public:
  using clock = std::chrono::steady_clock;

  explicit oom_watch(clock::duration keep = std::chrono::seconds{10}) : keep_(keep) {}

  /// Takes the counter's value at `now`. Counting starts at the first reading.
  void observe(uint64_t kills, clock::time_point now);

  /// Whether a kill is left that explains a death at `now`. If so, that kill is used up.
  bool claim(clock::time_point now);

  /// Returns a claimed kill: the kernel did not cause that death after all.
  void give_back(clock::time_point now) { unclaimed_.push_back(now); }

private:
  clock::duration keep_;
  std::optional<uint64_t> counter_;
  std::deque<clock::time_point> unclaimed_; ///< When each kill was seen, the oldest first.
};

} // namespace ziyu::supervision
