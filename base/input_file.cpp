#include "base/input_file.hpp"

#include "base/file.hpp"

namespace ziyu {

expected<std::string> read_input_file(const std::filesystem::path& path, uint64_t max_bytes) {
  std::error_code none;
  const auto is_file = std::filesystem::is_regular_file(path, none);
  if (const auto size = is_file ? std::filesystem::file_size(path, none) : 0;
      !none && size > max_bytes)
    return fail(errc::job_too_large,
                path.string() + " has " + std::to_string(size) + " bytes, but jobs.max_bytes is "
                  + std::to_string(max_bytes) + "; --set jobs.max_bytes=SIZE admits more");
  return read_file(path, max_bytes);
}

} // namespace ziyu
