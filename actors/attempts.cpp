// The dispatcher's attempts: which job begins on which slot, and what its outcome means.

#include "actors/decoder.hpp"
#include "actors/dispatcher.hpp"
#include "actors/log_line.hpp"
#include "base/check.hpp"
#include "supervision/backoff.hpp"

#include <algorithm>

namespace ziyu::actors {

using namespace std::chrono_literals;
using messaging::record_state;

namespace {

/// Added to a job's own deadline, which the inference actor enforces: only a broken inference actor
/// exceeds it.
constexpr auto answer_margin = 5s;

/// A suspect waits for fresh jobs no longer than this: there may always be more of them.
constexpr auto suspect_patience = 5s;

} // namespace

void dispatcher_state::on_slot_up(uint32_t index, inference_actor actor, uint32_t most_jobs) {
  require(index < settings.slots, "only the slots of the pool take jobs");
  auto& x = slots[index];
  x.actor = std::move(actor);
  x.up = true;
  x.most_jobs = most_jobs;
  dispatch();
}

void dispatcher_state::dispatch() {
  if (!draining)
    begin_and_announce();
  send_outbox();
}

void dispatcher_state::begin_and_announce() {
  begin_what_may();
  if (queue.size() == 0 && free_slots() > 0)
    settings.credit->starve();
  read_ahead();
  // Jobs that were announced and are on record by now.
  for (const auto& id : announced)
    store_progress(id.where());
}

void dispatcher_state::begin_what_may() {
  const auto now = self->clock().now();
  auto waits_for_room = false; // then no other job passes it; otherwise it would wait for ever
  const auto admit = [&](job_entry& x) {
    if (waits_for_room || !is_on_record(x) || x.unread)
      return false;
    if (!x.job.job && !x.job.reason)
      take_content(x, decode(*x.job.source, settings.limits));
    waits_for_room = !x.job.reason && !has_room(x);
    return !waits_for_room;
  };
  auto free = free_slots();
  for (auto& [number, place] : slots) {
    if (!place.is_free())
      continue;
    const auto index = number;
    const auto most = former->most_jobs(place.most_jobs, queue.size(), free--);
    if (waits_for_more(std::min(place.most_jobs, settings.max_batch)))
      return;
    auto& batch = place.running;
    uint64_t bytes = 0; // of the batch's images
    // A suspect runs alone, so that it is known who ends a worker.
    while (batch.size() < most && breaker->admits() > 0
           && (batch.empty() || !runs_alone(*batch.front()))) {
      auto item = queue.pop(now, [&](job_entry& x) {
        return suits(x, index) && (batch.empty() || !runs_alone(x)) && admit(x)
               && (x.job.reason || former->fits(bytes, x.job.job->image->size()));
      });
      if (!item)
        break;
      if (!item->job.reason) {
        bytes += std::max<uint64_t>(item->job.job->image->size(), 1);
        begin(*item);
        batch.push_back(std::move(item));
        continue;
      }
      queue.came_back(*item);
      queue.decide(*item);
      announced.erase(item->job.source->id);
      dead_letter(item, *item->job.reason);
    }
    if (!batch.empty())
      start(index);
  }
}

bool dispatcher_state::waits_for_more(uint32_t most) {
  const auto oldest_us = queue.oldest_us();
  if (settings.max_batch_delay == 0ms || queue.size() >= most || !oldest_us)
    return false;
  const auto age = std::chrono::microseconds{settings.report->env().monotonic_us() - *oldest_us};
  if (age >= settings.max_batch_delay)
    return false;
  if (!std::exchange(fills_up, true))
    self->delayed_send(self, settings.max_batch_delay - age, atom::retry{});
  return true;
}

size_t dispatcher_state::free_slots() const {
  return static_cast<size_t>(std::count_if(slots.begin(), slots.end(),
                                           [](const auto& each) { return each.second.is_free(); }));
}

/// A job that workers, or an owner of its partition, have ended with.
bool dispatcher_state::runs_alone(const job_entry& x) const {
  return x.is_suspect() || ledger.killed_an_owner(x.job.source->id);
}

/// The pixels of running jobs are bounded like waiting jobs; a single job may have more.
bool dispatcher_state::has_room(const job_entry& x) const {
  return pixels_bytes == 0 || pixels_bytes + x.pixels_bytes <= settings.credit->granted().bytes;
}

/// A job that failed on a slot is tried on another one, even if that is busy at the moment: the
/// slot may be at fault, and should not use up the job's attempts.
bool dispatcher_state::suits(const job_entry& x, uint32_t index) const {
  if (x.failed_slot != index)
    return true;
  return std::none_of(slots.begin(), slots.end(),
                      [index](const auto& each) { return each.first != index && each.second.up; });
}

/// Whether the next attempt at `x` is on record. If it must be announced first and a slot is free
/// for it, this announces it.
bool dispatcher_state::is_on_record(const job_entry& x) {
  const auto& id = x.job.source->id;
  const auto alone = ledger.killed_an_owner(id);
  if ((alone && isolated && *isolated != id)
      || (x.is_suspect() && next_suspect && *next_suspect != id))
    return false;
  if (ledger.may_begin(id))
    return true;
  if (announced.size() < free_slots() * settings.max_batch && ledger.announce(id)) {
    announced.insert(id);
    if (alone)
      isolated = id;
    if (x.is_suspect())
      next_suspect = id;
  }
  return false;
}

void dispatcher_state::begin(job_entry& x) {
  const auto& id = x.job.source->id;
  announced.erase(id);
  if (next_suspect == id)
    next_suspect.reset();
  if (ledger.killed_an_owner(id))
    isolated = id;
  x.attempts = ledger.spent_attempts(id) + 1;
  x.started_us = settings.report->env().monotonic_us();
  x.ticket = breaker->started();
  pixels_bytes += x.pixels_bytes;
  x.job.credit->grow(x.pixels_bytes);
  ledger.advance(id, x.job.source->epoch, record_state::running);
}

void dispatcher_state::start(uint32_t index) {
  const auto& where = slots.at(index);
  attempt_request request;
  for (const auto& item : where.running)
    request.jobs.push_back({item->job.job, item->attempts});
  request.timeout = former->time_limit(request.jobs.size());
  auto answer = self->request(where.actor, request.timeout + answer_margin, std::move(request));
  // CAF keeps the timer of an answered request until its deadline: megabytes for some thousands of
  // them.
  answer.then(
    [this, index, id = answer.id()](const attempt_outcome& outcome) {
      self->clock().cancel_request_timeout(self, id);
      on_outcome(index, outcome);
    },
    [this, index](const caf::error& err) {
      attempt_outcome outcome;
      outcome.slot = index;
      outcome.slot_up = false;
      outcome.failure = error{errc::worker_died,
                              "the inference actor of slot " + std::to_string(index)
                                + " did not answer: " + self->system().render(err)};
      on_outcome(index, outcome);
    });
}

void dispatcher_state::on_outcome(uint32_t index, const attempt_outcome& outcome) {
  auto& where = slots.at(index);
  const auto batch = std::exchange(where.running, {});
  where.up = outcome.slot_up;
  where.most_jobs = outcome.most_jobs;
  if (outcome.answer)
    former->ended(batch.size(), std::chrono::microseconds{settings.report->env().monotonic_us()
                                                          - batch.front()->started_us});
  const auto accused = std::make_shared<uint32_t>(static_cast<uint32_t>(batch.size()));
  for (size_t i = 0; i < batch.size(); ++i)
    settle(batch[i], {.attempt = outcome,
                      .answer = outcome.failure ? nullptr : &outcome.answer->answers.at(i),
                      .batch = batch.size(),
                      .is_first = i == 0,
                      .accused = accused});
  dispatch();
  finish_drain_if_idle(false);
  finish_resume_if_idle();
}

void dispatcher_state::settle(const entry_ptr& item, const job_outcome& outcome) {
  pixels_bytes -= item->pixels_bytes;
  item->job.credit->shrink(item->pixels_bytes);
  queue.came_back(*item);
  judge_outcome(*item, outcome);
  const auto& failure = outcome.attempt.failure;
  const auto& id = item->job.source->id;
  if (isolated == id)
    isolated.reset();
  if (!ledger.owns(id.where(), item->job.source->epoch)) {
    settings.report->stats().stale.Increment();
    // The job may be the cause all the same: its next owner learns whether it was.
    if (!failure)
      clear(*item);
    else if (failure->code != errc::unavailable)
      suspect(*item, outcome);
    release(item);
  } else if (!failure) {
    clear(*item);
    queue.decide(*item);
    if (outcome.answer->error_code.empty()) {
      publish_result(item, outcome);
    } else {
      auto code = errc::inference_failed;
      from_string(outcome.answer->error_code, code);
      dead_letter(item, error{code, outcome.answer->error_message});
    }
  } else if (failure->code == errc::unavailable) {
    // The attempt did not begin: it does not count.
    --item->attempts;
    ledger.advance(id, item->job.source->epoch, record_state::queued);
    if (draining || departs(id.where(), item->job.source->epoch))
      release(item); // handed back when its partition goes
    else
      queue.push_again(item);
  } else {
    on_failed_attempt(item, outcome);
  }
}

/// Reports an attempt's outcome to the breaker. These outcomes say nothing about the service: bad
/// input, a further failure of a job (the job itself may be at fault), and a slot that could not
/// begin. A worker that ends with several jobs is one failure.
void dispatcher_state::judge_outcome(const job_entry& x, const job_outcome& outcome) {
  auto code = errc::inference_failed;
  const auto answered = outcome.answer != nullptr;
  const auto succeeded = answered && outcome.answer->error_code.empty();
  if (answered && !succeeded)
    from_string(outcome.answer->error_code, code);
  if ((answered && !succeeded && is_bad_input(code))
      || (outcome.failed()
          && (outcome.attempt.failure->code == errc::unavailable || x.attempts > 1
              || !outcome.is_first)))
    breaker->not_begun(x.ticket);
  else
    on_breaker(breaker->finished(x.ticket, succeeded, self->clock().now()));
}

void dispatcher_state::on_failed_attempt(const entry_ptr& item, const job_outcome& outcome) {
  const auto& source = *item->job.source;
  const auto& failure = *outcome.attempt.failure;
  settings.report->stats()
    .failed_attempts.Add({{"code", std::string{to_string(failure.code)}}})
    .Increment();
  log_line(spdlog::level::warn, "attempt failed", failure.describe(),
           {{"job_id", item->job.job->id},
            {"source", messaging::to_string(source.id)},
            {"slot", outcome.attempt.slot},
            {"generation", outcome.attempt.generation},
            {"attempt", item->attempts},
            {"batch", outcome.batch}});
  item->last_failure = failure;
  item->failed_slot = outcome.attempt.slot;
  suspect(*item, outcome);
  // Who ended a worker together with others is not charged: it runs alone next.
  if (outcome.is_shared_failure()) {
    --item->attempts;
    try_again(item, 0ms);
    return;
  }
  ledger.fail_attempt(source.id, source.epoch);
  if (item->attempts >= settings.max_attempts) {
    queue.decide(*item);
    dead_letter(item, error{errc::max_attempts, why_given_up(*item, failure)});
    return;
  }
  try_again(item, pause_after(item->attempts));
}

std::chrono::milliseconds dispatcher_state::pause_after(uint32_t attempts) {
  auto delay = 0ms;
  if (settings.retry_backoff == 0ms)
    return delay;
  supervision::backoff pause{settings.retry_backoff,
                             std::max(settings.retry_backoff, settings.retry_backoff_max)};
  for (uint32_t n = 0; n < attempts; ++n)
    delay = pause.next(settings.report->env().random());
  return delay;
}

void dispatcher_state::try_again(const entry_ptr& item, std::chrono::milliseconds delay) {
  ledger.advance(item->job.source->id, item->job.source->epoch, record_state::queued);
  if (draining || departs(item->job.source->id.where(), item->job.source->epoch)) {
    release(item); // handed back when its partition goes
    return;
  }
  const auto due = self->clock().now() + delay;
  queue.push_suspect(item, due, due + suspect_patience);
  if (delay > 0ms)
    self->delayed_send(self, delay, atom::retry{});
}

} // namespace ziyu::actors
