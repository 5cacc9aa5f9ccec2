#pragma once

#include "actors/protocol.hpp"

namespace ziyu::actors {

/// What becomes of a record that was not delivered.
enum class fate : uint8_t {
  again,            ///< It is tried again soon.
  aside_alone,      ///< It waits, and others of its topic go on.
  aside_with_topic, ///< It waits with all others of its topic.
  handed_back,      ///< A result that is too large: the dispatcher makes a dead letter of its job.
  dropped,          ///< An event that is too large.
};

/// Decides on `x`. A dead letter that is too large becomes a smaller one, whose headers say where
/// its job is. Pure.
/// @param refused What the broker refuses: nothing for good, the record, or its topic.
fate fate_of(publication& x, const error& why, messaging::refusal refused);

} // namespace ziyu::actors
