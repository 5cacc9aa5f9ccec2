#pragma once

#include "supervision/leak_report.hpp"
#include "supervision/process.hpp"

#include <chrono>
#include <filesystem>
#include <optional>

namespace ziyu::supervision {

/// Has a leak explained by a short-lived helper process. So neither the time nor the memory
/// that this takes (debug information of a large library: tens of MB) burdens the control
/// process. Starting takes a millisecond; nothing blocks: request and report are passed in
/// memory files. The helper ends itself after `limit`, at the latest after 10 minutes, and
/// never holds more than 4 GiB of address space. The destructor ends the helper. Move-only, one
/// thread at a time.
class leak_explainer {
public:
  /// @param program The executable `ziyu`.
  static expected<leak_explainer> start(const std::filesystem::path& program, const leak_request& x,
                                        std::chrono::seconds limit = std::chrono::seconds{60});

  /// The report when it is complete; empty while the helper works. Errors: `io` with the helper's
  /// message (a broken dump, ...) or how the helper ended.
  std::optional<expected<leak_report>> poll();

  /// Blocks for the report; `timeout` after `limit`.
  expected<leak_report> wait(std::chrono::milliseconds limit);

  int32_t pid() const { return helper_.pid(); }

private:
  expected<leak_report> take(const exit_status& how);

  child_process helper_;
  unique_fd answer_;
};

/// The helper's main function (`ziyu __symbolize SECONDS`). Reads a request as JSON from descriptor
/// 3. Writes the report as JSON, or an error's text, to standard output.
/// @returns The exit code: 0 for a report, 1 for an error.
int run_leak_helper(unsigned limit_seconds);

} // namespace ziyu::supervision
