#pragma once

// Blocking, deadline-bound frame I/O on a unix stream socket, for the worker
// side, the fork server and tests. The control process reads through CAF.

#include "base/descriptor.hpp"
#include "supervision/wire/frames.hpp"

#include <chrono>
#include <initializer_list>
#include <optional>
#include <vector>

namespace ziyu::wire {

/// A connected pair of close-on-exec unix stream sockets.
expected<std::pair<unique_fd, unique_fd>> socket_pair();

/// Writes one frame whole, with at most two descriptors as ancillary data.
expected<void> send_frame(int fd, const frame& x, std::initializer_list<int> passed = {});

/// A received frame and the descriptors that came with it.
struct received {
  frame content;
  std::vector<unique_fd> fds;
};

/// Blocks for the next frame. Errors: `unavailable` at end of file, `timeout` when `limit` (if
/// given) passes first, `bad_frame` for invalid bytes. A limit of 0 takes only what has arrived
/// already. Memory for a body is allocated as its bytes arrive.
/// @param from The sender of these frames.
expected<received> receive_frame(int fd, std::optional<std::chrono::milliseconds> limit = {},
                                 stream from = stream::any);

} // namespace ziyu::wire
