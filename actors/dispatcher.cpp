#include "actors/dispatcher.hpp"

#include <algorithm>
#include <utility>

namespace ziyu::actors {

using namespace std::chrono_literals;
using supervision::breaker_state;

namespace {

constexpr auto tick_interval = 250ms;

/// After so many ticks it is seen how much credit was needed.
constexpr uint32_t credit_period = 40;

} // namespace

// -- breaker --------------------------------------------------------------------------------

void dispatcher_state::on_breaker_input(const breaker_input& x) {
  const auto now = self->clock().now();
  if (x.memory_share)
    on_memory(*x.memory_share);
  else if (x.raised)
    on_breaker(breaker->raise(x.which, x.reason, now, x.values));
  else
    on_breaker(breaker->lower(x.which, now));
}

void dispatcher_state::on_breaker_command(const breaker_command& x) {
  on_breaker(breaker->set_mode(x.mode, x.why, self->clock().now()));
}

void dispatcher_state::on_memory(double share) {
  // Reduces the credit first; intake stops only after that.
  if (const auto x = pressure->read(share)) {
    settings.credit->shrink_to(pressure->credit_share());
    const auto granted = settings.credit->granted();
    settings.report->emit(events::memory_pressure{.rises = x->to > x->from,
                                                  .from = std::string{to_string(x->from)},
                                                  .to = std::string{to_string(x->to)},
                                                  .reason = x->reason,
                                                  .memory_percent = share * 100,
                                                  .credit_share = pressure->credit_share(),
                                                  .credit_jobs = granted.jobs,
                                                  .credit_bytes = granted.bytes});
    settings.report->stats().memory_pressure.Set(static_cast<double>(x->to));
  }
  on_breaker(breaker->memory(share, self->clock().now()));
  hold_credit();
}

void dispatcher_state::hold_credit() {
  const auto holds = breaker->holds();
  settings.credit->hold(draining || holds);
  // Closing the gate is free; dropped prefetched records must be fetched again.
  settings.credit->give_up_prefetched(
    holds && breaker->is_raised(supervision::circuit_breaker::trigger::memory));
}

namespace {

events::body event_of(const supervision::circuit_breaker::transition& x) {
  events::breaker_change change{std::string{to_string(x.from)}, std::string{to_string(x.to)},
                                x.cause, x.reason, x.values};
  switch (x.to) {
  case breaker_state::open: return events::breaker_opened{std::move(change)};
  case breaker_state::half_open: return events::breaker_half_open{std::move(change)};
  case breaker_state::forced_open: return events::breaker_forced_open{std::move(change)};
  case breaker_state::disabled: return events::breaker_disabled{std::move(change)};
  case breaker_state::closed: break;
  }
  return events::breaker_closed{std::move(change)};
}

} // namespace

void dispatcher_state::on_breaker(
  const std::optional<supervision::circuit_breaker::transition>& x) {
  if (!x)
    return;
  settings.report->emit(event_of(*x));
  auto& stats = settings.report->stats();
  stats.breaker_state.Set(static_cast<double>(x->to));
  stats.breaker_transitions.Add({{"to", std::string{to_string(x->to)}}}).Increment();
  if (x->to == breaker_state::open)
    stats.breaker_openings.Add({{"cause", x->cause}}).Increment();
  hold_credit();
  dispatch();
}

// -- stop -------------------------------------------------------------------------------------

void dispatcher_state::begin_drain(uint64_t limit_ms) {
  draining = true;
  settings.credit->hold(true);
  // Waiting jobs were not begun: the next owner of their partitions does them.
  for (const auto& item : queue.remove_if([](const job_entry&) { return true; }))
    release(item);
  send_outbox();
  drain_until = self->clock().now() + std::chrono::milliseconds{limit_ms};
  self->delayed_send(self, std::chrono::milliseconds{limit_ms}, atom::deadline{});
}

void dispatcher_state::finish_drain_if_idle(bool timed_out) {
  if (!draining || !drained.pending() || ending_drain)
    return;
  const auto idle = all_published() && is_idle();
  if (!idle && !timed_out)
    return;
  // Open records are handed back: their offsets are not committed.
  ending_drain = true;
  depart({partitions.begin(), partitions.end()}, delivery->farewell_limit(),
         [this, idle](uint64_t) {
           ending_drain = false;
           drained.deliver(idle);
         });
}

bool dispatcher_state::is_idle() const {
  return std::all_of(slots.begin(), slots.end(),
                     [](const auto& x) { return x.second.running.empty(); });
}

void dispatcher_state::finish_resume_if_idle() {
  if (!resumed.pending() || !is_idle())
    return;
  draining = false;
  assigned = false; // until the group is joined again
  hold_credit();
  resumed.deliver(true);
  dispatch();
}

// -- status -----------------------------------------------------------------------------------

std::map<messaging::topic_partition, std::optional<uint64_t>> dispatcher_state::lag() const {
  std::map<messaging::topic_partition, std::optional<uint64_t>> result;
  const auto logs = settings.credit->logs();
  for (const auto& where : partitions) {
    auto& lag = result[where];
    const auto ours = ledger.progress_of(where);
    const auto log = logs.find(where);
    if (!ours || log == logs.end() || log->second.end < 0)
      continue;
    // The source's position also passes offsets without a record, e.g., a transaction's marker; the
    // dispatcher's is newer.
    const auto place = std::max(ours->fetch_next, log->second.position);
    if (place < 0 && log->second.end > 0)
      continue;
    lag = ours->in_flight
          + static_cast<uint64_t>(
            std::max<int64_t>(log->second.end - std::max<int64_t>(place, 0), 0));
  }
  return result;
}

int64_t dispatcher_state::oldest_unfinished_us() const {
  return unfinished.empty()
           ? 0
           : std::max<int64_t>(settings.report->env().monotonic_us() - *unfinished.begin(), 0);
}

void dispatcher_state::update_gauges() {
  auto& stats = settings.report->stats();
  stats.in_flight_jobs.Set(static_cast<double>(settings.credit->jobs()));
  stats.in_flight_bytes.Set(static_cast<double>(settings.credit->bytes()));
  const auto granted = settings.credit->granted();
  stats.credit_jobs.Set(static_cast<double>(granted.jobs));
  stats.credit_bytes.Set(static_cast<double>(granted.bytes));
  stats.ledger_balanced.Set(balanced ? 1 : 0);
  stats.held_partitions.Set(static_cast<double>(held.size()));
  uint64_t waiting = 0;
  for (const auto& [where, records] : aside)
    waiting += records;
  stats.set_aside_records.Set(static_cast<double>(waiting));
  const auto line = queue.blocked();
  stats.head_of_line_jobs.Set(static_cast<double>(line.blocked));
  const auto waited_us = settings.report->env().monotonic_us() - line.oldest_us;
  stats.head_of_line_seconds.Set(line.blocked == 0 ? 0 : static_cast<double>(waited_us) / 1e6);
  stats.oldest_unfinished.Set(static_cast<double>(oldest_unfinished_us()) / 1e6);
  std::map<messaging::topic_partition, uint64_t> known;
  for (const auto& [where, records] : lag())
    if (records)
      known[where] = *records;
  stats.set_lag(known);
  stats.slots_up.Set(static_cast<double>(
    std::count_if(slots.begin(), slots.end(), [](const auto& x) { return x.second.up; })));
}

dispatcher_status dispatcher_state::status() const {
  dispatcher_status x;
  x.ledger = ledger.report();
  x.consuming = assigned && trouble.empty();
  x.draining = draining;
  x.maintenance = draining && !drained.pending();
  x.pressure = pressure->current();
  x.credit_jobs = settings.credit->granted().jobs;
  x.credit_bytes = settings.credit->granted().bytes;
  x.joining = trouble.empty() && !assigned;
  x.trouble = !trouble.empty() ? trouble : assigned ? "" : "not yet a member of the consumer group";
  x.breaker = breaker->state();
  x.breaker_mode = breaker->mode();
  x.breaker_reason = breaker->reason();
  x.breaker_trouble = breaker->trouble();
  x.intake_given_up = settings.credit->prefetched_given_up();
  uint64_t behind = 0;
  auto all_known = true;
  for (const auto& [where, records] : lag()) {
    behind += records.value_or(0);
    all_known = all_known && records.has_value();
  }
  if (all_known && x.consuming)
    x.lag_records = behind;
  x.oldest_unfinished_us = oldest_unfinished_us();
  x.queued = queue.size();
  for (const auto& [index, s] : slots) {
    x.running += s.running.size();
    x.slots_up += s.up;
  }
  x.results = results;
  x.dead_letters = dead_letters;
  return x;
}

// -- the actor ----------------------------------------------------------------------------------

dispatcher::dispatcher(caf::actor_config& config, dispatcher_settings settings)
  : dispatcher_actor::stateful_base<dispatcher_state>(config) {
  state.self = this;
  state.neighbours = std::exchange(settings.make_neighbours, nullptr)(dispatcher_actor{this});
  state.settings = std::move(settings);
}

void dispatcher_state::make_parts() {
  breaker.emplace(settings.breaker);
  pressure.emplace(settings.pressure);
  former.emplace(supervision::batch_former::settings{.max_jobs = settings.max_batch,
                                                     .max_bytes = settings.max_batch_bytes,
                                                     .timeout = settings.job_timeout});
  queue = job_queue{settings.order};
  delivery = messaging::make_strategy(settings.guarantee, ledger);
}

void dispatcher_state::on_tick() {
  on_breaker(breaker->tick(self->clock().now()));
  look_after_commits();
  look_after_departures();
  if (++ticks % credit_period == 0)
    settings.credit->end_period();
  update_gauges();
  dispatch();
}

dispatcher_actor::behavior_type dispatcher::make_behavior() {
  auto& st = state;
  const auto self = this;
  st.make_parts();
  st.settings.report->stats().breaker_state.Set(static_cast<double>(st.breaker->state()));
  st.hold_credit();
  self->delayed_send(self, tick_interval, atom::tick{});
  return {
    [self](fetched_jobs& x) { self->state.on_fetched(x); },
    [self](const messaging::partitions_assigned& x) { self->state.on_assigned(x); },
    [self](const revocation& x) {
      self->state.on_revoked(x.what, [handled = x.handled] { handled->set_value(); });
    },
    [self](const messaging::offsets_committed& x) { self->state.on_committed(x); },
    [self](const messaging::consumer_failed& x) { self->state.on_consumer_failed(x.reason); },
    [self](atom::slot_up, uint32_t slot, const inference_actor& actor, uint32_t most_jobs) {
      self->state.on_slot_up(slot, actor, most_jobs);
    },
    [self](const published_records& x) { self->state.on_published(x); },
    [self](const plan_request& x) { return self->state.plan(x); },
    [self](const breaker_input& x) { self->state.on_breaker_input(x); },
    [self](const breaker_command& x) {
      self->state.on_breaker_command(x);
      return self->state.status();
    },
    [self](atom::reachable) { self->state.set_reachable(); },
    [self](atom::status) { return self->state.status(); },
    [self](atom::drain, uint64_t limit_ms) -> caf::result<bool> {
      auto& me = self->state;
      if (me.draining) { // drained for maintenance, or draining
        if (me.resumed.pending())
          me.resumed.deliver(false);
        return !me.drained.pending();
      }
      me.drained = self->make_response_promise<bool>();
      auto promise = me.drained;
      me.begin_drain(limit_ms);
      me.finish_drain_if_idle(false);
      return promise;
    },
    [self](atom::resume) -> caf::result<bool> {
      auto& me = self->state;
      if (!me.draining || me.drained.pending() || me.resumed.pending())
        return !me.draining;
      me.resumed = self->make_response_promise<bool>();
      auto promise = me.resumed;
      me.finish_resume_if_idle();
      return promise;
    },
    [self](atom::tick) {
      self->state.on_tick();
      self->delayed_send(self, tick_interval, atom::tick{});
    },
    [self](atom::retry) {
      self->state.fills_up = false;
      self->state.dispatch();
    },
    [self](atom::deadline) {
      // Not the deadline of an earlier drain that ended early.
      if (self->clock().now() >= self->state.drain_until)
        self->state.finish_drain_if_idle(true);
    },
  };
}

} // namespace ziyu::actors
