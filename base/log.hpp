#pragma once

#include "base/error.hpp"

#include <spdlog/spdlog.h>

#include <string>

namespace ziyu {

/// Sets up the process-wide log on standard error.
/// @param level One of trace, debug, info, warn, error.
/// @param format "text" (one line for people) or "json" (one object a line).
expected<void> init_log(const std::string& level, const std::string& format);

// Use spdlog::info(...) and friends. Context goes into the text as key=value:
// slot=0 generation=3 job=abc attempt=1.

} // namespace ziyu
