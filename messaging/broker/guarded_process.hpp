#pragma once

#include "supervision/process.hpp"

#include <filesystem>
#include <vector>

namespace ziyu::broker {

/// A child process that ends when this object is destroyed, and also when this process dies in any
/// way. It has a terminal session of its own. Move-only.
class guarded_process {
public:
  /// @param command Absolute path of the program and its arguments.
  /// @param log Where its standard output and error go.
  /// @param stdout_fd Standard output goes here instead, if given.
  static expected<guarded_process> start(const std::vector<std::string>& command,
                                         const std::filesystem::path& log,
                                         std::optional<int> stdout_fd = {});

  guarded_process() = default;
  guarded_process(guarded_process&&) noexcept = default;
  guarded_process& operator=(guarded_process&&) noexcept = default;
  /// Ends the program: SIGTERM, and SIGKILL after the guard's grace of 10 s.
  ~guarded_process();

  bool running() { return guard_.running(); }
  int32_t pid() const { return guard_.pid(); } ///< Of the guard.
  std::optional<supervision::exit_status> wait(std::chrono::milliseconds limit) {
    return guard_.wait(limit);
  }

  /// SIGTERM to the program, up to `grace`, then SIGKILL; returns when it is gone.
  supervision::exit_status end(std::chrono::milliseconds grace);

private:
  supervision::child_process guard_;
  unique_fd lifeline_; ///< Closed by our death at the latest.
};

} // namespace ziyu::broker
