#pragma once

#include "messaging/events/fields.hpp"

namespace ziyu::events {

/// Reads a struct with `fields` from JSON that others wrote, who may be of another version: unknown
/// values are ignored, and values that are missing or of another type leave `x` as it is.
template <class T>
void read_fields(const nlohmann::json& from, T& x) {
  detail::decode(from, x);
}

} // namespace ziyu::events
