#pragma once

#include "messaging/consumer.hpp"
#include "messaging/kafka_client.hpp"

namespace ziyu::messaging {

/// What the group of `client` has committed for the partitions of `list`, with the map of
/// what is finished beyond (decision 0009); those without a commit are left out. Waits for
/// the coordinator up to `limit`, and as long for the ends of the logs.
expected<std::map<topic_partition, committed_state>> read_committed(
  rd_kafka_t* client, const rd_kafka_topic_partition_list_t& list, std::chrono::milliseconds limit);

/// The ends of the partitions of `list` (whose offsets it overwrites), as far as they can be
/// had within `limit`.
std::map<topic_partition, int64_t> log_ends(rd_kafka_t* client,
                                            rd_kafka_topic_partition_list_t& list,
                                            std::chrono::milliseconds limit);

} // namespace ziyu::messaging
