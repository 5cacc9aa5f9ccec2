#pragma once

#include "supervision/process.hpp"

#include <cstdint>
#include <string>

namespace ziyu::supervision {

/// A handle that refers to one process even when its pid is used again: a `process_handle`. Where
/// pidfd_open(2) is refused (an old kernel, a sandbox, no descriptor left), it is the process's
/// start time in `/proc`; where that is not known either, the pid. Move-only.
class worker_handle {
public:
  /// Fails (`unavailable`) only when there is no such process.
  static expected<worker_handle> open(int32_t pid);
  /// As `open` where pidfd_open(2) is refused.
  static expected<worker_handle> open_without_pidfd(int32_t pid);

  worker_handle() = default;
  int32_t pid() const { return pid_; }
  /// False when the process is gone.
  bool signal(int number) const;
  /// True when the process has ended (it may not have been reaped yet).
  bool ended() const;
  /// True when it is stopped (SIGSTOP, a debugger), so that it cannot answer.
  bool stopped() const;

private:
  int32_t pid_ = 0;
  std::optional<process_handle> exact_;
  uint64_t started_ = 0; ///< Clock ticks since the boot; 0: not known.
};

/// Why pidfd_open(2) does not work here; empty when it does.
std::string pidfd_trouble();

} // namespace ziyu::supervision
