// The supervisor's healing: verdicts and the ladder.

#include "actors/supervisor.hpp"

#include "base/log.hpp"

#include <algorithm>
#include <csignal>

namespace ziyu::actors {

using supervision::rung;

void supervisor_state::on_job_done(const job_done& x) {
  auto entry = find(x.worker);
  if (!entry || !entry->life().is_serving())
    return; // its slot switches or learns that it is gone: no need to release it
  auto& w = *entry;
  w.hold(x.held);
  w.after_job(x.memory);
  ++jobs_done;
  auto& stats = settings.report->stats();
  stats.set_worker_memory(w.slot(), w.memory().live_bytes(), w.memory().private_bytes());
  if (const auto wish = w.wants_lone_jobs(); wish != std::exchange(w.lone_jobs, wish))
    self->send(inferences.at(w.slot()), lone_jobs_wish{w.id(), wish});
  watch_allocations(w);
  stats.set_jobs_left(w.slot(), w.verdict().jobs_left);
  emit(w.tell_verdict(settings.healing.budget_bytes, slots.at(w.slot()).history()));
  if (w.is_held() && read_private(w)) { // it waits for us
    distrust(w);
    if (w.killed())
      return;
  }
  heal(w);
}

void supervisor_state::release(worker_entry& x) {
  if (x.let_go())
    self->send(inferences.at(x.slot()), go_ahead{x.id()});
}

void supervisor_state::heal(worker_entry& x) {
  auto step = policy->decide(x.standing());
  if (step.action == rung::none)
    return release(x);
  // The worker's own report started this; the supervisor's reading decides. If nothing can be read,
  // the report must be enough, or the worker would be held for ever.
  if (!read_private(x) && settings.host->gone(x.id()))
    return;
  step = policy->decide(x.standing());
  switch (step.action) {
  case rung::none: return release(x);
  case rung::trim:
    // The trim has no deadline. Its next job comes after the trim and bounds it, so the next probe
    // releases a worker that is held meanwhile.
    if (!x.memory().begin_trim())
      return release(x);
    spdlog::info("trimming worker {} (slot {}): {}", x.id(), x.slot(), step.reason);
    tell_worker(x, wire::trim{});
    // At its budget it waits for the result of the trim.
    if (!step.last_resort)
      release(x);
    return;
  case rung::replace:
    x.doom(step.reason, step.last_resort);
    if (!slots[x.slot()].wanted())
      start_replacements();
    return release(x);
  case rung::kill: kill(x, error{errc::hard_limit, step.reason}); return;
  }
}

void supervisor_state::on_trimmed(worker_entry& x, const wire::trimmed& news) {
  x.memory().trim_reported(news.after, x.activity->moment());
  if (!read_private(x))
    return;
  const auto found = x.memory().end_trim(news.after);
  settings.report->emit(events::worker_trimmed{.worker = evidence_of(x),
                                               .bytes_recovered = found.recovered,
                                               .gpu_bytes_recovered = found.gpu_recovered,
                                               .ms = static_cast<double>(news.duration_us) / 1000,
                                               .enough = found.enough});
  // If that was enough, it is judged anew. Else the next rung is due.
  if (found.enough)
    x.judge_anew(slots.at(x.slot()).history());
  if (x.life().is_serving())
    heal(x); // its next job may reach the budget, or may begin now
}

void supervisor_state::start_replacements() {
  std::vector<supervision::doomed_worker> doomed;
  const auto now_us = settings.report->env().monotonic_us();
  for (const auto& where : slots) {
    auto x = find(where.worker());
    if (x == nullptr || where.wanted() || !x->is_doomed() || !x->life().is_serving())
      continue;
    const auto served_us = std::max<int64_t>(now_us - x->serving_since_us(), 1);
    doomed.push_back(
      {x->slot(), x->jobs_before_replacement(),
       static_cast<double>(x->memory().jobs()) * 1e6 / static_cast<double>(served_us)});
  }
  if (doomed.empty())
    return;
  const supervision::replacement_schedule schedule{policy->max_replacing(settings.slots)};
  const auto plan = schedule.decide(std::move(doomed), replacing());
  for (auto slot_index : plan.start)
    begin_replacement(*find(slots[slot_index].worker()));
  // Out of turn, since the next job may reach the budget.
  for (auto slot_index : plan.hold)
    begin_replacement(*find(slots[slot_index].worker()));
  supply();
}

void supervisor_state::begin_replacement(worker_entry& x) {
  // A worker that was relieved before has no job. It gets no more time to end by itself; otherwise,
  // with a fast leak, more and more workers would be ending.
  for (const auto& done : relieved)
    if (auto old = find(done.old_worker);
        done.slot == x.slot() && old != nullptr && old->life().is_ending())
      settings.host->signal(old->id(), SIGKILL);
  replacement next;
  next.slot = x.slot();
  next.old_worker = x.id();
  next.cause = !x.doom_cause().empty()
                 ? x.doom_cause()
                 : std::string{to_string(supervision::name_cause(counters_of(x)))};
  next.reason = x.doomed();
  next.decided_us = settings.report->env().monotonic_us();
  next.old_private = x.memory().private_bytes();
  next.evidence = evidence_of(x);
  slots[x.slot()].want(std::move(next));
  spdlog::info("replacing worker {} (slot {}, generation {}): {}", x.id(), x.slot(), x.generation(),
               x.doomed());
}

supervision::cause_evidence supervisor_state::counters_of(const worker_entry& x) {
  const auto* model = version_of(x).keeper().model();
  return x.counters(model != nullptr ? model->memory.live : 0);
}

events::evidence supervisor_state::evidence_of(const worker_entry& x) const {
  return x.evidence(settings.healing.budget_bytes);
}

void supervisor_state::finish_replacement(const replacement& done) {
  ++replacements;
  auto& stats = settings.report->stats();
  stats.recovered_bytes.Increment(static_cast<double>(done.bytes_recovered()));
  stats.replacement_seconds.Observe(done.ms() / 1000);
  if (auto named = desk->name(done.to_event(), self->clock().now()))
    emit({std::move(*named)});
}

} // namespace ziyu::actors
