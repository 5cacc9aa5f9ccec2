#pragma once

#include <string>
#include <vector>

namespace ziyu::broker {

/// Runs a program of somebody else so that it never outlives the caller. When `watched_fd` is
/// closed at the other end (however that process died), the program gets SIGTERM, and after a grace
/// period SIGKILL. SIGTERM and SIGINT are passed on. Call it in a process of its own (`ziyu __guard
/// FD PROGRAM ARGUMENT…`).
/// @returns The program's exit code, or 128 + the signal that ended it.
int run_guard(int watched_fd, const std::vector<std::string>& command);

} // namespace ziyu::broker
