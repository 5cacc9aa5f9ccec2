#pragma once

#include "messaging/kafka_client.hpp"

#include <chrono>
#include <optional>

namespace ziyu::messaging {

// The properties that our clients run with: those given, those that Ziyu sets itself, and defaults
// for the rest. A property that is given by its other name gets no default.

kafka_properties with_consumer_defaults(kafka_properties given);
kafka_properties with_producer_defaults(kafka_properties given);

/// How long a record waits for others to go with, unless `x` says it. The default is 0, for those
/// who form groups of records themselves: `send_groups`.
void set_default_linger(kafka_properties& x, const char* ms);

/// @param limit As `transaction_settings::limit`.
kafka_properties with_transactional_defaults(kafka_properties given,
                                             std::chrono::milliseconds limit);

/// The properties of all Kafka clients of a service.
struct client_properties {
  kafka_properties consumer, producer;
  /// For `delivery.guarantee` exactly_once.
  std::optional<kafka_properties> transactional;
  std::chrono::milliseconds transaction_limit{15'000}; ///< As `transaction_settings::limit`.
};

/// Makes each of these clients and ends it again: librdkafka relates many properties to each other,
/// and checks that only then. Contacts no broker; takes some ms each. The error names the client
/// and quotes librdkafka's text, which names the property.
expected<void> check_clients(const client_properties& x);

} // namespace ziyu::messaging
