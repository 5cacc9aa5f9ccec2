#pragma once

#include "messaging/consumer.hpp"
#include "messaging/kafka_client.hpp"

namespace ziyu::messaging {

/// A member of a consumer group on `topics`. `properties` need at least
/// `bootstrap.servers` and `group.id`; ours fill the gaps (offsets are
/// committed by us alone, with their maps, each `auto.commit.interval.ms` or when urgent; from
/// the earliest offset). An absent
/// broker is no error here: it keeps trying and says so by `consumer_failed`.
expected<std::unique_ptr<consumer>> make_kafka_consumer(kafka_properties properties,
                                                        const std::vector<std::string>& topics);

} // namespace ziyu::messaging
