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

  /// What a stall is called: "`what` for N ms: `guess`".
  struct stall {
    std::string what, guess;
  };
  /// Looks for a stall from time to time. @param able Without a stall, records would get through.
  news look(const set_aside& aside, const backlog& x, clock::time_point now, const stall& text,
            bool able);

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
