#pragma once

#include <cstdint>

namespace ziyu::events {

/// How urgent an event is: the level of its log line.
enum class severity : uint8_t { info, warning, error, critical };

} // namespace ziyu::events
