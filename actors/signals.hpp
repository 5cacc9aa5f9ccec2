#pragma once

#include "base/error.hpp"
#include "wire/socket.hpp"

#include <atomic>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

namespace ziyu::actors {

/// What the main thread of a service waits for: signals, and a fatal error from inside.
class wakeups {
public:
  enum class kind { stop, fatal, drain, resume };

  /// Blocks the signals for this thread and those that it starts: comes before all of them.
  wakeups();

  /// Thread-safe; the first one counts.
  void fail_with(error x);

  /// Blocks until there is a reason to do something.
  kind wait();

  /// Whether `wait` would say `stop` or `fatal` soon: for the main thread, while it waits for
  /// something else. `wait` still tells of it.
  bool stop_is_due();

  /// Waits for a SIGTERM or SIGINT beyond the first `expected` ones, or until `done` can be
  /// read: false then. `wait` still tells of what came before.
  bool stopped_again(int done, int expected);

  std::optional<error> fatal() const;
  int signal() const { return signal_; }

private:
  int read_signal();
  int next_unheard();

  wire::unique_fd signals_, wake_;
  mutable std::mutex mutex_;
  std::optional<error> fatal_;
  std::deque<int> unheard_; ///< Signals for the next `wait`.
  std::atomic<int> signal_{0};
};

/// While it lives, a second SIGTERM or SIGINT ends the process at once, with exit code 1: for
/// whoever cannot wait for the drain. Nothing is lost by it: what is not acknowledged is not
/// committed, and the workers end with their sockets.
class impatience {
public:
  /// @param expected 0 when the first one has been heard already, else 1.
  impatience(wakeups& signals, int expected);
  ~impatience();
  impatience(const impatience&) = delete;
  impatience& operator=(const impatience&) = delete;

private:
  wire::unique_fd done_;
  std::thread thread_;
};

} // namespace ziyu::actors
