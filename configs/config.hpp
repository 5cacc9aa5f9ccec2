#pragma once

// The service's configuration. `configs/ziyu.schema.json` is its only source of
// truth for names, types, ranges and defaults; it is compiled into the program.

#include "base/error.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace ziyu::configs {

using properties = std::map<std::string, std::string>;

struct config {
  struct kafka {
    /// librdkafka properties, unchanged: for both clients, and for one of them.
    properties common, consumer, producer;
  } kafka;
  struct topics {
    std::string jobs, results, dead_letters, events;
  } topics;
  struct model {
    std::filesystem::path path;          ///< The folder `<name>/<version>`.
    std::string precision = "fp32";      ///< "fp32", "bf16", "int8", "auto".
    std::string decode = "exact";        ///< "exact", "reduced", "auto".
    std::filesystem::path compiled_path; ///< Empty: `compiled/` in the model folder.
    uint32_t top_k = 5;
  } model;
  struct workers {
    uint32_t slots = 2;
    uint32_t standbys = 1;
    uint64_t start_timeout_ms = 60'000; ///< Fork server ready; worker ready.
    uint64_t job_timeout_ms = 30'000;   ///< One attempt.
    uint64_t grace_ms = 2'000;          ///< Between stop and SIGKILL.
    std::filesystem::path executable;   ///< ziyu-worker; empty: beside ziyu.
  } workers;
  struct batching {
    uint32_t max_jobs = 16;    ///< Of a batch.
    uint64_t max_bytes = 0;    ///< Of its images; a single one may have more.
    uint64_t max_delay_ms = 0; ///< How long a free slot waits for a batch to fill.
  } batching;
  struct memory {
    uint64_t worker_budget_bytes = 0;     ///< Private; replaced before this.
    uint64_t worker_hard_limit_bytes = 0; ///< Private; killed at this.
    /// Live bytes that the model's own caches hold when they are full; 0: not declared, 1: the
    /// model has no cache.
    uint64_t model_cache_bytes = 0;
    uint64_t container_limit_bytes = 0; ///< 0: the cgroup's, else the host's.
    uint64_t probe_interval_ms = 1'000; ///< Supervisor's own readings.
  } memory;
  struct judge {
    uint32_t warmup_jobs = 3;        ///< Growth in them is expected.
    uint32_t min_jobs = 5;           ///< Judged jobs before `healthy`.
    uint32_t window_jobs = 64;       ///< Most recent jobs looked at.
    uint64_t min_effect_bytes = 512; ///< Per job; smaller growth is no leak.
    double confidence = 0.998;       ///< That no healthy worker is called a leak.
    uint32_t cache_entries = 1024;   ///< Entries that a healthy cache may hold.
  } judge;
  struct healing {
    bool enabled = true;
    double replace_at = 0.5;      ///< Share of the budget at which a confirmed leak is replaced.
    uint32_t forecast_jobs = 4;   ///< …or when so few jobs are left until the budget.
    uint64_t min_life_jobs = 4;   ///< A younger worker is replaced only at its budget.
    double max_unavailable = 0.5; ///< Share of the slots replaced at once, at least one.
    double jitter = 0.2;          ///< Share of `replace_at` that chance takes off per worker.
    bool explain = true;          ///< Name the call stacks of leaks.
    uint64_t explain_interval_ms = 60'000; ///< Between two explanations of one slot.
  } healing;
  struct restart {
    uint32_t intensity = 10; ///< Deaths tolerated within `period_ms`.
    uint64_t period_ms = 60'000;
    uint64_t backoff_initial_ms = 50, backoff_max_ms = 5'000;
  } restart;
  struct breaker {
    std::string mode = "auto";                 ///< "auto", "open", "disable": at the start.
    double ease_at = 0.6, tighten_at = 0.8;    ///< Shares of memory: less credit.
    double open_at = 0.95, close_below = 0.85; ///< Shares that open the breaker and let it close.
    uint64_t open_ms = 2'000;                  ///< Least time before half-open.
    uint64_t open_max_ms = 10'000;             ///< The open time doubles up to this.
    uint64_t settle_ms = 1'000;                ///< How long a trigger must stay lowered.
    uint32_t probe_jobs = 4;                   ///< Successes needed in half-open.
    double error_rate = 1;                     ///< Share of failed jobs that opens it.
    uint32_t error_min_jobs = 20;
    uint64_t error_window_ms = 30'000;
  } breaker;
  struct jobs {
    uint64_t max_bytes = 0;
    uint64_t max_pixels = 0;
    uint32_t max_attempts = 3;
    uint64_t max_in_flight_bytes = 0; ///< Credit; encoded + decoded.
    uint32_t max_in_flight = 4096;    ///< Credit in jobs.
    std::string dataref_root;
    std::string dead_letter_headers = "connect"; ///< "connect" or "kafka_dlt".
  } jobs;
  struct delivery {
    std::string guarantee = "at_least_once"; ///< at_least_once, exactly_once.
    std::string transactional_id;            ///< Empty: made up.
    std::string ordering = "unordered";      ///< unordered, key, partition.
    uint64_t retry_backoff_ms = 100, retry_backoff_max_ms = 5'000;
  } delivery;
  struct http {
    std::string host;
    uint16_t port = 0; ///< 0: any free one, printed at start.
  } http;
  struct faults {
    bool allowed = false;
    std::map<uint32_t, std::string> slots; ///< Slot to fault specification.
  } faults;
  struct log {
    std::string level, format;
  } log;
  struct shutdown {
    // The time of each stage; the stages follow one another.
    uint64_t gate_ms = 1'000, drain_ms = 10'000, flush_ms = 5'000, commit_ms = 5'000,
             close_ms = 5'000;
  } shutdown;
};

