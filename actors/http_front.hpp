#pragma once

#include "actors/http_request.hpp"
#include "base/error.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace ziyu::actors {

struct http_reply {
  int status = 200;
  std::string body;
  std::string type = "application/json; charset=utf-8";
  std::string allow = {}; ///< Methods, for 405.
};

/// The sockets of the HTTP server: one thread that waits with poll(2), never for one client.
/// A connection carries one request. It has a deadline for its request, for its answer and
/// for its end, and its memory is bounded; when there are too many, the one that has waited
/// longest for its client gives way. So slow clients delay nobody.
class http_front {
public:
  struct settings {
    std::string host = "127.0.0.1";
    uint16_t port = 0; ///< 0: any free one.
    http_limits limits;
    std::chrono::milliseconds request_limit{5'000}; ///< From accept to the request's last byte.
    std::chrono::milliseconds answer_limit{10'000}; ///< To `reply`; then 503.
    std::chrono::milliseconds write_limit{10'000};  ///< For the client to take the answer.
    size_t connections = 64;
  };

  /// Looks at a head before its body is read: a reply refuses the request.
  using gatekeeper = std::function<std::optional<http_reply>(const http_request&)>;

  /// Takes a request, to be answered by `reply(id, ...)`.
  using receiver = std::function<void(uint64_t id, http_request)>;

  /// Listens. Both functions are called on the front's thread and must not block.
  /// `errc::io` when the address is taken or unknown.
  static expected<std::unique_ptr<http_front>> start(settings x, gatekeeper gate, receiver receive);

  ~http_front();

  uint16_t port() const;

  /// Answers request `id`; nothing when its client is gone. Any thread.
  void reply(uint64_t id, http_reply x);

  /// Refuses new connections, lets answers that are being written end within half a second,
  /// closes all others and ends the thread.
  void stop();

private:
  http_front();
  class loop;
  std::unique_ptr<loop> loop_;
};

} // namespace ziyu::actors
