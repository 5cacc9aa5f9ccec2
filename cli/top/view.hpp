#pragma once

#include "cli/view/drawing.hpp"
#include "messaging/events/evidence.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::cli {

/// A worker as /workers shows it. A missing value stays 0 or empty.
struct worker_reading {
  std::optional<uint32_t> slot; ///< Empty: a standby, or a worker that is starting or ending.
  std::string state;
  bool held = false; ///< At its budget.
  events::evidence memory;

  static void fields(auto& self, auto&& f) {
    f("slot", self.slot);
    f("state", self.state);
    f("held", self.held);
    f.part(self.memory);
  }
};

/// A process of the service other than a worker.
struct process_reading {
  std::string name, note;
  int64_t pid = 0;
  std::optional<uint64_t> private_bytes = {};

  static void fields(auto& self, auto&& f) {
    f("name", self.name);
    f("verdict", self.note);
    f("pid", self.pid);
    f("private_bytes", self.private_bytes);
  }
};

/// The answers of a running service in one round.
struct service_reading {
  struct model {
    std::string name, version; ///< Empty: not known.

    static void fields(auto& self, auto&& f) {
      f("name", self.name);
      f("version", self.version);
    }
  } model;
  std::optional<double> uptime_s; ///< Empty: not known.
  std::string status, breaker, breaker_reason, memory_source;
  uint64_t memory_used_bytes = 0, memory_limit_bytes = 0;
  std::vector<std::string> reasons; ///< Why it is not healthy.
  bool consuming = false;
  std::string kafka;                         ///< Why it is not consuming.
  std::optional<uint64_t> lag_records;       ///< Where known.
  std::optional<double> oldest_unfinished_s; ///< Where told.
  /// Fetched, and not started yet: jobs that hold credit, not records that wait in Kafka.
  uint64_t waiting = 0;
  uint64_t running = 0, results = 0, dead_letters = 0;
  uint64_t slots = 0, slots_up = 0, standbys = 0, replacements = 0;
  uint64_t answered = 0;               ///< Jobs with a result or dead letter, by the ledger.
  std::vector<worker_reading> workers; ///< In the order of slots, then those without a slot.
  std::vector<process_reading> processes;

  /// Those of /health.
  static void fields(auto& self, auto&& f) {
    f("model", self.model);
    f("uptime_s", self.uptime_s);
    f("status", self.status);
    f("breaker", self.breaker);
    f("breaker_reason", self.breaker_reason);
    f("memory_source", self.memory_source);
    f("memory_used_bytes", self.memory_used_bytes);
    f("memory_limit_bytes", self.memory_limit_bytes);
    f("reasons", self.reasons);
    f("consuming", self.consuming);
    f("kafka", self.kafka);
    f("lag_records", self.lag_records);
    f("oldest_unfinished_s", self.oldest_unfinished_s);
    f("waiting", self.waiting);
    f("running", self.running);
    f("results", self.results);
    f("dead_letters", self.dead_letters);
    f("slots", self.slots);
    f("slots_up", self.slots_up);
    f("standbys", self.standbys);
    f("replacements", self.replacements);
  }
};

/// From the bodies of /health, /workers and /ledger, any part of which may be missing.
service_reading reading_from(const nlohmann::json& health, const nlohmann::json& workers,
                             const nlohmann::json& ledger);

/// The content of the live view besides the reading.
struct top_moment {
  std::string url;
  std::optional<double> jobs_per_second; ///< Empty: there is only one reading so far.
  std::string trouble;                   ///< Why there is no newer reading; empty: there is one.
};

/// The view as lines of at most `columns` columns. From 150 columns on each worker is one line.
/// Below that its slope, forecast and history are a second line, while `rows` allow it (0: any
/// number). Pure.
std::vector<std::string> draw_service(const service_reading& x, const top_moment& now,
                                      size_t columns, size_t rows, bool colours);

/// "3 d 4 h", "4 h 12 min", "12 min 5 s", "5 s".
std::string format_uptime(double seconds);

} // namespace ziyu::cli
