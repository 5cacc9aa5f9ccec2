#pragma once

#include "messaging/kafka_client.hpp"
#include "messaging/transactional_producer.hpp"

namespace ziyu::messaging {

/// The steps of a transaction; each is announced before it is taken.
enum class transaction_step : uint8_t { begin, produce, send_offsets, commit, end };

struct transaction_settings {
  std::string group; ///< The consumer group whose offsets are committed.
  /// Bounds each of: initialisation, delivery of all records, sending the offsets, the commit. Must
  /// be below `transaction.timeout.ms`, which is twice this by default.
  std::chrono::milliseconds limit{15'000};
  /// Called on the producer's thread before each step; for tests and traces.
  std::function<void(transaction_step)> on_step;
};

/// A producer that recovers: after a fatal error, and after an error that leaves it unknown how a
/// commit ended (KIP-890 describes both), it makes a new client under the same `transactional.id`.
/// That ends the old transaction one way or the other. The group's committed offsets then tell
/// which way. `properties` need `transactional.id`. The report handler is called on the producer's
/// own thread, at the latest from the destructor (`aborted`).
expected<std::unique_ptr<transactional_producer>> make_kafka_transactional_producer(
  kafka_properties properties, transaction_settings settings,
  transactional_producer::report_handler on_report);

} // namespace ziyu::messaging
