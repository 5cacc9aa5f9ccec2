#pragma once

#include "messaging/consumer.hpp"
#include "messaging/kafka_client.hpp"

#include <map>
#include <optional>
#include <set>
#include <vector>

namespace ziyu::messaging {

/// Committed states by partition. A partition without a commit of the group is not in it.
using committed_states = std::map<topic_partition, std::optional<committed_state>>;

/// What the group of `client` has committed for `partitions`, with the map of what is finished
/// beyond (decision 0009). Waits up to `limit` for the coordinator and up to `leader_limit` for
/// each leader. Leaves out the partitions whose state is not known by then, also those that have a
/// map, but whose log's end (it tells whether the map is of this log) is not known.
expected<committed_states> read_committed(rd_kafka_t* client,
                                          const std::vector<topic_partition>& partitions,
                                          std::chrono::milliseconds limit,
                                          std::chrono::milliseconds leader_limit);

/// A committed offset as the coordinator has stored it.
struct stable_commit {
  topic_partition where;
  int64_t next = -1;
  std::string metadata;
};

/// What `group` has committed for each of `partitions`, asked through any client. Returns an error
/// while a transaction on one of them is open.
expected<std::vector<stable_commit>> read_stable(rd_kafka_t* client, const std::string& group,
                                                 const std::vector<topic_partition>& partitions,
                                                 std::chrono::milliseconds limit);

/// The ends of the logs of `partitions`, as far as they can be had. Waits up to `limit` for all
/// leaders, then asks for each partition by itself: a leader that is away does not hide the ends of
/// other partitions.
std::map<topic_partition, int64_t> log_ends(rd_kafka_t* client,
                                            const std::set<topic_partition>& partitions,
                                            std::chrono::milliseconds limit);

/// The beginnings of these logs, in the same way: retention has deleted everything below.
std::map<topic_partition, int64_t> log_starts(rd_kafka_t* client,
                                              const std::set<topic_partition>& partitions,
                                              std::chrono::milliseconds limit);

/// The ids of `topics` (KIP-516), as far as they can be had within `limit`. A topic that is deleted
/// and made again has another id.
std::map<std::string, std::string> topic_ids(rd_kafka_t* client,
                                             const std::set<std::string>& topics,
                                             std::chrono::milliseconds limit);

} // namespace ziyu::messaging
