#pragma once

#include "actors/http_reply.hpp"
#include "actors/http_request.hpp"
#include "base/error.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace ziyu::actors {

/// The sockets of the HTTP server: one thread that waits with poll(2), never for a single client. A
/// connection carries one request. Its request, its answer and its end have deadlines, and its
/// memory is bounded. When there are too many connections, the one that has waited longest for its
/// client is closed. So slow clients delay nobody.
class http_front {
public:
  struct settings {
    std::string host = "127.0.0.1";
    uint16_t port = 0; ///< 0: any free one.
    http_limits limits;
    std::chrono::milliseconds request_limit{5'000}; ///< Until `reply`; then 503.
    std::chrono::milliseconds answer_limit{10'000}; ///< To `reply`; then 503.
    std::chrono::milliseconds write_limit{10'000};  ///< For the client to take the answer.
    size_t connections = 64;
  };

  /// Checks a head before its body is read; a reply refuses the request.
  using gatekeeper = std::function<std::optional<http_reply>(const http_request&)>;

  /// Takes a request; `reply(id, ...)` answers it.
  using receiver = std::function<void(uint64_t id, http_request)>;

  /// Listens. Both functions are called on the front's thread and must not block.
  /// `errc::invalid_config` when the address cannot be this machine's or may not be used,
  /// `errc::io` when it is taken, or is not known at present.
  static expected<std::unique_ptr<http_front>> start(settings x, gatekeeper gate, receiver receive);

  /// Listens for a moment, with the same errors: nothing is accepted.
  static expected<void> try_listen(const std::string& host, uint16_t port);

  ~http_front();

  uint16_t port() const;

  /// Answers request `id`. Does nothing when its client is gone. Any thread.
  void reply(uint64_t id, http_reply x);

  /// Refuses new connections, gives answers that are being written half a second, closes all other
  /// connections and ends the thread.
  void stop();

private:
  http_front();
  class loop;
  std::unique_ptr<loop> loop_;
};

} // namespace ziyu::actors
