#pragma once

#include "broker/guarded_process.hpp"

#include <atomic>
#include <functional>
#include <map>
#include <string>

namespace ziyu::broker {

struct broker_settings {
  std::filesystem::path folder; ///< Data, configuration and logs; kept.
  uint16_t port = 0;            ///< 0: a free one (or that of an earlier start).
  std::filesystem::path jars;   ///< Empty: see `find_jars`.
  std::string heap = "512m";
  std::map<std::string, std::string> properties; ///< Of the server, on top of ours.
  std::chrono::milliseconds start_limit{90'000};
  /// Asked while it waits; true ends the start with `stopping`.
  std::function<bool()> cancelled;
};

/// Where the broker's jars are: `ZIYU_KAFKA_LIB`, else `.deps/kafka/lib` in the
/// folder of the executable or one above it, else /usr/share/ziyu/kafka.
expected<std::filesystem::path> find_jars();

/// A real Apache Kafka (KRaft, one node) on 127.0.0.1 as a child of ours, for trying
/// things out and for tests. Gone with this object; its data stays.
class embedded_broker {
public:
  /// Returns when it answers. Errors say what is missing (Java, jars), that the port
  /// is taken, or what its log says.
  static expected<embedded_broker> start(broker_settings settings);

  const std::string& bootstrap() const { return bootstrap_; }
  bool running() { return process_.running(); }
  int32_t pid() const { return process_.pid(); }

  /// Clean end; the data stays.
  void stop() { process_.end(std::chrono::seconds{10}); }

private:
  guarded_process process_;
  std::string bootstrap_;
};

} // namespace ziyu::broker
