#pragma once

#include "actors/metrics.hpp"
#include "actors/protocol.hpp"
#include "base/clock.hpp"

#include <spdlog/spdlog.h>

#include <mutex>

namespace ziyu::actors {

/// Tells the world what happened: each event is a log line, a metric and a record
/// on the events topic. Thread-safe.
class reporter {
public:
  /// @param instance Names this service in its events.
  /// @param topic Of the events.
  reporter(environment& env, std::string instance, std::string topic,
           std::shared_ptr<metrics> stats);

  /// Events are published through `to` from now on.
  void connect(publisher_actor to);

  /// Drops the handle to the publisher, so that its actor can end.
  void disconnect();

  /// @param type One of those listed at `messaging::event`.
  /// @param detail Named values, units in the names (`_bytes`, `_ms`).
  void emit(spdlog::level::level_enum level, const char* type, nlohmann::json detail);

  metrics& stats() { return *stats_; }
  environment& env() { return env_; }
  const std::string& instance() const { return instance_; }

private:
  environment& env_;
  std::string instance_, topic_;
  std::shared_ptr<metrics> stats_;
  std::mutex mutex_;
  publisher_actor publisher_;
};

} // namespace ziyu::actors
