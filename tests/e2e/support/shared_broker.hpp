#pragma once

#include "messaging/broker/embedded_broker.hpp"

namespace ziyu::e2e {

/// The real Kafka that all tests of this executable share. It is started at its first use (takes
/// seconds) and ended with the tests.
const std::string& shared_broker();

} // namespace ziyu::e2e
