#pragma once

#include "messaging/kafka_client.hpp"

namespace ziyu::messaging {

/// A client for questions about the cluster and for its administration.
expected<kafka_ptr> make_admin(const kafka_properties& properties);

#if RD_KAFKA_VERSION >= 0x02030000
/// The answer to DescribeTopics (KIP-430), or its error; null if there is none within `limit` and
/// half a second.
/// @param with_operations Also what this client may do with them.
event_ptr ask_about_topics(rd_kafka_t* client, std::vector<const char*> names, bool with_operations,
                           std::chrono::milliseconds limit);
#endif

} // namespace ziyu::messaging
