#pragma once

#include "base/error.hpp"

#include <spdlog/spdlog.h>

#include <string>

namespace ziyu {

/// Sets up the process-wide log on standard error.
/// @param level One of trace, debug, info, warn (or warning), error.
/// @param format "text" (one line for people) or "json" (one object a line).
expected<void> init_log(const std::string& level, const std::string& format);

/// Whether lines are JSON objects.
bool log_is_json() noexcept;

/// Writes a line whose object has more members than the usual ones.
/// @param members Valid JSON, the inside of an object, e.g. `"detail":{"slot":0}`.
void log_with_members(spdlog::level::level_enum level, const std::string& message,
                      const std::string& members);

// For a text alone use spdlog::info(...) and friends; with values, actors/log_line.hpp.

} // namespace ziyu
