#pragma once

#include "base/descriptor.hpp"
#include "base/error.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::supervision {

/// How a process ended.
struct exit_status {
  int exit_code = 0;
  int signal = 0;               ///< 0: it ended by itself with `exit_code`.
  std::string describe() const; ///< "exit code 3", "signal 9 (SIGKILL)".
};

/// How to start a child.
struct child_specification {
  std::vector<std::string> arguments;             ///< The first is the program's path.
  std::map<std::string, std::string> environment; ///< Added to what it inherits.
  /// Names of the variables that the child inherits from us; unset: all of them.
  std::optional<std::vector<std::string>> inherit = std::nullopt;
  bool no_stdin = false;                   ///< Reads end of file instead of our standard input.
  std::optional<int> stdout_fd, stderr_fd; ///< Else inherited.
  std::optional<int> control_fd;           ///< Becomes descriptor 3 of the child.
  bool new_session = false;                ///< setsid: a terminal's Ctrl-C does not reach it.
};

/// The variables that workers, and processes that read workers' data, inherit from us. Secrets
/// (e.g., those that a configuration names) are not among them: a model or a decoder may come from
/// anybody.
std::vector<std::string> worker_environment();

/// One child process. The destructor ends it (SIGTERM, grace, SIGKILL) and reaps it. Move-only. Not
/// thread-safe.
class child_process {
public:
  static expected<child_process> start(const child_specification& x);
  child_process() = default;
  child_process(child_process&&) noexcept;
  child_process& operator=(child_process&&) noexcept;
  ~child_process();

  int32_t pid() const { return pid_; }
  bool running();          ///< Reaps the child when it has ended.
  void signal(int number); ///< Does nothing when the child has ended.
  /// Waits for the end up to `limit`; empty when it still runs.
  std::optional<exit_status> wait(std::chrono::milliseconds limit);
  /// SIGTERM, up to `grace`, SIGKILL; always returns with the child reaped.
  exit_status end(std::chrono::milliseconds grace);

private:
  int32_t pid_ = 0;
  std::optional<exit_status> status_;
};

/// A handle that refers to one process even when its pid is used again (pidfd_open(2)).
/// Move-only.
class process_handle {
public:
  static expected<process_handle> open(int32_t pid);
  process_handle() = default;
  int32_t pid() const { return pid_; }
  /// False when the process is gone.
  bool signal(int number) const;
  /// True when the process has ended (it may not have been reaped yet).
  bool ended() const;

private:
  int32_t pid_ = 0;
  unique_fd fd_;
};

/// Orphaned descendants become our children from now on (PR_SET_CHILD_SUBREAPER).
void become_subreaper();

/// Reaps the orphan `pid` if it has ended and is our child.
std::optional<exit_status> reap(int32_t pid);

} // namespace ziyu::supervision
