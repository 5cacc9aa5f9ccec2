#pragma once

#include "configs/schema.hpp"

namespace ziyu::configs {

/// A transaction may be written at several partitions' leaders while one of them changes.
inline constexpr int64_t default_transaction_timeout_ms = 30'000;

/// What of the librdkafka properties of a (completed) document could lose a job, stall its
/// partition or break the accounting: each with the reason.
std::vector<violation> check_kafka_rules(const nlohmann::json& document);

} // namespace ziyu::configs
