#pragma once

#include "messaging/consumer.hpp"
#include "messaging/kafka_client.hpp"

#include <map>
#include <optional>
#include <set>
#include <vector>

namespace ziyu::messaging {

/// What was found committed for partitions; nothing where the group has committed nothing.
using committed_states = std::map<topic_partition, std::optional<committed_state>>;

/// What the group of `client` has committed for `partitions`, with the map of what is
/// finished beyond (decision 0009). The coordinator is waited for up to `limit`, each
/// leader up to `leader_limit`. Those are left out of which it is not known then: also those
/// with a map, but without the log's end that tells whether it is of this log.
expected<committed_states> read_committed(rd_kafka_t* client,
                                          const std::vector<topic_partition>& partitions,
                                          std::chrono::milliseconds limit,
                                          std::chrono::milliseconds leader_limit);

/// A commit as it is on record.
struct stable_commit {
  topic_partition where;
  int64_t next = -1;
  std::string metadata;
};

/// What `group` has committed for each of `partitions`, asked through any client. An error as
/// long as a transaction on one of them is open.
expected<std::vector<stable_commit>> read_stable(rd_kafka_t* client, const std::string& group,
                                                 const std::vector<topic_partition>& partitions,
                                                 std::chrono::milliseconds limit);

/// The ends of `partitions`, as far as they can be had. Waits up to `limit` for all leaders,
/// and then for each by itself: none that is away keeps the ends of others from us.
std::map<topic_partition, int64_t> log_ends(rd_kafka_t* client,
                                            const std::set<topic_partition>& partitions,
                                            std::chrono::milliseconds limit);

/// The same of their beginnings: below, retention has taken everything.
std::map<topic_partition, int64_t> log_starts(rd_kafka_t* client,
                                              const std::set<topic_partition>& partitions,
                                              std::chrono::milliseconds limit);

/// The ids of `topics` (KIP-516), as far as they can be had within `limit`: one that is deleted
/// and made again has another.
std::map<std::string, std::string> topic_ids(rd_kafka_t* client,
                                             const std::set<std::string>& topics,
                                             std::chrono::milliseconds limit);

} // namespace ziyu::messaging
