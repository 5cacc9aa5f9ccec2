#pragma once

#include "messaging/record.hpp"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

namespace ziyu::cli {

// Table rows for people, one line each without the line break. Columns are
// aligned by display width; colours only when `colours`.

/// Local time with milliseconds, 18 columns: "11-25 00:12:03.123".
std::string time_of(int64_t ms);

std::string result_head(bool colours);

/// A row for a result record (ziyu.result.v1), or a note when it is not one.
std::string result_row(const messaging::record& x, bool colours);

std::string event_head(bool colours);

/// A row for an event record (ziyu.event.v1), or a note when it is not one.
std::string event_row(const messaging::record& x, bool colours);

std::string dead_letter_head(bool colours);

/// A row for a dead letter, from its headers.
/// @param payload_bytes The value's size; empty for null.
std::string dead_letter_row(const messaging::record& x, std::optional<size_t> payload_bytes,
                            bool colours);

/// A dead letter as the answer to a job, in the columns of `result_row`.
std::string dead_letter_answer_row(const messaging::record& x, bool colours);

/// A dead letter as JSON: job id, reason, source, headers and size of its payload.
nlohmann::json dead_letter_json(const messaging::record& x, std::optional<size_t> payload_bytes);

} // namespace ziyu::cli
