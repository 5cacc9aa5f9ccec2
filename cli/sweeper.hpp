#pragma once

#include "supervision/process.hpp"

#include <filesystem>
#include <string>

namespace ziyu::cli {

/// A fresh folder below the system's temporary folder. A process of its own (`ziyu __sweep`)
/// makes it and removes it: when this object is destroyed, and also when this process dies in
/// any way, once the programs that use the folder have ended. Move-only.
class swept_folder {
public:
  /// `errc::io` when there is no folder within some seconds.
  static expected<swept_folder> make(const std::string& prefix);

  swept_folder(swept_folder&&) noexcept = default;
  swept_folder& operator=(swept_folder&&) noexcept = default;
  /// Returns when the folder is gone.
  ~swept_folder();

  const std::filesystem::path& path() const { return path_; }

private:
  swept_folder() = default;

  supervision::child_process sweeper_;
  wire::unique_fd lifeline_; ///< Closed by our death at the latest.
  std::filesystem::path path_;
};

/// The other side: makes a folder, writes its path to `fd`, and removes it when `fd` is closed
/// at the other end. Before that it waits until no process has the folder's path in its command
/// line, but no longer than a minute.
/// @returns The exit code.
int run_sweeper(int fd, const std::string& prefix);

} // namespace ziyu::cli
