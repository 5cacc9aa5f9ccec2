#pragma once

#include "configs/schema.hpp"

namespace ziyu::configs {

/// What of the librdkafka properties of a (completed) document could lose a job, stall its
/// partition or break the accounting: each with the reason.
std::vector<violation> check_kafka_rules(const nlohmann::json& document);

} // namespace ziyu::configs