/// The effective document (defaults filled in, environment expanded) and the
/// typed view of it.
struct loaded {
  nlohmann::json document;
  config values;
};

/// Reads `file` (JSON, `//` and `/* */` comments allowed), applies each `key.path=value` of
/// `overrides` (value: JSON, else text), expands `${NAME}` in every text from the environment
/// (unset: an error; `$$` is a dollar sign), fills in defaults and validates. Relative paths are
/// relative to the file's folder, those in `overrides` to the current folder. Returns all errors
/// found, each with the path of its key (e.g., `workers.slots`) and, for unknown keys, the nearest
/// known one.
tl::expected<loaded, std::vector<error>> load(const std::filesystem::path& file,
                                              const std::vector<std::string>& overrides = {});

/// The same for a document in memory; relative paths are relative to `base`.
tl::expected<loaded, std::vector<error>> parse(const std::string& text,
                                               const std::filesystem::path& base,
                                               const std::vector<std::string>& overrides = {});

/// The schema, as JSON text.
const char* schema_text() noexcept;

/// Kafka properties for one client: the common ones, then its own. Secrets are not masked. Sets
/// `receive.message.max.bytes`, unless given, so that any job can be fetched.
properties consumer_properties(const config& x);

/// librdkafka's default of `receive.message.max.bytes`.
inline constexpr uint64_t default_receive_bytes = 100'000'000;

/// The least `receive.message.max.bytes` with which the largest job can be fetched.
uint64_t least_receive_bytes(const config& x);

/// Its `message.max.bytes`, unless given, lets any job fit as a dead letter.
properties producer_properties(const config& x);

/// `producer_properties` and `transactional.id`, for exactly_once. An id that is not configured is
/// the group id with the instance id, else with the host and the HTTP port (0: the process id).
properties transactional_properties(const config& x, const std::string& host, int32_t pid);

/// How long a transaction may take at most.
std::chrono::milliseconds transaction_timeout(const config& x);

/// The same for clients that neither consume nor produce (metadata, admin).
properties common_properties(const config& x);

/// Bytes of the largest record that the job topic and the dead-letter topic must take:
/// `jobs.max_bytes` as base64 in JSON, with headers.
uint64_t max_record_bytes(const config& x);

/// `document` with passwords and secrets replaced by "***", for logs.
nlohmann::json masked(const nlohmann::json& document);

} // namespace ziyu::configs
