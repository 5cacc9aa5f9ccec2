#include "actors/inference.hpp"

#include "base/log.hpp"
#include "supervision/healing_policy.hpp"

#include <algorithm>

namespace ziyu::actors {

namespace {

template <class Frame>
outgoing_frame to_outgoing(Frame&& x) {
  return {std::make_shared<const std::string>(wire::encode(std::forward<Frame>(x)))};
}

uint64_t private_bytes(const wire::memory_reading& memory, int64_t offset) {
  return static_cast<uint64_t>(
    std::max<int64_t>(0, static_cast<int64_t>(memory.rss_anon) + offset));
}

} // namespace

inference_state::~inference_state() {
  if (promise.pending()) {
    attempt_outcome x;
    x.slot = settings.slot;
    x.slot_up = false;
    x.failure = error{errc::unavailable, "the slot was shut down"};
    promise.deliver(std::move(x));
  }
}

uint32_t inference_state::most_jobs() const {
  if (!current || current->lone_jobs)
    return 1;
  return std::min(current->max_batch,
                  supervision::healing_policy::jobs_of_room(last_private_bytes, steps.largest(),
                                                            current->budget_bytes));
}

attempt_outcome inference_state::outcome() const {
  attempt_outcome x;
  x.slot = settings.slot;
  x.slot_up = is_up();
  x.most_jobs = most_jobs();
  if (current) {
    x.generation = current->generation;
    x.pid = current->pid;
    x.model = current->model;
  }
  return x;
}

caf::result<attempt_outcome> inference_state::on_request(const attempt_request& x) {
  if (!is_up() || promise.pending()) {
    auto refusal = outcome();
    refusal.failure = error{errc::unavailable, !current ? "the slot has no worker"
                                               : held   ? "the slot's worker is being replaced"
                                                        : "the slot is busy"};
    return refusal;
  }
  wire::batch frame;
  frame.attempt_id = ++attempt_id;
  frame.top_k = settings.top_k;
  for (const auto& each : x.jobs) {
    jobs.push_back(each.job);
    const auto& fault = each.job->fault;
    if (!fault.empty() && !settings.faults_allowed)
      spdlog::warn("fault ignored, faults.allowed is false: job={} fault={}", each.job->id, fault);
    frame.jobs.push_back({settings.faults_allowed ? fault : std::string{}, *each.job->image});
  }
  current->activity->begin_job();
  caf::anon_send(current->channel, to_outgoing(std::move(frame)));
  timeout = x.timeout;
  due = self->clock().now() + timeout;
  if (!timer_runs)
    start_timer(timeout);
  promise = self->make_response_promise<attempt_outcome>();
  return promise;
}

void inference_state::finish(attempt_outcome x) {
  jobs.clear();
  // Before the answer, so that the dispatcher's next job goes to the new worker.
  if (next)
    switch_over();
  x.slot_up = is_up();
  x.most_jobs = most_jobs();
  promise.deliver(std::move(x));
}

void inference_state::on_frame(const channel_frame& x) {
  if (!current || x.worker != current->worker)
    return; // a worker that was abandoned
  if (auto answer = std::get_if<wire::result>(x.content.get())) {
    if (answer->attempt_id == attempt_id && promise.pending()
        && answer->answers.size() == jobs.size())
      on_result(*answer);
  }
}

void inference_state::on_result(const wire::result& x) {
  auto done = outcome();
  done.answer = std::make_shared<const wire::result>(x);
  done.private_bytes = private_bytes(x.memory, current->private_offset);
  const auto before = std::exchange(last_private_bytes, done.private_bytes);
  steps.add(done.private_bytes - std::min(before, done.private_bytes), jobs.size());
  current->activity->end_job();
  job_done report;
  report.worker = current->worker;
  report.slot = settings.slot;
  report.memory = {.said = x.memory,
                   .delta_live = x.delta_live,
                   .private_bytes = done.private_bytes,
                   .step_bytes = steps.largest(),
                   .moment = current->activity->moment(),
                   .jobs = {}};
  for (size_t i = 0; i < jobs.size(); ++i) {
    const auto& its = x.answers[i];
    report.memory.jobs.push_back({.encoded_bytes = jobs[i]->image->size(),
                                  .decoded_bytes = uint64_t{its.width} * its.height * 3,
                                  .ok = its.error_code.empty()});
  }
  const auto near_budget = supervision::healing_policy::may_reach_budget(
    done.private_bytes, report.memory.step_bytes, current->budget_bytes);
  held = std::exchange(hold_once, false) || near_budget;
  report.held = held;
  self->send(settings.supervisor, report);
  finish(std::move(done));
}

void inference_state::on_closed(const channel_closed& x) {
  if (next && x.worker == next->worker)
    next.reset(); // died before it took over; the supervisor knows and links another one
  if (!current || x.worker != current->worker)
    return;
  auto lost = outcome();
  lost.private_bytes = killed_at_bytes;
  auto why = kill_reason ? *kill_reason
             : x.reason  ? *x.reason
                         : error{errc::worker_died, "the worker process ended during the job"};
  lost.failure = error{why.code, why.message + " (slot " + std::to_string(settings.slot)
                                   + ", generation " + std::to_string(current->generation)
                                   + ", pid " + std::to_string(current->pid) + ")"};
  current.reset();
  held = hold_once = false;
  kill_reason.reset();
  killed_at_bytes = 0;
  if (promise.pending())
    finish(std::move(lost));
  else if (next)
    switch_over();
}

void inference_state::on_go_ahead(const go_ahead& x) {
  if (!current || x.worker != current->worker || !std::exchange(held, false))
    return;
  self->send(settings.dispatcher, atom::slot_up{}, settings.slot, inference_actor{self},
             most_jobs());
}

void inference_state::start_timer(std::chrono::steady_clock::duration left) {
  timer_runs = true;
  self->delayed_send(self, left, atom::deadline{}, attempt_id);
}

void inference_state::on_deadline(uint64_t id) {
  timer_runs = false;
  if (!promise.pending())
    return;
  if (id != attempt_id) {
    start_timer(std::max(due - self->clock().now(), std::chrono::steady_clock::duration{}));
    return;
  }
  kill_reason = error{errc::deadline_exceeded,
                      "no answer within " + std::to_string(timeout.count()) + " ms"};
  // The supervisor kills it. Then its channel closes, which answers the
  // attempt.
  std::string ids;
  for (const auto& job : jobs)
    ids += (ids.empty() ? "" : ", ") + job->id;
  self->send(settings.supervisor, worker_hung{current->worker, std::move(ids)});
}

void inference_state::on_link(const worker_link& x) {
  next = x;
  if (!promise.pending())
    switch_over();
}

void inference_state::switch_over() {
  const auto previous = current ? current->worker : 0;
  current = std::move(next);
  next.reset();
  held = hold_once = false;
  last_private_bytes = current->private_bytes;
  steps = {};
  kill_reason.reset();
  killed_at_bytes = 0;
  caf::anon_send(current->channel, atom::own{}, caf::actor_cast<caf::actor>(self));
  caf::anon_send(current->channel,
                 to_outgoing(wire::assign{settings.slot, current->generation, current->fault}));
  self->send(settings.supervisor, slot_switched{settings.slot, current->worker, previous});
  self->send(settings.dispatcher, atom::slot_up{}, settings.slot, inference_actor{self},
             most_jobs());
}

inference_actor::behavior_type inference(inference_actor::stateful_pointer<inference_state> self,
                                         inference_settings settings) {
  auto& st = self->state;
  st.self = self;
  st.settings = std::move(settings);
  return {
    [self](const attempt_request& x) { return self->state.on_request(x); },
    [self](const worker_link& x) { self->state.on_link(x); },
    [self](const kill_notice& x) {
      auto& state = self->state;
      if (state.current && state.current->worker == x.worker) {
        state.kill_reason = x.reason;
        state.killed_at_bytes = x.private_bytes;
      }
    },
    [self](const private_reading& x) {
      auto& state = self->state;
      if (!state.current || state.current->worker != x.worker)
        return;
      state.current->private_offset = x.private_offset;
      // An idle worker can be read without a hold.
      state.hold_once = state.hold_once || (x.hold_once && state.promise.pending());
    },
    [self](const go_ahead& x) { self->state.on_go_ahead(x); },
    [self](const lone_jobs_wish& x) {
      if (auto& now = self->state.current; now && now->worker == x.worker)
        now->lone_jobs = x.lone_jobs;
    },
    [self](const channel_frame& x) { self->state.on_frame(x); },
    [self](const channel_closed& x) { self->state.on_closed(x); },
    [self](atom::deadline, uint64_t id) { self->state.on_deadline(id); },
  };
}

} // namespace ziyu::actors
