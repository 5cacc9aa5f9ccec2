#pragma once

// Blocking, deadline-bound frame I/O on a unix stream socket, for the worker
// side, the fork server and tests. The control process reads through CAF.

#include "supervision/wire/frames.hpp"

#include <chrono>
#include <optional>

namespace ziyu::wire {

/// Owns a file descriptor. Move-only.
class unique_fd {
public:
  unique_fd() = default;
  explicit unique_fd(int fd) : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(other.release()) {}
  unique_fd& operator=(unique_fd&& other) noexcept;
  ~unique_fd();

  int get() const { return fd_; }
  int release() {
    int fd = fd_;
    fd_ = -1;
    return fd;
  }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

private:
  int fd_ = -1;
};

/// A connected pair of close-on-exec unix stream sockets.
expected<std::pair<unique_fd, unique_fd>> socket_pair();

/// Writes one frame whole, with `pass_fd` (if any) as ancillary data.
expected<void> send_frame(int fd, const frame& x, std::optional<int> pass_fd = {});

/// A received frame and the descriptor that came with it, if any.
struct received {
  frame content;
  unique_fd fd;
};

/// Blocks for the next frame. Errors: `unavailable` at end of file, `timeout` when `limit` (if
/// given) passes first, `bad_frame` for invalid bytes. A limit of 0 takes only what has arrived
/// already. Memory for a body is allocated as its bytes arrive.
/// @param from The sender of these frames.
expected<received> receive_frame(int fd, std::optional<std::chrono::milliseconds> limit = {},
                                 stream from = stream::any);

} // namespace ziyu::wire
