#pragma once

#include "base/error.hpp"

#include <filesystem>
#include <string>
#include <string_view>

namespace ziyu {

/// Reads a whole file, or a pipe that ends within 30 s. `errc::io` names the path and the reason,
/// which is the system's, or that it is a device, or larger than `max_bytes`.
expected<std::string> read_file(const std::filesystem::path& path,
                                uint64_t max_bytes = uint64_t{4} << 30);

/// Writes a file by way of a temporary one beside it and a rename, so that a reader never
/// sees half of it. What is there keeps its permissions; a symbolic link stays and the file that
/// it names is written; a device or pipe is written to, never replaced.
expected<void> write_file(const std::filesystem::path& path, std::string_view content);

/// The folder that holds the running executable.
std::filesystem::path executable_dir();

/// A fresh folder below the system's temporary folder, removed with all its
/// content by the destructor. Move-only.
class temp_dir {
public:
  /// Crashes the process if no folder can be made.
  explicit temp_dir(std::string_view prefix = "ziyu");
  ~temp_dir();
  temp_dir(temp_dir&&) noexcept;
  temp_dir& operator=(temp_dir&&) noexcept;

  const std::filesystem::path& path() const { return path_; }

private:
  std::filesystem::path path_;
};

} // namespace ziyu
