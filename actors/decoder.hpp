#pragma once

#include "actors/protocol.hpp"

#include <caf/typed_event_based_actor.hpp>

namespace ziyu::actors {

/// Reads a record: its job, and the size in pixels that its image's header announces.
/// `image_too_large` above `limits.max_pixels`; other reasons are those of `decode_job`. May block
/// on a claim check. Does not copy a plain image.
decoded_job decode(const messaging::record& source, const messaging::job_limits& limits);

/// Returns the behavior of the DECODER actor. Spawned detached in the service.
decoder_actor::behavior_type decoder(decoder_actor::pointer self, messaging::job_limits limits);

} // namespace ziyu::actors
