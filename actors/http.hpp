#pragma once

#include "actors/metrics.hpp"
#include "actors/protocol.hpp"
#include "base/error.hpp"

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

namespace caf {
class actor_system;
}

namespace ziyu::actors {

struct http_settings {
  std::string host = "127.0.0.1";
  uint16_t port = 0; ///< 0: any free one.
  dispatcher_actor dispatcher;
  supervisor_actor supervisor;
  std::shared_ptr<metrics> stats;
  /// That of `model.path`: its neighbours may be rolled out.
  std::filesystem::path model_folder;
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  double threshold = 0.8; ///< Share of container memory, for `/health`.
};

/// Serves `/health /livez /readyz /metrics /workers /ledger /breaker`, and `POST
/// /breaker` for operators on this machine. Each answer asks the actors that do the work,
/// with a deadline: a service that is stuck cannot look alive. The probes `/livez` and
/// `/readyz` have a thread of their own. No client can delay another client
/// (`http_front`).
class http_server {
public:
  /// Starts to listen. `errc::io` when the address is taken.
  static expected<std::unique_ptr<http_server>> start(caf::actor_system& system,
                                                      http_settings settings);

  ~http_server();

  uint16_t port() const;

  /// Ends all connections and threads within about 2 s, whatever clients and actors do.
  void stop();

private:
  http_server();
  class parts;
  std::unique_ptr<parts> parts_;
};

} // namespace ziyu::actors
