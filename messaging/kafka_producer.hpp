#pragma once

#include "messaging/kafka_client.hpp"
#include "messaging/producer.hpp"

namespace ziyu::messaging {

/// An idempotent `acks=all` producer. `on_report` is called on the producer's own thread, exactly
/// once per record that `produce` accepted. The destructor reports the remaining records as
/// failures.
expected<std::unique_ptr<producer>> make_kafka_producer(kafka_properties properties,
                                                        producer::report_handler on_report);

} // namespace ziyu::messaging
