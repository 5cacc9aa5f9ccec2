#pragma once

#include "broker/embedded_broker.hpp"

namespace ziyu::e2e {

/// The real Kafka that all tests of this executable share: started at its first use
/// (seconds), gone at the end.
const std::string& shared_broker();

} // namespace ziyu::e2e
