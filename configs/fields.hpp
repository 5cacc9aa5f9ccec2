#pragma once

#include "configs/config.hpp"

namespace ziyu::configs {

namespace fields {

template <class Config, class F>
void workers(Config& x, F& f) {
  f("model.path", x.model.path);
  f("model.precision", x.model.precision);
  f("model.decode", x.model.decode);
  f("model.compiled_path", x.model.compiled_path);
  f("model.top_k", x.model.top_k);
  f("workers.slots", x.workers.slots);
  f("workers.standbys", x.workers.standbys);
  f("workers.start_timeout_ms", x.workers.start_timeout_ms);
  f("workers.job_timeout_ms", x.workers.job_timeout_ms);
  f("workers.grace_ms", x.workers.grace_ms);
  f("workers.executable", x.workers.executable);
  f("batching.max_jobs", x.batching.max_jobs);
  f("batching.max_bytes", x.batching.max_bytes);
  f("batching.max_delay_ms", x.batching.max_delay_ms);
  f("memory.worker_budget_bytes", x.memory.worker_budget_bytes);
  f("memory.worker_hard_limit_bytes", x.memory.worker_hard_limit_bytes);
  f("memory.model_cache_bytes", x.memory.model_cache_bytes);
  f("memory.container_limit_bytes", x.memory.container_limit_bytes);
  f("memory.probe_interval_ms", x.memory.probe_interval_ms);
}

template <class Config, class F>
void healing(Config& x, F& f) {
  f("judge.warmup_jobs", x.judge.warmup_jobs);
  f("judge.min_jobs", x.judge.min_jobs);
  f("judge.window_jobs", x.judge.window_jobs);
  f("judge.min_effect_bytes", x.judge.min_effect_bytes);
  f("judge.confidence", x.judge.confidence);
  f("judge.cache_entries", x.judge.cache_entries);
  f("healing.enabled", x.healing.enabled);
  f("healing.replace_at", x.healing.replace_at);
  f("healing.forecast_jobs", x.healing.forecast_jobs);
  f("healing.min_life_jobs", x.healing.min_life_jobs);
  f("healing.max_unavailable", x.healing.max_unavailable);
  f("healing.jitter", x.healing.jitter);
  f("healing.explain", x.healing.explain);
  f("healing.explain_interval_ms", x.healing.explain_interval_ms);
  f("restart.intensity", x.restart.intensity);
  f("restart.period_ms", x.restart.period_ms);
  f("restart.backoff_initial_ms", x.restart.backoff_initial_ms);
  f("restart.backoff_max_ms", x.restart.backoff_max_ms);
  f("breaker.mode", x.breaker.mode);
  f("breaker.ease_at", x.breaker.ease_at);
  f("breaker.tighten_at", x.breaker.tighten_at);
  f("breaker.open_at", x.breaker.open_at);
  f("breaker.close_below", x.breaker.close_below);
  f("breaker.open_ms", x.breaker.open_ms);
  f("breaker.open_max_ms", x.breaker.open_max_ms);
  f("breaker.settle_ms", x.breaker.settle_ms);
  f("breaker.probe_jobs", x.breaker.probe_jobs);
  f("breaker.error_rate", x.breaker.error_rate);
  f("breaker.error_min_jobs", x.breaker.error_min_jobs);
  f("breaker.error_window_ms", x.breaker.error_window_ms);
}

template <class Config, class F>
void service(Config& x, F& f) {
  f("topics.jobs", x.topics.jobs);
  f("topics.results", x.topics.results);
  f("topics.dead_letters", x.topics.dead_letters);
  f("topics.events", x.topics.events);
  f("jobs.max_bytes", x.jobs.max_bytes);
  f("jobs.max_pixels", x.jobs.max_pixels);
  f("jobs.max_attempts", x.jobs.max_attempts);
  f("jobs.max_in_flight_bytes", x.jobs.max_in_flight_bytes);
  f("jobs.max_in_flight", x.jobs.max_in_flight);
  f("jobs.dataref_root", x.jobs.dataref_root);
  f("jobs.dead_letter_headers", x.jobs.dead_letter_headers);
  f("delivery.guarantee", x.delivery.guarantee);
  f("delivery.transactional_id", x.delivery.transactional_id);
  f("delivery.ordering", x.delivery.ordering);
  f("delivery.retry_backoff_ms", x.delivery.retry_backoff_ms);
  f("delivery.retry_backoff_max_ms", x.delivery.retry_backoff_max_ms);
  f("http.host", x.http.host);
  f("http.port", x.http.port);
  f("faults.allowed", x.faults.allowed);
  f("log.level", x.log.level);
  f("log.format", x.log.format);
  f("shutdown.gate_ms", x.shutdown.gate_ms);
  f("shutdown.drain_ms", x.shutdown.drain_ms);
  f("shutdown.flush_ms", x.shutdown.flush_ms);
  f("shutdown.commit_ms", x.shutdown.commit_ms);
  f("shutdown.close_ms", x.shutdown.close_ms);
}

} // namespace fields

/// Calls `f("section.key", member)` for every value of a `config` (const or not) that is set
/// by one key of the document. The free-form maps under `kafka` and `faults.slots` are left
/// out.
template <class Config, class F>
void for_each_field(Config& x, F&& f) {
  fields::workers(x, f);
  fields::healing(x, f);
  fields::service(x, f);
}

} // namespace ziyu::configs
