#pragma once

#include "supervision/process.hpp"

#include <chrono>
#include <string>
#include <vector>

namespace ziyu::cli {

struct captured {
  supervision::exit_status how;
  std::string output; ///< The program's output.
};

enum class capture_errors : bool { no, yes };

/// Runs a program to its end and returns its standard output (at most 1 MiB) and, if wanted, its
/// standard error. `timeout` when the program takes longer than `limit` or writes more (it is then
/// ended), `io` when it cannot be started.
expected<captured> capture(std::vector<std::string> arguments, std::chrono::milliseconds limit,
                           capture_errors errors = capture_errors::no);

} // namespace ziyu::cli
