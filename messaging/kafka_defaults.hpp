#pragma once

#include "messaging/kafka_client.hpp"

#include <chrono>
#include <optional>

namespace ziyu::messaging {

// The properties that our clients run with: those given, those that are ours to say, and
// defaults for the rest. A property that is given by another of its names has no default.

kafka_properties with_consumer_defaults(kafka_properties given);
kafka_properties with_producer_defaults(kafka_properties given);

/// @param limit As `transaction_settings::limit`.
kafka_properties with_transactional_defaults(kafka_properties given,
                                             std::chrono::milliseconds limit);

/// What a service runs.
struct client_properties {
  kafka_properties consumer, producer;
  /// For `delivery.guarantee` exactly_once.
  std::optional<kafka_properties> transactional;
  std::chrono::milliseconds transaction_limit{15'000}; ///< As `transaction_settings::limit`.
};

/// Makes each of these clients and ends it again: librdkafka relates many properties to each
/// other, and tells only then. Asks no broker; takes some ms each. The error names the client
/// and, in librdkafka's words, the property.
expected<void> check_clients(const client_properties& x);

} // namespace ziyu::messaging
