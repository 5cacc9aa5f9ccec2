#pragma once

#include "actors/http_reply.hpp"
#include "actors/http_request.hpp"
#include "base/descriptor.hpp"

#include <chrono>
#include <cstdint>
#include <string>

namespace ziyu::actors {

/// One client of the HTTP server: its request, then its answer. Not thread-safe.
struct http_connection {
  using clock = std::chrono::steady_clock;

  enum class phase : uint8_t {
    reading,
    answering, ///< Its answer is being made.
    writing,
    lingering, ///< Answered; the client may still be sending.
  };
  enum class flushed : uint8_t {
    all,
    partly, ///< The client takes no more at present.
    gone,   ///< So is the client.
  };

  /// Writes `reply` from now on, until `limit`.
  void answer(const http_reply& reply, clock::time_point limit);
  /// Writes "100 Continue".
  void ask_to_go_on();
  /// Sends as much as the client takes now.
  flushed flush();
  /// What poll(2) shall wait for.
  short wanted_events() const;

  unique_fd fd;
  phase at = phase::reading;
  clock::time_point deadline, since; ///< Deadline of this phase; time of accept.
  http_request_reader reader;
  std::string from;        ///< The client's address.
  size_t discarded = 0;    ///< Bytes that came while lingering.
  bool interim = false;    ///< "100 Continue" is being written.
  bool with_body = true;   ///< Not for HEAD.
  bool peer_ended = false; ///< The client sends no more.

private:
  std::string out_; ///< What is to be sent.
  size_t sent_ = 0; ///< So much of it has been sent.
};

} // namespace ziyu::actors
