#pragma once

#include "messaging/broker/guarded_process.hpp"

#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <vector>

namespace ziyu::e2e {

struct http_answer {
  int status = 0; ///< 0: no answer.
  std::string body;
};

/// One GET; `address` is host:port.
http_answer http_get(const std::string& address, const std::string& path);

/// A `ziyu serve` with a configuration of its own, as a child. Ended by the destructor.
class service {
public:
  /// Writes `configuration` into `folder` and starts; returns when it serves. Throws when it
  /// ends before that.
  service(const std::filesystem::path& folder, const nlohmann::json& configuration);

  const std::string& address() const { return address_; }
  int32_t pid() const { return pid_; } ///< Of the service itself, not of its guard.
  bool running() { return guard_.running(); }

  http_answer get(const std::string& path) const { return http_get(address_, path); }
  /// The JSON answer of `path`. Asks again, for a while, when an actor did not answer in time;
  /// throws when there is no JSON.
  nlohmann::json get_json(const std::string& path) const;

  /// Pids of the workers in `state` ("serving", "standby"; empty: any).
  std::vector<int32_t> workers(const std::string& state = {}) const;
  int32_t fork_server() const;

  /// Waits until the configured slots serve and a standby is warm.
  void await_workers(size_t serving, size_t standbys) const;

  void signal(int number) const; ///< To the service.
  /// Exit code (128 + signal), or empty when it still runs after `limit`.
  std::optional<int> wait(std::chrono::milliseconds limit);
  /// SIGTERM, and the exit code; 137 when it had to be killed after `limit`.
  int stop(std::chrono::milliseconds limit = std::chrono::seconds{40});

  std::string log() const;

private:
  std::filesystem::path log_;
  broker::guarded_process guard_;
  std::string address_;
  int32_t pid_ = 0;
};

/// Calls `holds` repeatedly until it returns true (returned) or `limit` is over (false).
bool eventually(const std::function<bool()>& holds,
                std::chrono::milliseconds limit = std::chrono::seconds{60});

} // namespace ziyu::e2e
