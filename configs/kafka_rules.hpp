#pragma once

#include "configs/schema.hpp"

namespace ziyu::configs {

/// Time for a transaction on several partitions while one of their leaders changes.
inline constexpr int64_t default_transaction_timeout_ms = 30'000;

/// Finds librdkafka properties of a (completed) document that could lose a job, stall its partition
/// or break the accounting. Each violation has its reason.
std::vector<violation> check_kafka_rules(const nlohmann::json& document);

} // namespace ziyu::configs
