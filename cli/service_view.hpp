#pragma once

#include "cli/drawing.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::cli {

/// A worker as /workers shows it. A missing value stays 0 or empty.
struct worker_reading {
  std::optional<uint32_t> slot; ///< Empty: a standby, or a worker that is starting or ending.
  uint64_t generation = 0, jobs = 0;
  int64_t pid = 0;
  std::string state, verdict;
  int64_t last_delta_bytes = 0, live_bytes = 0, private_bytes = 0, budget_bytes = 0;
  /// Growth per job with its bounds: of private memory if only that grows, else of live
  /// bytes.
  double slope = 0, lower = 0, upper = 0;
  std::optional<uint64_t> jobs_left, jobs_left_earliest;
  std::vector<double> history; ///< Private memory after its latest jobs.
};

/// A process of the service other than a worker.
struct process_reading {
  std::string name, note;
  int64_t pid = 0;
  std::optional<int64_t> private_bytes;
};

/// The answers of a running service in one round.
struct service_reading {
  std::string model;              ///< Empty: not known.
  std::optional<double> uptime_s; ///< Empty: not known.
  std::string status, breaker, breaker_reason, memory_source;
  int64_t memory_used_bytes = 0, memory_limit_bytes = 0;
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
