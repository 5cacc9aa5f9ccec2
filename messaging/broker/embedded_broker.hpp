#pragma once

#include "messaging/broker/guarded_process.hpp"

#include <atomic>
#include <functional>
#include <map>
#include <string>

namespace ziyu::broker {

struct broker_settings {
  std::filesystem::path folder; ///< Data, configuration and logs; kept.
  uint16_t port = 0;            ///< 0: a free one (or the port of an earlier start).
  std::filesystem::path jars;   ///< Empty: see `find_jars`.
  std::string heap = "512m";
  std::map<std::string, std::string> properties; ///< Of the server; they override ours.
  std::chrono::milliseconds start_limit{90'000};
  /// Called while the start waits; true ends it with `stopping`.
  std::function<bool()> cancelled;
};

/// Where the broker's jars are: `ZIYU_KAFKA_LIB`, else `.deps/kafka/lib` in the
/// folder of the executable or one above it, else /usr/share/ziyu/kafka.
expected<std::filesystem::path> find_jars();

/// A port of 127.0.0.1 that nobody listens on, chosen at random below the range from which the
/// kernel gives ports to clients (ip(7), ip_local_port_range). So no client takes it before the
/// broker listens on it, or while the broker is restarted. 0: there is none.
uint16_t free_port();

/// A real Apache Kafka (KRaft, one node) on 127.0.0.1 as a child process, for trying things out and
/// for tests. The destructor ends it; its data stays.
class embedded_broker {
public:
  /// Returns when the broker answers. Errors say what is missing (Java, jars), that the port is
  /// taken, or what the broker's log says.
  static expected<embedded_broker> start(broker_settings settings);

  const std::string& bootstrap() const { return bootstrap_; }
  bool running() { return process_.running(); }
  int32_t pid() const { return process_.pid(); }

  /// Ends the broker in good order; its data stays.
  void stop() { process_.end(std::chrono::seconds{10}); }

private:
  guarded_process process_;
  std::string bootstrap_;
};

} // namespace ziyu::broker
