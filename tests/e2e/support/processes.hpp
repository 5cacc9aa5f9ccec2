#pragma once

#include "base/error.hpp"
#include "messaging/broker/guarded_process.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace ziyu::e2e {

/// One process; `started` (clock ticks since boot) distinguishes it from a later process with the
/// same pid.
struct process_info {
  int32_t pid = 0, parent = 0;
  char state = '?'; ///< As in /proc/<pid>/stat; 'Z': ended, not reaped yet.
  uint64_t started = 0;
  std::string command;

  bool operator==(const process_info& x) const { return pid == x.pid && started == x.started; }
};

/// Children, grandchildren and so on of `root` that have not ended.
std::vector<process_info> descendants(int32_t root);

/// True while a process with this pid runs (a zombie does not).
bool is_running(int32_t pid);

std::string to_string(const std::vector<process_info>& list);

/// The result of a program that has ended.
struct outcome {
  int exit_code = 0; ///< 128 + the signal that ended it.
  std::string out, err;
  bool timed_out = false; ///< The test ended it.
};

/// Runs a program to its end, at most for `limit`. `command` begins with an absolute path. Neither
/// the program nor its children outlive this process.
outcome run_program(const std::vector<std::string>& command,
                    std::chrono::milliseconds limit = std::chrono::seconds{60});

/// build/<preset>/bin/ziyu
std::string ziyu_program();

/// The value, or an exception with the error (which fails the test).
template <class T>
T must(expected<T> x) {
  if (!x)
    throw std::runtime_error(x.error().describe());
  return std::move(*x);
}
inline void must(expected<void> x) {
  if (!x)
    throw std::runtime_error(x.error().describe());
}

} // namespace ziyu::e2e
