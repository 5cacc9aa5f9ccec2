#pragma once

#include "messaging/kafka_client.hpp"

#include <chrono>
#include <optional>
#include <string>

namespace ziyu::messaging {

/// Why nobody could write to `topic` now: it is missing, forbidden or without a leader, also
/// after the second that a new topic may take to find one. Nothing if it can be written to, and
/// when no broker tells before `deadline`.
std::optional<error> unwritable(rd_kafka_t* client, const std::string& topic,
                                std::chrono::steady_clock::time_point deadline);

} // namespace ziyu::messaging
