#pragma once

#include "actors/set_aside.hpp"

namespace ziyu::actors {

/// Watches for a publisher whether results and dead letters get through, and says when the breaker
/// has to be told. Pure: the caller passes the time.
class delivery_watch {
public:
  using clock = std::chrono::steady_clock;
  /// What the breaker is to be told; nothing if it knows.
  using news = std::optional<breaker_input>;

  struct backlog {
    uint64_t records = 0, bytes = 0; ///< Results and dead letters without acknowledgement.
    bool waits = false;              ///< For any acknowledgement, be it of offsets.
  };

  /// @param stall_limit It is a stall when nothing is acknowledged for so long while something
  /// waits, or when a topic takes no results for so long.
  delivery_watch(std::chrono::milliseconds stall_limit, clock::time_point now)
    : stall_limit_(stall_limit), last_progress_(now) {}

  /// Something was acknowledged, or nothing waits at present.
  void progressed(clock::time_point now) { last_progress_ = now; }
  clock::time_point last_progress() const { return last_progress_; }

  /// Nothing can be delivered, for this reason.
  news fails(const std::string& reason, const backlog& x, clock::time_point now);

  /// Records get through; nothing while a topic holds back results.
  news works(const set_aside& aside, clock::time_point now);

  /// What the breaker's event says of a stall: "`what` for N ms: `guess`".
  struct stall {
    std::string what, guess;
    backlog waiting;
  };
  /// Looks for a stall from time to time.
  /// @param waits Whether anything waits for an acknowledgement, be it of offsets.
  /// @param able Without a stall, records would get through.
  /// @param describe Returns the `stall`; called only for one that the breaker does not know.
  template <class F>
  news look(const set_aside& aside, bool waits, clock::time_point now, bool able, F describe) {
    const auto held = aside.results_held(now, stall_limit_);
    const auto silent = waits && now - last_progress_ > stall_limit_;
    if (!held && !silent)
      return able ? works(aside, now) : std::nullopt;
    if (failing_)
      return std::nullopt;
    const stall x = describe();
    return fails(held ? "topic " + held->first + " takes no results: " + held->second.message
                      : x.what + " for " + std::to_string(stall_limit_.count()) + " ms: " + x.guess,
                 x.waiting, now);
  }

private:
  std::chrono::milliseconds stall_limit_;
  clock::time_point last_progress_;
  bool failing_ = false;
};

/// Passes on what the breaker is to be told. The broker answers again when it works.
template <class Self>
void tell_breaker(Self& self, const dispatcher_actor& dispatcher, delivery_watch::news x) {
  if (!x)
    return;
  const auto works = !x->raised;
  self.send(dispatcher, std::move(*x));
  if (works)
    self.send(dispatcher, atom::reachable{});
}

} // namespace ziyu::actors
