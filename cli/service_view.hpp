#pragma once

#include "cli/drawing.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::cli {

/// A worker as /workers has it. What it does not say stays 0 or empty.
struct worker_reading {
  std::optional<uint32_t> slot; ///< None: a standby, or one that comes or goes.
  uint64_t generation = 0, jobs = 0;
  int64_t pid = 0;
  std::string state, verdict;
  int64_t last_delta_bytes = 0, live_bytes = 0, private_bytes = 0, budget_bytes = 0;
  /// Growth per job with its bounds: of private memory when that grows alone, else of
  /// live bytes.
  double slope = 0, lower = 0, upper = 0;
  std::optional<uint64_t> jobs_left, jobs_left_earliest;
  std::vector<double> history; ///< Private memory after its latest jobs.
};

/// A process of the service that is no worker.
struct process_reading {
  std::string name, note;
  int64_t pid = 0;
  std::optional<int64_t> private_bytes;
};

/// What one round of questions to a running service says.
struct service_reading {
  std::string model;              ///< Empty: not told.
  std::optional<double> uptime_s; ///< Where told.
  std::string status, breaker, breaker_reason, memory_source;
  int64_t memory_used_bytes = 0, memory_limit_bytes = 0;
  std::vector<std::string> reasons; ///< Why it is not healthy.
  bool consuming = false;
  std::string kafka;                         ///< Why it is not consuming.
  std::optional<uint64_t> lag_records;       ///< Where known.
  std::optional<double> oldest_unfinished_s; ///< Where told.
  /// Fetched, and not started yet: what holds credit, not what waits in Kafka.
  uint64_t waiting = 0;
  uint64_t running = 0, results = 0, dead_letters = 0;
  uint64_t slots = 0, slots_up = 0, standbys = 0, replacements = 0;
  uint64_t answered = 0;               ///< Jobs with a result or dead letter, by the ledger.
  std::vector<worker_reading> workers; ///< In the order of slots; then those without.
  std::vector<process_reading> processes;
};

/// From the bodies of /health, /workers and /ledger; bears that anything is missing.
service_reading reading_from(const nlohmann::json& health, const nlohmann::json& workers,
                             const nlohmann::json& ledger);

/// What the live view shows besides the reading.
struct top_moment {
  std::string url;
  std::optional<double> jobs_per_second; ///< None: only one reading so far.
  std::string trouble;                   ///< Why there is no newer reading; empty: there is.
};

/// The view as lines of at most `columns` columns. Each worker is one line from 150
/// columns on; below that its slope, forecast and history are a second one, as long as
/// `rows` allow that (0: any number). Pure.
std::vector<std::string> draw_service(const service_reading& x, const top_moment& now,
                                      size_t columns, size_t rows, bool colours);

/// "3 d 4 h", "4 h 12 min", "12 min 5 s", "5 s".
std::string format_uptime(double seconds);

} // namespace ziyu::cli
