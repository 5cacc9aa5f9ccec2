#pragma once

#include "messaging/events/fields.hpp"
#include "messaging/events/severity.hpp"

#include <string_view>

namespace ziyu::events {

/// The stages of a stop, in their order.
struct stop_stages {
  struct stage {
    std::string name;
    uint64_t limit_ms = 0;
    double ms = 0;
    bool done = false; ///< Within its limit.
  };
  std::vector<stage> stages = {};

  /// {name: {"limit_ms", "ms", "done"}}
  nlohmann::json to_json() const;
  void read(const nlohmann::json& from);
};

/// The HTTP port is open, and nothing is loaded yet.
struct service_started {
  static constexpr std::string_view type = "service_started";
  severity level() const { return severity::info; }

  int64_t pid = 0;
  std::string http; ///< host:port
  std::string jobs_topic;
  uint32_t slots = 0, standbys = 0;

  static void fields(auto& self, auto&& f) {
    f("pid", self.pid);
    f("http", self.http);
    f("jobs_topic", self.jobs_topic);
    f("slots", self.slots);
    f("standbys", self.standbys);
  }
};

/// A stop begins.
struct service_stopping {
  static constexpr std::string_view type = "service_stopping";
  severity level() const { return severity::info; }

  uint64_t drain_ms = 0;

  static void fields(auto& self, auto&& f) { f("drain_ms", self.drain_ms); }
};

/// The stop is over.
struct service_stopped {
  static constexpr std::string_view type = "service_stopped";
  severity level() const { return severity::info; }

  nlohmann::json ledger; ///< As `GET /ledger`.
  stop_stages stages;

  static void fields(auto& self, auto&& f) {
    f("ledger", self.ledger);
    f("stages", self.stages);
  }
};

/// The drain for maintenance is over.
struct maintenance_began {
  static constexpr std::string_view type = "maintenance_began";
  severity level() const { return severity::info; }

  nlohmann::json ledger; ///< The ledger's total.
  stop_stages stages;

  static void fields(auto& self, auto&& f) {
    f("ledger", self.ledger);
    f("stages", self.stages);
  }
};

/// The service takes jobs again.
struct maintenance_ended {
  static constexpr std::string_view type = "maintenance_ended";
  severity level() const { return severity::info; }

  static void fields(auto&, auto&&) {}
};

/// The breaker changed its state. One event per new state, all with the same values.
struct breaker_change {
  std::string from, to;
  std::string cause; ///< A trigger's name, "probes", "settled" or "operator".
  std::string reason;
  numbers values; ///< Of the cause, with units in their names.

  static void fields(auto& self, auto&& f) {
    f("from", self.from);
    f("to", self.to);
    f("cause", self.cause);
    f("reason", self.reason);
    f.rest(self.values);
  }
};

struct breaker_opened : breaker_change {
  static constexpr std::string_view type = "breaker_opened";
  severity level() const { return severity::error; }
};

struct breaker_half_open : breaker_change {
  static constexpr std::string_view type = "breaker_half_open";
  severity level() const { return severity::info; }
};

struct breaker_closed : breaker_change {
  static constexpr std::string_view type = "breaker_closed";
  severity level() const { return severity::info; }
};

/// An operator holds intake shut.
struct breaker_forced_open : breaker_change {
  static constexpr std::string_view type = "breaker_forced_open";
  severity level() const { return severity::warning; }
};

/// An operator took the breaker out of action.
struct breaker_disabled : breaker_change {
  static constexpr std::string_view type = "breaker_disabled";
  severity level() const { return severity::warning; }
};

/// The container's memory pressure entered or left a step.
struct memory_pressure {
  static constexpr std::string_view type = "memory_pressure";
  severity level() const { return rises ? severity::warning : severity::info; }

  bool rises = false; ///< To a higher step. Not part of the record.
  std::string from, to;
  std::string reason;
  double memory_percent = 0, credit_share = 0;
  uint64_t credit_jobs = 0, credit_bytes = 0;

  static void fields(auto& self, auto&& f) {
    f("from", self.from);
    f("to", self.to);
    f("reason", self.reason);
    f("memory_percent", self.memory_percent);
    f("credit_share", self.credit_share);
    f("credit_jobs", self.credit_jobs);
    f("credit_bytes", self.credit_bytes);
  }
};

} // namespace ziyu::events
