#pragma once

#include "actors/protocol.hpp"
#include "supervision/wire/conversation.hpp"
#include "supervision/wire/socket.hpp"

#include <caf/io/middleman.hpp>

#include <functional>

namespace ziyu::actors {

/// Spawns the CHANNEL of a worker: a CAF broker that adopts our end of the worker's socket. It
/// writes each `outgoing_frame`. It sends a `channel_frame` with a result to its owner (`(own,
/// caf::actor)` changes the owner) and any other frame to the supervisor. Once, it sends
/// `channel_closed` to both, with a reason when the worker broke the protocol: by invalid bytes, a
/// frame above its bound, a frame that answers no question, or a frame whose rest does not come
/// within 10 s. An exit message closes the socket.
/// @param assigned Called, on the channel's thread, with each `assign` that is sent.
using on_assigned = std::function<void(const wire::assign&)>;
caf::actor spawn_channel(caf::actor_system& system, uint64_t worker, unique_fd socket,
                         caf::actor supervisor, on_assigned assigned = {});

/// The same for a fork server's control socket. Sends `server_frame` and, once, `server_closed`.
/// The socket's descriptor may be used to send frames with descriptors.
caf::actor spawn_control(caf::actor_system& system, uint64_t server, unique_fd socket,
                         caf::actor supervisor);

} // namespace ziyu::actors
