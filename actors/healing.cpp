// The supervisor's healing: verdicts and the ladder.

#include "actors/supervisor.hpp"

#include "base/log.hpp"

#include <algorithm>
#include <cmath>
#include <csignal>

namespace ziyu::actors {

using supervision::growth;
using supervision::rung;

void supervisor_state::on_job_done(const job_done& x) {
  auto entry = find(x.worker);
  if (!entry || !entry->life.is_serving())
    return; // its slot switches or learns that it is gone: no need to release it
  auto& w = *entry;
  w.held = x.held;
  ++w.jobs;
  w.last_delta = x.delta_live;
  w.live_bytes = x.memory.live;
  w.gpu_allocated = x.memory.gpu_allocated;
  w.gpu_reserved = x.memory.gpu_reserved;
  w.step_bytes = x.step_bytes;
  w.private_bytes = w.present_bytes = x.private_bytes;
  w.peak_bytes = std::max(w.peak_bytes, w.private_bytes);
  ++jobs_done;
  w.reported_anonymous = x.memory.rss_anon;
  w.reported_moment = x.moment;
  w.encoded_sum += static_cast<double>(x.encoded_bytes);
  w.decoded_sum += static_cast<double>(x.decoded_bytes);
  w.recent.push_back({w.jobs, x.delta_live, x.decoded_bytes, x.memory.live, x.private_bytes});
  if (w.recent.size() > worker_entry::recent_limit)
    w.recent.pop_front();
  const auto slot_label = std::to_string(w.slot);
  auto& stats = settings.report->stats();
  stats.worker_live_bytes.Add({{"slot", slot_label}}).Set(static_cast<double>(w.live_bytes));
  stats.worker_private_bytes.Add({{"slot", slot_label}}).Set(static_cast<double>(w.private_bytes));
  w.judge->observe({.live = x.memory.live,
                    .private_bytes = x.private_bytes,
                    .gpu_allocated = x.memory.gpu_allocated,
                    .gpu_reserved = x.memory.gpu_reserved,
                    .encoded_bytes = x.encoded_bytes,
                    .decoded_bytes = x.decoded_bytes,
                    .batch = x.batch,
                    .ok = x.ok});
  watch_allocations(w);
  stats.set_jobs_left(w.slot, w.judge->last().jobs_left);
  tell_verdict(w);
  if (w.held && read_private(w)) { // it waits for us
    distrust(w);
    if (w.killed)
      return;
  }
  heal(w);
}

void supervisor_state::release(worker_entry& x) {
  // A worker that may reach its budget stays held until a standby takes its slot over.
  if (!x.at_budget && std::exchange(x.held, false))
    self->send(slots.at(x.slot).actor, go_ahead{x.id});
}

void supervisor_state::tell_verdict(worker_entry& x) {
  const auto kind = x.judge->last().kind;
  if (kind == x.told)
    return;
  const auto before = std::exchange(x.told, kind);
  const auto was_live = supervision::is_confirmed(before) && before != growth::hoarding;
  if (was_live && !supervision::is_confirmed(kind))
    tell_end_of_growth(x);
  if (kind == growth::suspected && before < kind)
    settings.report->emit(events::leak_suspected{evidence_of(x)});
  else if (kind == growth::growing)
    settings.report->emit(events::growth_confirmed{evidence_of(x)});
  else if (kind >= growth::leak)
    settings.report->emit(events::leak_confirmed{evidence_of(x)});
}

void supervisor_state::tell_end_of_growth(const worker_entry& x) {
  const auto& verdict = x.judge->last();
  settings.report->emit(events::growth_ended{.worker = evidence_of(x),
                                             .grew_for_jobs = verdict.ended_jobs,
                                             .ended_at_bytes = verdict.ended_bytes});
  slots.at(x.slot).history.note_end(verdict.ended_bytes);
}

void supervisor_state::judge_anew(worker_entry& x) {
  x.judge.emplace(settings.judge);
  x.told = growth::warming_up;
  if (x.generation > 0)
    x.judge->expect_cache(slots.at(x.slot).history.cache_bytes());
}

supervision::healing_policy::worker supervisor_state::state_of(const worker_entry& x) const {
  supervision::healing_policy::worker w;
  w.verdict = x.judge->last();
  w.baseline_bytes = x.baseline_bytes;
  w.private_bytes = x.private_bytes;
  w.present_bytes = x.present_bytes;
  // The worker's own report, but at most the growth by the supervisor's readings.
  w.step_bytes = std::min(x.step_bytes,
                          x.private_bytes - std::min(x.private_bytes, x.baseline_bytes));
  w.live_grown_bytes = static_cast<int64_t>(x.live_bytes) - static_cast<int64_t>(x.live_baseline);
  w.gpu_grown_bytes = x.gpu_reserved > x.gpu_baseline ? x.gpu_reserved - x.gpu_baseline : 0;
  w.chance = x.chance;
  w.trimmed = x.trimmed;
  return w;
}

void supervisor_state::heal(worker_entry& x) {
  auto step = policy->decide(state_of(x));
  if (step.action == rung::none)
    return release(x);
  // The worker's own report started this; the supervisor's reading decides. If nothing can be read,
  // the report must be enough, or the worker would be held for ever.
  if (!read_private(x) && settings.host->gone(x.id))
    return;
  step = policy->decide(state_of(x));
  switch (step.action) {
  case rung::none: return release(x);
  case rung::trim:
    // The trim has no deadline. Its next job comes after the trim and bounds it, so the next probe
    // releases a worker that is held meanwhile.
    if (std::exchange(x.trimming, true))
      return release(x);
    spdlog::info("trimming worker {} (slot {}): {}", x.id, x.slot, step.reason);
    x.before_trim = x.private_bytes;
    tell_worker(x, wire::trim{});
    // At its budget it waits for the result of the trim.
    if (!step.last_resort)
      release(x);
    return;
  case rung::replace:
    want_replacement(x, step.reason);
    x.at_budget = x.at_budget || step.last_resort;
    return release(x);
  case rung::kill: kill(x, error{errc::hard_limit, step.reason}); return;
  }
}

void supervisor_state::on_trimmed(worker_entry& x, const wire::trimmed& news) {
  // As it was when the trim was decided: a reading at a job's end may have come between that
  // already saw the trim's effect.
  const auto before = std::max(x.before_trim, x.private_bytes);
  x.trimming = false;
  x.trimmed = true;
  x.reported_anonymous = news.after.rss_anon;
  // Reports of jobs that ended before the trim may still arrive.
  x.comparable_from = x.activity->moment() + 2;
  if (!read_private(x))
    return;
  // Its next job may run already: only its own report tells what the trim has left.
  if (!x.seen_idle)
    x.private_bytes = std::min(x.private_bytes,
                               static_cast<uint64_t>(std::max<int64_t>(
                                 0, static_cast<int64_t>(news.after.rss_anon) + x.private_offset)));
  const auto recovered = before > x.private_bytes ? before - x.private_bytes : 0;
  const auto gpu_before = std::exchange(x.gpu_reserved, news.after.gpu_reserved);
  const auto gpu_recovered = gpu_before > x.gpu_reserved ? gpu_before - x.gpu_reserved : 0;
  events::worker_trimmed told{.worker = evidence_of(x),
                              .bytes_recovered = recovered,
                              .ms = static_cast<double>(news.duration_us) / 1000};
  if (gpu_before > 0)
    told.gpu_bytes_recovered = gpu_recovered;
  const auto on_gpu = gpu_before - std::min(gpu_before, x.gpu_baseline);
  const auto grown = before - std::min(before, x.baseline_bytes) + on_gpu;
  const auto left = x.private_bytes - std::min(x.private_bytes, x.baseline_bytes) + x.gpu_reserved
                    - std::min(x.gpu_reserved, x.gpu_baseline);
  // If that was enough, it is judged anew, and the rung may be used again. Else the next rung is
  // due.
  const auto enough = left < grown / 2;
  told.enough = enough;
  settings.report->emit(std::move(told));
  if (enough) {
    judge_anew(x);
    x.trimmed = false;
  }
  if (x.life.is_serving())
    heal(x); // its next job may reach the budget, or may begin now
}

void supervisor_state::want_replacement(worker_entry& x, const std::string& reason) {
  if (slots[x.slot].wanted)
    return;
  x.doomed = reason;
  start_replacements();
}

void supervisor_state::start_replacements() {
  std::vector<supervision::doomed_worker> doomed;
  const auto now_us = settings.report->env().monotonic_us();
  for (auto& where : slots) {
    auto x = find(where.worker);
    if (x == nullptr || where.wanted || x->doomed.empty() || !x->life.is_serving())
      continue;
    const auto served_us = std::max<int64_t>(now_us - x->serving_since_us, 1);
    doomed.push_back({x->slot, x->held ? 0 : x->judge->last().jobs_left_earliest.value_or(0),
                      static_cast<double>(x->jobs) * 1e6 / static_cast<double>(served_us)});
  }
  if (doomed.empty())
    return;
  const supervision::replacement_schedule schedule{policy->max_replacing(settings.slots)};
  const auto plan = schedule.decide(std::move(doomed), replacing());
  for (auto slot_index : plan.start)
    begin_replacement(*find(slots[slot_index].worker));
  // Out of turn, since the next job may reach the budget.
  for (auto slot_index : plan.hold)
    begin_replacement(*find(slots[slot_index].worker));
  supply();
}

void supervisor_state::begin_replacement(worker_entry& x) {
  // A worker that was relieved before has no job. It gets no more time to end by itself; otherwise,
  // with a fast leak, more and more workers would be ending.
  for (const auto& done : relieved)
    if (auto old = find(done.old_worker);
        done.slot == x.slot && old != nullptr && old->life.is_ending())
      settings.host->signal(old->id, SIGKILL);
  replacement next;
  next.slot = x.slot;
  next.old_worker = x.id;
  next.cause = to_string(supervision::name_cause(counters_of(x)));
  next.reason = x.doomed;
  next.decided_us = settings.report->env().monotonic_us();
  next.old_private = x.private_bytes;
  next.evidence = evidence_of(x);
  slots[x.slot].wanted = std::move(next);
  spdlog::info("replacing worker {} (slot {}, generation {}): {}", x.id, x.slot, x.generation,
               x.doomed);
}

supervision::cause_evidence supervisor_state::counters_of(const worker_entry& x) const {
  supervision::cause_evidence e;
  const auto& verdict = x.judge->last();
  e.kind = verdict.kind;
  e.live_per_job = verdict.live.bytes_per_job;
  e.private_per_job = verdict.private_memory.bytes_per_job;
  e.live_grown = static_cast<double>(x.live_bytes) - static_cast<double>(x.live_baseline);
  e.private_grown = static_cast<double>(x.private_bytes) - static_cast<double>(x.baseline_bytes);
  if (x.jobs > 0) {
    e.encoded_per_job = x.encoded_sum / static_cast<double>(x.jobs);
    e.decoded_per_job = x.decoded_sum / static_cast<double>(x.jobs);
  }
  if (verdict.on_gpu) {
    // One slope for both: what tensors hold is reserved for them. So a leak moves both, and a cache
    // only the second.
    e.gpu_reserved_per_job = verdict.gpu.bytes_per_job;
    if (verdict.kind != growth::hoarding)
      e.gpu_allocated_per_job = verdict.gpu.bytes_per_job;
  }
  e.model_bytes = keeper->model() ? keeper->model()->memory.live : 0;
  e.delta_image_correlation = x.delta_image_correlation();
  return e;
}

events::evidence supervisor_state::evidence_of(const worker_entry& x) const {
  const auto& verdict = x.judge->last();
  const auto slope_of = [](const supervision::leak_judge::slope& s) {
    return events::slope{s.bytes_per_job, s.lower, s.upper};
  };
  events::evidence e;
  e.slot = x.slot;
  e.generation = x.generation;
  e.pid = x.pid;
  e.jobs = x.jobs;
  e.verdict = to_string(verdict.kind);
  e.judgement = supervision::explain(verdict);
  e.odds = verdict.evidence;
  e.onset_job = verdict.onset;
  e.with_inputs = to_string(verdict.input);
  e.live_slope = slope_of(verdict.live);
  e.private_slope = slope_of(verdict.private_memory);
  e.live_bytes = x.live_bytes;
  e.private_bytes = x.private_bytes;
  e.peak_private_bytes = x.peak_bytes;
  e.baseline_bytes = x.baseline_bytes;
  e.last_delta_bytes = x.last_delta;
  e.budget_bytes = settings.healing.budget_bytes;
  if (x.gpu_reserved > 0) {
    e.gpu_allocated_bytes = x.gpu_allocated;
    e.gpu_reserved_bytes = x.gpu_reserved;
    e.gpu_slope = slope_of(verdict.gpu);
  }
  if (verdict.jobs_left) {
    e.jobs_left = verdict.jobs_left;
    e.jobs_left_earliest = verdict.jobs_left_earliest;
    e.jobs_left_latest = verdict.jobs_left_latest;
  }
  for (const auto& point : x.recent)
    e.series.points.push_back({point.job, point.delta, point.live, point.private_bytes});
  return e;
}

double worker_entry::delta_image_correlation() const {
  const auto n = static_cast<double>(recent.size());
  if (recent.size() < 4)
    return 0;
  double mean_d = 0, mean_i = 0;
  for (const auto& p : recent) {
    mean_d += static_cast<double>(p.delta) / n;
    mean_i += static_cast<double>(p.decoded) / n;
  }
  double cov = 0, var_d = 0, var_i = 0;
  for (const auto& p : recent) {
    const auto d = static_cast<double>(p.delta) - mean_d,
               i = static_cast<double>(p.decoded) - mean_i;
    cov += d * i;
    var_d += d * d;
    var_i += i * i;
  }
  return var_d > 0 && var_i > 0 ? cov / std::sqrt(var_d * var_i) : 0;
}

void supervisor_state::finish_replacement(replacement done) {
  auto& where = slots.at(done.slot);
  ++where.replacements;
  ++replacements;
  const auto recovered = done.old_private > done.new_private ? done.old_private - done.new_private
                                                             : 0;
  const auto ms = static_cast<double>(done.switched_us - done.decided_us) / 1000;
  events::worker_replaced told{.worker = std::move(done.evidence),
                               .cause = done.cause,
                               .reason = done.reason,
                               .new_generation = done.new_generation,
                               .new_pid = done.new_pid,
                               .bytes_recovered = recovered,
                               .ms = ms};
  auto& stats = settings.report->stats();
  stats.recovered_bytes.Increment(static_cast<double>(recovered));
  stats.replacement_seconds.Observe(ms / 1000);
  if (auto named = desk->name(std::move(told), self->clock().now()))
    emit({std::move(*named)});
}

} // namespace ziyu::actors
