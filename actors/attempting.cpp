// The dispatcher's attempts: which job begins on which slot, and what its outcome means.

#include "actors/dispatcher.hpp"
#include "base/log.hpp"
#include "supervision/backoff.hpp"

#include <algorithm>

namespace ziyu::actors {

using namespace std::chrono_literals;
using messaging::record_state;

namespace {

/// On top of a job's own deadline, which the inference actor keeps: only a broken
/// inference actor lets this pass.
constexpr auto answer_margin = 5s;

/// Whether an attempt failed in a way that may befall the next job as well: its worker's
/// fault, or the model's. Bad input says nothing about the service.
bool is_systemic(const attempt_outcome& x) {
  return x.failure || (x.answer && x.answer->error_code == to_string(errc::inference_failed));
}

} // namespace

void dispatcher_state::on_slot_up(uint32_t index, inference_actor actor) {
  auto& x = slots.at(index);
  x.actor = std::move(actor);
  x.up = true;
  dispatch();
}

void dispatcher_state::dispatch() {
  if (draining)
    return;
  const auto now = self->clock().now();
  for (uint32_t i = 0; i < slots.size() && breaker->admits() > 0; ++i) {
    if (!slots[i].up || slots[i].running)
      continue;
    auto item = queue.pop(now, [this, i](const job_entry& x) { return suits(x, i) && admit(x); });
    if (!item)
      continue;
    start(i, std::move(item));
  }
  // What was announced meanwhile.
  for (const auto& id : announced)
    store_progress(id.where());
}

/// A job that failed on a slot is tried elsewhere as long as there is such a place, be it
/// busy at the moment: what is wrong may be the slot's, and should not use up its attempts.
bool dispatcher_state::suits(const job_entry& x, uint32_t index) const {
  if (x.failed_slot != index)
    return true;
  for (uint32_t i = 0; i < slots.size(); ++i)
    if (i != index && slots[i].up)
      return false;
  return true;
}

/// Whether the next attempt at `x` is on record. If it has to be announced first, and a slot
/// is free for it, that happens now.
bool dispatcher_state::admit(const job_entry& x) {
  const auto& id = x.job.source->id;
  const auto alone = ledger.killed_an_owner(id);
  if (alone && isolated && *isolated != id)
    return false;
  if (ledger.may_begin(id))
    return true;
  const auto free = std::count_if(slots.begin(), slots.end(),
                                  [](const slot& s) { return s.up && !s.running; });
  if (announced.size() < static_cast<size_t>(free) && ledger.announce(id)) {
    announced.insert(id);
    if (alone)
      isolated = id;
  }
  return false;
}

void dispatcher_state::start(uint32_t index, entry_ptr item) {
  auto& where = slots[index];
  where.running = item;
  const auto& id = item->job.source->id;
  announced.erase(id);
  if (ledger.killed_an_owner(id))
    isolated = id;
  item->attempts = ledger.spent_attempts(id) + 1;
  item->started_us = settings.report->env().monotonic_us();
  item->ticket = breaker->started();
  ledger.advance(id, item->job.source->epoch, record_state::running);
  auto answer = self->request(where.actor, settings.job_timeout + answer_margin,
                              attempt_request{item->job.job, item->attempts});
  // CAF keeps the timer of an answered request for all of its time: megabytes, at some
  // thousand of them.
  answer.then(
    [this, index, item, id = answer.id()](const attempt_outcome& outcome) {
      self->clock().cancel_request_timeout(self, id);
      on_outcome(index, item, outcome);
    },
    [this, index, item](const caf::error& err) {
      attempt_outcome outcome;
      outcome.slot = index;
      outcome.slot_up = false;
      outcome.failure = error{errc::worker_died,
                              "the inference actor of slot " + std::to_string(index)
                                + " did not answer: " + self->system().render(err)};
      on_outcome(index, item, outcome);
    });
}

void dispatcher_state::on_outcome(uint32_t index, const entry_ptr& item,
                                  const attempt_outcome& outcome) {
  auto& where = slots[index];
  where.running.reset();
  where.up = outcome.slot_up;
  const auto now = self->clock().now();
  // Nor does a job that has failed before say anything about the service when it fails
  // again: it may be its own fault, and must neither keep the breaker open nor open it.
  if ((outcome.failure && outcome.failure->code == errc::unavailable)
      || (is_systemic(outcome) && item->attempts > 1))
    breaker->not_begun(item->ticket);
  else
    on_breaker(breaker->finished(item->ticket, !is_systemic(outcome), now));
  const auto& id = item->job.source->id;
  if (isolated == id)
    isolated.reset();
  if (!ledger.owns(id.where(), item->job.source->epoch)) {
    settings.report->stats().stale.Increment();
    release(item);
  } else if (!outcome.failure) {
    queue.decide(*item);
    if (outcome.answer->error_code.empty()) {
      publish_result(item, outcome);
    } else {
      auto code = errc::inference_failed;
      from_string(outcome.answer->error_code, code);
      dead_letter(item, error{code, outcome.answer->error_message});
    }
  } else if (outcome.failure->code == errc::unavailable) {
    // Nobody has begun: no attempt is spent.
    --item->attempts;
    try_again(item, 0ms);
  } else {
    on_failed_attempt(item, outcome);
  }
  dispatch();
  finish_drain_if_idle(false);
}

void dispatcher_state::on_failed_attempt(const entry_ptr& item, const attempt_outcome& outcome) {
  const auto& source = *item->job.source;
  settings.report->stats()
    .failed_attempts.Add({{"code", std::string{to_string(outcome.failure->code)}}})
    .Increment();
  spdlog::warn("attempt failed: job={} source={} slot={} generation={} attempt={} reason={}",
               item->job.job->id, messaging::to_string(source.id), outcome.slot, outcome.generation,
               item->attempts, outcome.failure->describe());
  item->last_failure = *outcome.failure;
  item->failed_slot = outcome.slot;
  ledger.fail_attempt(source.id, source.epoch);
  if (item->attempts >= settings.max_attempts) {
    queue.decide(*item);
    dead_letter(item, error{errc::max_attempts, std::to_string(item->attempts)
                                                  + " attempts failed, the last with "
                                                  + outcome.failure->describe()});
    return;
  }
  auto delay = 0ms;
  if (settings.retry_backoff > 0ms) {
    supervision::backoff pause{settings.retry_backoff,
                               std::max(settings.retry_backoff, settings.retry_backoff_max)};
    for (uint32_t n = 0; n < item->attempts; ++n)
      delay = pause.next(settings.report->env().random());
  }
  try_again(item, delay);
}

void dispatcher_state::try_again(const entry_ptr& item, std::chrono::milliseconds delay) {
  ledger.advance(item->job.source->id, item->job.source->epoch, record_state::queued);
  if (draining || departs(item->job.source->id.where(), item->job.source->epoch)) {
    release(item); // handed back when its partition goes
    return;
  }
  queue.push_again(item, self->clock().now() + delay);
  if (delay > 0ms)
    self->delayed_send(self, delay, atom::retry{});
}

} // namespace ziyu::actors
