#pragma once

#include "messaging/kafka_client.hpp"

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace ziyu::messaging {

/// What a broker lets this client do with a topic.
struct topic_access {
  /// Why nothing is known of the topic: it is missing, may not be described, or has no valid name.
  std::optional<error> trouble;
  int32_t partitions = 0;
  /// As the ACLs say; true if the broker or librdkafka (before 2.3.0) cannot tell.
  bool may_read = true, may_write = true;

  /// Nothing if records can be written to (read from) the topic `name`. Otherwise why not, and what
  /// to do about it.
  std::optional<error> unwritable(const std::string& name) const;
  std::optional<error> unreadable(const std::string& name) const;
};

/// Asks for each of `topics`; makes none of them. The answer has an entry for each name.
/// `unavailable` if no broker answers within `limit`.
expected<std::map<std::string, topic_access>> describe_topics(const kafka_properties& properties,
                                                              const std::set<std::string>& topics,
                                                              std::chrono::milliseconds limit);

} // namespace ziyu::messaging
