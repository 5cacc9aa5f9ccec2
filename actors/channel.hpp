#pragma once

#include "actors/protocol.hpp"
#include "wire/socket.hpp"

#include <caf/io/middleman.hpp>

namespace ziyu::actors {

/// Spawns the CHANNEL of a worker: a CAF broker that adopts our end of the
/// worker's socket. Writes each `outgoing_frame`; sends a `channel_frame` with a result
/// to its owner (`(own, caf::actor)` changes it), with anything else to the supervisor
/// and, once, `channel_closed` to both. An exit message closes the socket.
caf::actor spawn_channel(caf::actor_system& system, uint64_t worker, wire::unique_fd socket,
                         caf::actor supervisor);

/// The same for a fork server's control socket; sends `server_frame` and, once,
/// `server_closed`. Its descriptor may be used to send frames with descriptors.
caf::actor spawn_control(caf::actor_system& system, uint64_t server, wire::unique_fd socket,
                         caf::actor supervisor);

} // namespace ziyu::actors
