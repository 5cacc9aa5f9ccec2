#pragma once

#include "supervision/process.hpp"

#include <filesystem>
#include <string>

namespace ziyu::cli {

/// A new folder below the system's temporary folder. A process of its own (`ziyu __sweep`) makes it
/// and removes it: when this object is destroyed, and also when this process dies in any way, after
/// the programs that use the folder have ended. Move-only.
class swept_folder {
public:
  /// `errc::io` when no folder was made within some seconds.
  static expected<swept_folder> make(const std::string& prefix);

  swept_folder(swept_folder&&) noexcept = default;
  swept_folder& operator=(swept_folder&&) noexcept = default;
  /// Returns when the folder is gone.
  ~swept_folder();

  const std::filesystem::path& path() const { return path_; }

private:
  swept_folder() = default;

  supervision::child_process sweeper_;
  unique_fd lifeline_; ///< Closed at the latest when this process dies.
  std::filesystem::path path_;
};

/// The other process: makes a folder, writes its path to `fd`, and removes the folder when `fd` is
/// closed at the other end. It first waits, for at most a minute, until no process has the folder's
/// path in its command line.
/// @returns The exit code.
int run_sweeper(int fd, const std::string& prefix);

} // namespace ziyu::cli
