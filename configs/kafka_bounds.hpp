#pragma once

#include "configs/schema.hpp"

namespace ziyu::configs {

/// Finds librdkafka properties that both clients take and with which the service would not keep a
/// promise, or would never work: bounds of single properties, and relations that librdkafka does
/// not check. Part of `check_kafka_rules`.
void check_kafka_bounds(const nlohmann::json& document, std::vector<violation>& found);

} // namespace ziyu::configs
