#pragma once

#include "base/descriptor.hpp"
#include "base/error.hpp"

#include <atomic>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

namespace ziyu::actors {

/// The events that a service's main thread waits for: signals, and a fatal error from inside.
class wakeups {
public:
  enum class kind { stop, fatal, drain, resume };

  /// Blocks the signals for this thread and the threads that it starts: construct it before any
  /// thread.
  wakeups();

  /// Thread-safe; only the first error counts.
  void fail_with(error x);

  /// Blocks until there is a reason to do something.
  kind wait();

  /// Whether `wait` would return `stop` or `fatal` now: for the main thread while it waits for
  /// something else. `wait` still returns it later.
  bool stop_is_due();

  /// Waits for a SIGTERM, SIGINT or SIGHUP beyond the first `expected` ones, or until `done` can be
  /// read (then false). `wait` still returns the earlier signals.
  bool stopped_again(int done, int expected);

  std::optional<error> fatal() const;
  int signal() const { return signal_; }

private:
  int read_signal();
  int next_unheard();

  unique_fd signals_, wake_;
  mutable std::mutex mutex_;
  std::optional<error> fatal_;
  std::deque<int> unheard_; ///< Signals for the next `wait`.
  std::atomic<int> signal_{0};
};

/// While it lives, a second SIGTERM, SIGINT or SIGHUP ends the process at once, with exit code 1:
/// for operators who cannot wait for the drain. Nothing is lost: records without an acknowledgement
/// are not committed, and the workers end when their sockets close.
class impatience {
public:
  /// @param expected 0 when the first signal has been received already, else 1.
  impatience(wakeups& signals, int expected);
  ~impatience();
  impatience(const impatience&) = delete;
  impatience& operator=(const impatience&) = delete;

private:
  unique_fd done_;
  std::thread thread_;
};

} // namespace ziyu::actors
