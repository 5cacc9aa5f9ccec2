#pragma once

#include <cerrno>
#include <chrono>

#include <poll.h>
#include <sys/wait.h>

namespace ziyu::test {

/// Reaps children until none is left. After `supervision::become_subreaper` that means that
/// everything that a program started has ended.
inline bool no_child_is_left(std::chrono::seconds limit = std::chrono::seconds{60}) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (std::chrono::steady_clock::now() < deadline) {
    const auto pid = ::waitpid(-1, nullptr, WNOHANG);
    if (pid < 0 && errno == ECHILD)
      return true;
    if (pid == 0)
      ::poll(nullptr, 0, 10);
  }
  return false;
}

} // namespace ziyu::test
