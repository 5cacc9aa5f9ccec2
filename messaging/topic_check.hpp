#pragma once

#include "messaging/kafka_client.hpp"

#include <chrono>
#include <optional>
#include <string>

namespace ziyu::messaging {

/// Why nothing can be written to `topic` now: it is missing, forbidden or without a leader (a new
/// topic gets a second to find one). Empty if it can be written to, and when no broker answers
/// before `deadline`.
std::optional<error> unwritable(rd_kafka_t* client, const std::string& topic,
                                std::chrono::steady_clock::time_point deadline);

} // namespace ziyu::messaging
