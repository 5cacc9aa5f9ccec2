#pragma once

#include "supervision/process.hpp"

#include <chrono>
#include <string>
#include <vector>

namespace ziyu::cli {

struct captured {
  supervision::exit_status how;
  std::string output; ///< Standard output, at most 1 MiB of it.
};

/// Runs a program to its end and returns what it wrote to standard output; its
/// standard error is ours. `timeout` when it takes longer than `limit` (it is ended
/// then), `io` when it cannot be started.
expected<captured> capture(std::vector<std::string> arguments, std::chrono::milliseconds limit);

} // namespace ziyu::cli
