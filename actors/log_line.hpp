#pragma once

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <string_view>

namespace ziyu::actors {

/// Writes one line to the log. As text: what happened, why, and the values as `key=value`. As
/// JSON: "message" (what and why), "event" if there is a type, and "detail" with the values.
/// Long values are left out, and from a text also values with parts: those are for the event
/// topic.
/// @param why May be empty.
/// @param detail An object. Units are in the names.
/// @param event The type of an event.
void log_line(spdlog::level::level_enum level, std::string_view what, std::string_view why,
              const nlohmann::json& detail, std::string_view event = {});

/// The text form.
std::string as_text(std::string_view what, std::string_view why, const nlohmann::json& detail);

/// The part of an event's detail that says why it happened, or empty.
std::string why_of(const nlohmann::json& detail);

} // namespace ziyu::actors
