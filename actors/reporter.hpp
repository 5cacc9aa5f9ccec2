#pragma once

#include "actors/metrics.hpp"
#include "actors/protocol.hpp"
#include "base/clock.hpp"
#include "messaging/events/event.hpp"

#include <mutex>

namespace ziyu::actors {

/// Reports what happened: each event is a log line, a metric and a record of the event topic.
/// Thread-safe.
class reporter {
public:
  /// @param instance Names this service in its events.
  /// @param topic The event topic.
  reporter(environment& env, std::string instance, std::string topic,
           std::shared_ptr<metrics> stats);

  /// From now on events are published through `to`.
  void connect(publisher_actor to);

  /// Drops the handle to the publisher, so that its actor can end.
  void disconnect();

  void emit(events::body what);

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
