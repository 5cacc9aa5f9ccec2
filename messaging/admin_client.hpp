#pragma once

#include "messaging/kafka_client.hpp"

namespace ziyu::messaging {

/// A client for questions about the cluster and for its administration.
expected<kafka_ptr> make_admin(const kafka_properties& properties);

} // namespace ziyu::messaging
