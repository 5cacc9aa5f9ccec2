#include "actors/configured_settings.hpp"

#include "actors/service.hpp"
#include "configs/job_memory.hpp"
#include "messaging/kafka_producer.hpp"
#include "messaging/kafka_transactional_producer.hpp"

#include <unistd.h>

namespace ziyu::actors {

namespace {

/// Time that a stop gives the helper that names the call stacks of a leak.
constexpr uint64_t explain_ms = 3'000;

std::string host_name() {
  char host[256] = "localhost";
  ::gethostname(host, sizeof host - 1);
  return host;
}

supervisor_settings to_supervisor_settings(const configs::config& c) {
  using std::chrono::milliseconds;
  supervisor_settings s;
  s.model = c.model.path;
  s.slots = c.workers.slots;
  s.standbys = c.workers.standbys;
  s.start_timeout = milliseconds{c.workers.start_timeout_ms};
  s.grace = milliseconds{c.workers.grace_ms};
  s.probe_interval = milliseconds{c.memory.probe_interval_ms};
  s.judge.warmup_jobs = c.judge.warmup_jobs;
  s.judge.min_jobs = c.judge.min_jobs;
  s.judge.window_jobs = c.judge.window_jobs;
  s.judge.min_effect_bytes = c.judge.min_effect_bytes;
  s.judge.confidence = c.judge.confidence;
  s.judge.cache_entries = c.judge.cache_entries;
  if (c.memory.model_cache_bytes > 0)
    s.judge.model_cache_bytes = c.memory.model_cache_bytes;
  s.healing.enabled = c.healing.enabled;
  s.healing.budget_bytes = c.memory.worker_budget_bytes;
  s.healing.hard_limit_bytes = c.memory.worker_hard_limit_bytes;
  s.healing.replace_at = c.healing.replace_at;
  s.healing.forecast_jobs = c.healing.forecast_jobs;
  s.healing.min_life_jobs = c.healing.min_life_jobs;
  s.healing.max_unavailable = c.healing.max_unavailable;
  s.healing.jitter = c.healing.jitter;
  s.explain = c.healing.explain;
  s.explain_interval = milliseconds{c.healing.explain_interval_ms};
  s.restart_intensity = c.restart.intensity;
  s.restart_period = milliseconds{c.restart.period_ms};
  s.backoff_initial = milliseconds{c.restart.backoff_initial_ms};
  s.backoff_max = milliseconds{c.restart.backoff_max_ms};
  if (c.faults.allowed)
    s.slot_faults = c.faults.slots;
  return s;
}

dispatcher_settings to_dispatcher_settings(const configs::config& c) {
  using std::chrono::milliseconds;
  dispatcher_settings s;
  s.results_topic = c.topics.results;
  s.dead_letters_topic = c.topics.dead_letters;
  s.max_attempts = c.jobs.max_attempts;
  s.max_batch = c.batching.max_jobs;
  s.max_batch_bytes = c.batching.max_bytes;
  s.max_batch_delay = milliseconds{c.batching.max_delay_ms};
  s.max_aside_bytes = c.jobs.max_in_flight_bytes / 4;
  s.retry_backoff = milliseconds{c.delivery.retry_backoff_ms};
  s.retry_backoff_max = milliseconds{c.delivery.retry_backoff_max_ms};
  from_string(c.delivery.ordering, s.order); // the schema allows no other
  s.job_timeout = milliseconds{c.workers.job_timeout_ms};
  from_string(c.jobs.dead_letter_headers, s.dead_letter_style);
  from_string(c.breaker.mode, s.breaker.mode);
  s.breaker.open_at = c.breaker.open_at;
  s.breaker.close_below = c.breaker.close_below;
  s.breaker.open_for = milliseconds{c.breaker.open_ms};
  s.breaker.open_max = milliseconds{c.breaker.open_max_ms};
  s.breaker.settle = milliseconds{c.breaker.settle_ms};
  s.breaker.probe_jobs = c.breaker.probe_jobs;
  s.breaker.error_rate = c.breaker.error_rate;
  s.breaker.error_min_jobs = c.breaker.error_min_jobs;
  s.breaker.error_window = milliseconds{c.breaker.error_window_ms};
  s.pressure.ease_at = c.breaker.ease_at;
  s.pressure.tighten_at = c.breaker.tighten_at;
  s.pressure.open_at = c.breaker.open_at;
  s.limits.max_bytes = c.jobs.max_bytes;
  s.limits.max_pixels = c.jobs.max_pixels;
  s.limits.dataref_root = c.jobs.dataref_root;
  return s;
}

producer_factory producers(const configs::config& c) {
  return [properties = configs::producer_properties(c)](messaging::producer::report_handler h) {
    return messaging::make_kafka_producer(properties, std::move(h));
  };
}

transactional_producer_factory transactional_producers(const configs::config& c) {
  messaging::transaction_settings each;
  each.group = c.kafka.consumer.contains("group.id") ? c.kafka.consumer.at("group.id")
                                                     : c.kafka.common.at("group.id");
  each.limit = configs::transaction_timeout(c) / 2;
  return [each, properties = configs::transactional_properties(c, host_name(), ::getpid())](
           messaging::transactional_producer::report_handler h) {
    return messaging::make_kafka_transactional_producer(properties, each, std::move(h));
  };
}

} // namespace

std::string instance_name() { return host_name() + "-" + std::to_string(::getpid()); }

service_settings to_service_settings(const configs::config& c) {
  service_settings x;
  x.credit = {c.jobs.max_in_flight, c.jobs.max_in_flight_bytes};
  x.jobs = to_dispatcher_settings(c);
  x.decoder_has_thread = true;
  x.records.make = producers(c);
  if (c.delivery.guarantee == "exactly_once") {
    x.transactions.emplace();
    x.transactions->make = transactional_producers(c);
  }
  x.pool = to_supervisor_settings(c);
  x.slot.top_k = c.model.top_k;
  x.slot.faults_allowed = c.faults.allowed;
  return x;
}

supervision::model_options to_model_options(const configs::config& c) {
  return {c.model.precision, c.model.decode, c.model.compiled_path};
}

process_host_settings to_process_host_settings(const configs::config& c,
                                               std::shared_ptr<metrics> stats) {
  process_host_settings x;
  x.executable = worker_executable(c);
  x.model = to_model_options(c);
  x.max_pixels = c.jobs.max_pixels;
  x.max_batch = c.batching.max_jobs;
  x.stats = std::move(stats);
  x.faults_allowed = c.faults.allowed;
  if (c.healing.enabled) { // else memory is never healed
    x.budget_bytes = c.memory.worker_budget_bytes;
    x.hard_limit_bytes = c.memory.worker_hard_limit_bytes;
    x.max_peak_bytes = configs::job_room(x.budget_bytes, x.hard_limit_bytes);
  }
  x.container_limit_bytes = c.memory.container_limit_bytes;
  return x;
}

stop_limits to_stop_limits(const configs::config& c) {
  const auto& x = c.shutdown;
  return {.gate_ms = x.gate_ms,
          .drain_ms = x.drain_ms,
          .flush_ms = x.flush_ms,
          .commit_ms = x.commit_ms,
          .close_ms = x.close_ms,
          .workers_ms = c.workers.grace_ms + explain_ms};
}

messaging::client_properties client_properties_of(const configs::config& c) {
  messaging::client_properties result;
  result.consumer = configs::consumer_properties(c);
  result.producer = configs::producer_properties(c);
  if (c.delivery.guarantee == "exactly_once")
    result.transactional = configs::transactional_properties(c, host_name(), ::getpid());
  result.transaction_limit = configs::transaction_timeout(c) / 2;
  return result;
}

} // namespace ziyu::actors
