#pragma once

#include "messaging/consumer.hpp"
#include "messaging/kafka_client.hpp"

namespace ziyu::messaging {

/// A member of a consumer group on `topics`. `properties` need at least `bootstrap.servers` and
/// `group.id`; our defaults fill the rest. Only this consumer commits offsets, with their maps,
/// each `auto.commit.interval.ms` or when urgent. Fetching begins at the earliest offset where
/// nothing is committed. An absent broker is no error here: the consumer keeps trying and reports
/// it by `consumer_failed`.
expected<std::unique_ptr<consumer>> make_kafka_consumer(kafka_properties properties,
                                                        const std::vector<std::string>& topics);

} // namespace ziyu::messaging
