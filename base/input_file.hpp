#pragma once

#include "base/error.hpp"

#include <filesystem>
#include <string>

namespace ziyu {

/// Reads a file that becomes a job's image. `job_too_large` for one of more than `max_bytes` (of
/// `jobs.max_bytes`), which is not read; otherwise as `read_file`.
expected<std::string> read_input_file(const std::filesystem::path& path, uint64_t max_bytes);

} // namespace ziyu
