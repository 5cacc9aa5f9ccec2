#pragma once

#include "supervision/leak_report.hpp"
#include "supervision/process.hpp"

#include <chrono>
#include <filesystem>
#include <optional>

namespace ziyu::supervision {

/// Has a leak explained by a short-lived helper process, so that neither the time nor
/// the memory that it takes (debug information of a large library: tens of MB) is the
/// control process's. Starting takes a millisecond; nothing blocks: request and
/// report travel in memory files. The helper ends itself after `limit`, at the latest
/// 10 minutes, and never holds more than 4 GiB of address space. Destroying this ends
/// it. Move-only, one thread at a time.
class leak_explainer {
public:
  /// @param program The executable `ziyu`.
  static expected<leak_explainer> start(const std::filesystem::path& program, const leak_request& x,
                                        std::chrono::seconds limit = std::chrono::seconds{60});

  /// The report, once it is there; empty while the helper works. Errors: `io` with
  /// the helper's words (a broken dump, ...) or how it ended.
  std::optional<expected<leak_report>> poll();

  /// Blocks for the report; `timeout` after `limit`.
  expected<leak_report> wait(std::chrono::milliseconds limit);

  int32_t pid() const { return helper_.pid(); }

private:
  expected<leak_report> take(const exit_status& how);

  child_process helper_;
  wire::unique_fd answer_;
};

/// The helper's main function (`ziyu __symbolize SECONDS`): a request as JSON on
/// descriptor 3, the report as JSON, or the words of an error, on standard output.
/// @returns The exit code: 0 for a report, 1 for an error.
int run_leak_helper(unsigned limit_seconds);

} // namespace ziyu::supervision
