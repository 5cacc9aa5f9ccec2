#pragma once

#include "messaging/record.hpp"
#include "messaging/result.hpp"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace ziyu::actors {

/// All metrics of the service, for `GET /metrics`. Names follow Prometheus' conventions:
/// seconds, bytes, `_total`. Each series whose label is known beforehand (a code, a cause, a
/// state) exists from the start, so that its first event is seen as an increase.
/// Thread-safe.
class metrics {
public:
  metrics();

  /// The exposition format, version 0.0.4.
  std::string text() const;

  /// Makes the series of `slots` slots, with the values before their first workers.
  void begin_slots(uint32_t slots);

  /// The model that serves from now on; replaces the previous one.
  void serve_model(const events::model_version& x);

  /// Unfinished records of the partitions assigned now; replaces all others.
  void set_lag(const std::map<messaging::topic_partition, uint64_t>& records);

  /// What a slot's worker has, in bytes.
  void set_worker_memory(uint32_t slot, uint64_t live_bytes, uint64_t private_bytes);

  void set_generation(uint32_t slot, uint64_t generation);

  /// Jobs until the worker of `slot` reaches its budget; +Inf without a forecast.
  void set_jobs_left(uint32_t slot, std::optional<uint64_t> jobs);

  /// Reads the kernel's figures of this process.
  void read_process();

private:
  /// They are set for each batch: to find one by its labels each time would take longer.
  struct slot_series {
    prometheus::Gauge &live_bytes, &private_bytes, &generation, &jobs_left;
  };
  slot_series& series_of(uint32_t slot);
  void begin_series();

  // Before the families: they live in it.
  prometheus::Registry registry_;
  std::mutex mutex_; ///< Guards the three below.
  std::map<messaging::topic_partition, prometheus::Gauge*> lag_series_;
  prometheus::Gauge* model_series_ = nullptr;
  std::map<uint32_t, slot_series> slot_series_;

public:
  prometheus::Family<prometheus::Gauge>& build_info; ///< version
  prometheus::Family<prometheus::Gauge>& model_info; ///< name, version, sha256, precision, decode
  prometheus::Gauge& alive;
  prometheus::Gauge& ready;
  prometheus::Gauge& process_start;
  prometheus::Counter& process_cpu;
  prometheus::Gauge& process_resident;
  prometheus::Gauge& process_fds;
  prometheus::Gauge& process_max_fds;

  prometheus::Family<prometheus::Gauge>& lag; ///< topic, partition
  prometheus::Gauge& oldest_unfinished;
  prometheus::Counter& fetched;
  prometheus::Family<prometheus::Counter>& results; ///< status
  prometheus::Counter& results_ok;
  prometheus::Family<prometheus::Counter>& dead_letters;    ///< code
  prometheus::Family<prometheus::Counter>& failed_attempts; ///< code
  prometheus::Counter& duplicate_ids;
  prometheus::Counter& stale; ///< Outcomes that came after their partition was taken away.
  prometheus::Counter& already_done;
  prometheus::Counter& inference_saved;
  prometheus::Counter& withdrawn;
  prometheus::Counter& commit_failures;
  prometheus::Counter& unrecorded_attempts;
  prometheus::Gauge& refetched_bytes; ///< Since the present consumer was made.
  prometheus::Gauge& ledger_balanced;
  prometheus::Gauge& held_partitions;
  prometheus::Gauge& set_aside_records;
  prometheus::Counter& lost_to_retention;
  prometheus::Gauge& head_of_line_jobs;
  prometheus::Gauge& head_of_line_seconds;
  prometheus::Histogram& queued_seconds;
  prometheus::Histogram& decode_seconds;
  prometheus::Histogram& preprocess_seconds;
  prometheus::Histogram& inference_seconds;
  prometheus::Histogram& total_seconds;

  prometheus::Gauge& in_flight_jobs;
  prometheus::Gauge& in_flight_bytes;
  prometheus::Gauge& slots_up;
  prometheus::Gauge& slots_held;
  prometheus::Gauge& standbys;
  prometheus::Family<prometheus::Gauge>& worker_live_bytes;    ///< slot
  prometheus::Family<prometheus::Gauge>& worker_private_bytes; ///< slot
  prometheus::Family<prometheus::Gauge>& worker_generation;    ///< slot
  prometheus::Family<prometheus::Gauge>& worker_jobs_left;     ///< slot
  prometheus::Family<prometheus::Counter>& replacements;       ///< cause
  prometheus::Family<prometheus::Counter>& deaths;             ///< how
  prometheus::Counter& recovered_bytes;
  prometheus::Histogram& replacement_seconds;
  prometheus::Gauge& container_used_bytes;
  prometheus::Gauge& container_limit_bytes;
  prometheus::Gauge& control_private_bytes;
  prometheus::Gauge& fork_server_private_bytes;

  /// 0 closed, 1 open, 2 half-open, 3 forced open, 4 disabled.
  prometheus::Gauge& breaker_state;
  prometheus::Family<prometheus::Counter>& breaker_transitions; ///< to
  prometheus::Family<prometheus::Counter>& breaker_openings;    ///< cause
  prometheus::Gauge& memory_pressure; ///< 0 none, 1 eased, 2 tight, 3 critical.
  prometheus::Gauge& credit_jobs;
  prometheus::Gauge& credit_bytes;
  prometheus::Family<prometheus::Counter>& events; ///< type
  prometheus::Counter& events_dropped;
  prometheus::Counter& output_dropped;
  prometheus::Counter& publish_retries;
};

} // namespace ziyu::actors
