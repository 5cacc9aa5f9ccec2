#include "actors/dispatcher.hpp"

#include "base/log.hpp"

#include <algorithm>

namespace ziyu::actors {

using namespace std::chrono_literals;
using messaging::record_state;
using supervision::breaker_state;

namespace {

constexpr auto tick_interval = 250ms;

/// On top of a job's own deadline, which the inference actor keeps: only a broken
/// inference actor lets this pass.
constexpr auto answer_margin = 5s;

double to_ms(uint64_t us) { return static_cast<double>(us) / 1000.; }

/// Whether an attempt failed in a way that may befall the next job as well: its worker's
/// fault, or the model's. Bad input says nothing about the service.
bool is_systemic(const attempt_outcome& x) {
  return x.failure || (x.answer && x.answer->error_code == to_string(errc::inference_failed));
}

/// What of a job's headers goes on with its result: all but those that describe
/// the job's own payload.
messaging::header_list carried_headers(const messaging::header_list& from) {
  messaging::header_list result;
  for (const auto& x : from)
    if (x.first != "content-type" && x.first != "ce_datacontenttype" && x.first != "ce_dataref")
      result.push_back(x);
  result.emplace_back("content-type", "application/json");
  return result;
}

} // namespace

// -- intake ---------------------------------------------------------------------------

void dispatcher_state::on_fetched(const fetched_job& x) {
  auto item = std::make_shared<entry>();
  item->job = x;
  settings.report->stats().fetched.Increment();
  if (draining || !ledger.fetched(x.source->id, x.source->epoch)) {
    settings.credit->give(x.cost); // not ours any more, or fetched a second time
    return;
  }
  if (!x.job) {
    dead_letter(item, x.reason);
    return;
  }
  item->duplicate_id = seen.seen_elsewhere(x.job->id, x.source->id);
  if (item->duplicate_id) {
    settings.report->stats().duplicate_ids.Increment();
    spdlog::debug("job id seen before: job={} source={}", x.job->id,
                  messaging::to_string(x.source->id));
  }
  queue.push_back(std::move(item));
  dispatch();
}

void dispatcher_state::on_assigned(const messaging::partitions_assigned& x) {
  for (const auto& where : x.partitions) {
    ledger.assign(where, x.epoch);
    partitions.insert(where);
  }
  assigned = true;
  set_reachable();
  settings.report->emit(spdlog::level::info, "partitions_assigned",
                        {{"partitions", x.partitions.size()}, {"epoch", x.epoch}});
}

void dispatcher_state::on_revoked(const messaging::partitions_revoked& x) {
  uint64_t handed_back = 0;
  for (const auto& where : x.partitions) {
    handed_back += ledger.revoke(where).size();
    partitions.erase(where);
  }
  // Queued work on them would be inferred for nothing. What runs, runs on; its
  // outcome will be stale.
  std::erase_if(queue, [this](const entry_ptr& item) {
    const auto& id = item->job.source->id;
    if (ledger.owns(id.where(), item->job.source->epoch))
      return false;
    release(item);
    return true;
  });
  settings.report->emit(
    x.lost ? spdlog::level::warn : spdlog::level::info, "partitions_revoked",
    {{"partitions", x.partitions.size()}, {"lost", x.lost}, {"handed_back", handed_back}});
}

void dispatcher_state::on_consumer_failed(const error& reason) {
  if (trouble.empty())
    settings.report->emit(spdlog::level::warn, "broker_unavailable", {{"reason", reason.message}});
  trouble = reason.message;
  if (reason.code == errc::kafka_fatal) {
    // A fresh consumer joins the group anew; what this one had is gone.
    assigned = false;
    messaging::partitions_revoked gone;
    gone.partitions.assign(partitions.begin(), partitions.end());
    gone.lost = true;
    on_revoked(gone);
  }
}

void dispatcher_state::set_reachable() {
  if (trouble.empty())
    return;
  trouble.clear();
  settings.report->emit(spdlog::level::info, "broker_available", nlohmann::json::object());
}

// -- running jobs -----------------------------------------------------------------------

void dispatcher_state::on_slot_up(uint32_t index, inference_actor actor) {
  auto& x = slots.at(index);
  x.actor = std::move(actor);
  x.up = true;
  dispatch();
}

void dispatcher_state::dispatch() {
  if (draining)
    return;
  for (uint32_t i = 0; i < slots.size() && !queue.empty() && breaker->admits() > 0; ++i) {
    if (!slots[i].up || slots[i].running)
      continue;
    auto item = std::move(queue.front());
    queue.pop_front();
    start(i, std::move(item));
  }
}

void dispatcher_state::start(uint32_t index, entry_ptr item) {
  auto& where = slots[index];
  where.running = item;
  ++item->attempts;
  item->started_us = settings.report->env().monotonic_us();
  item->ticket = breaker->started();
  ledger.advance(item->job.source->id, item->job.source->epoch, record_state::running);
  self
    ->request(where.actor, settings.job_timeout + answer_margin,
              attempt_request{item->job.job, item->attempts})
    .then([this, index, item](const attempt_outcome& outcome) { on_outcome(index, item, outcome); },
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
  if (outcome.failure && outcome.failure->code == errc::unavailable)
    breaker->not_begun(item->ticket);
  else
    on_breaker(breaker->finished(item->ticket, !is_systemic(outcome), now));
  const auto& id = item->job.source->id;
  const auto epoch = item->job.source->epoch;
  if (!ledger.owns(id.where(), epoch)) {
    settings.report->stats().stale.Increment();
    release(item);
  } else if (!outcome.failure) {
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
    try_again(item);
  } else {
    settings.report->stats()
      .failed_attempts.Add({{"code", std::string{to_string(outcome.failure->code)}}})
      .Increment();
    spdlog::warn("attempt failed: job={} source={} slot={} generation={} attempt={} reason={}",
                 item->job.job->id, messaging::to_string(id), outcome.slot, outcome.generation,
                 item->attempts, outcome.failure->describe());
    item->last_failure = *outcome.failure;
    if (item->attempts >= settings.max_attempts) {
      dead_letter(item, error{errc::max_attempts, std::to_string(item->attempts)
                                                    + " attempts failed, the last with "
                                                    + outcome.failure->describe()});
    } else {
      try_again(item);
    }
  }
  dispatch();
  finish_drain_if_idle(false);
}

void dispatcher_state::try_again(const entry_ptr& item) {
  ledger.advance(item->job.source->id, item->job.source->epoch, record_state::queued);
  if (draining)
    release(item); // the end of the drain hands it back
  else
    queue.push_front(item);
}

// -- publishing ----------------------------------------------------------------------------

void dispatcher_state::publish_result(const entry_ptr& item, const attempt_outcome& outcome) {
  auto& env = settings.report->env();
  auto& stats = settings.report->stats();
  const auto& answer = *outcome.answer;
  messaging::result x;
  x.job_id = item->job.job->id;
  for (const auto& score : answer.top_k)
    x.top_k.push_back({score.label, score.probability, score.index});
  x.model = settings.model();
  x.slot = outcome.slot;
  x.generation = outcome.generation;
  x.pid = outcome.pid;
  const auto queued_us = item->started_us - item->job.fetched_us;
  const auto total_us = env.monotonic_us() - item->job.fetched_us;
  x.queued_ms = to_ms(static_cast<uint64_t>(std::max<int64_t>(queued_us, 0)));
  x.decode_ms = to_ms(answer.decode_us);
  x.preprocess_ms = to_ms(answer.preprocess_us);
  x.inference_ms = to_ms(answer.inference_us);
  x.total_ms = to_ms(static_cast<uint64_t>(std::max<int64_t>(total_us, 0)));
  x.width = answer.width;
  x.height = answer.height;
  x.delta_bytes = answer.delta_live;
  x.live_bytes = answer.memory.live;
  x.private_bytes = outcome.private_bytes;
  x.source = item->job.source->id;
  x.attempt = item->attempts;
  x.duplicate_id = item->duplicate_id;
  x.finished_ms = env.wall_ms();
  stats.queued_seconds.Observe(x.queued_ms / 1000);
  stats.decode_seconds.Observe(x.decode_ms / 1000);
  stats.inference_seconds.Observe(x.inference_ms / 1000);
  stats.total_seconds.Observe(x.total_ms / 1000);
  messaging::outgoing content;
  content.topic = settings.results_topic;
  content.key = x.job_id;
  content.value = messaging::to_json_value(x).dump(-1, ' ', false,
                                                   nlohmann::json::error_handler_t::replace);
  content.headers = carried_headers(item->job.source->headers);
  publish(publication_kind::result, item, std::move(content));
}

void dispatcher_state::dead_letter(const entry_ptr& item, const error& reason) {
  auto& env = settings.report->env();
  const auto& source = *item->job.source;
  const auto job_id = messaging::job_id_of(source);
  settings.report->emit(spdlog::level::warn, "dead_lettered",
                        {{"job_id", job_id},
                         {"source", messaging::to_string(source.id)},
                         {"code", to_string(reason.code)},
                         {"message", reason.message},
                         {"attempts", item->attempts}});
  messaging::outgoing content;
  content.topic = settings.dead_letters_topic;
  content.key = source.key;
  if (source.value)
    content.value = *source.value;
  // A job that was replayed brings the reason of its last time along: not twice.
  content.headers = messaging::without_reason(source.headers);
  for (auto& x : messaging::dead_letter_headers(source, reason, item->attempts, env.wall_ms(),
                                                settings.dead_letter_style))
    content.headers.push_back(std::move(x));
  content.headers.emplace_back("ziyu-job-id", item->job.job ? item->job.job->id : job_id);
  item->last_failure = reason;
  publish(publication_kind::dead_letter, item, std::move(content));
}

void dispatcher_state::publish(publication_kind kind, const entry_ptr& item,
                               messaging::outgoing content) {
  const auto& id = item->job.source->id;
  ledger.advance(id, item->job.source->epoch, record_state::publishing);
  publishing[{id, item->job.source->epoch}] = item;
  publication msg;
  msg.kind = kind;
  msg.content = std::make_shared<const messaging::outgoing>(std::move(content));
  msg.source = id;
  msg.epoch = item->job.source->epoch;
  self->send(publisher, std::move(msg));
}

void dispatcher_state::on_published(const published& x) {
  auto i = publishing.find({x.source, x.epoch});
  if (i == publishing.end())
    return;
  auto item = std::move(i->second);
  publishing.erase(i);
  auto& stats = settings.report->stats();
  if (x.kind == publication_kind::result) {
    ++results;
    stats.results.Add({{"status", "ok"}}).Increment();
  } else {
    ++dead_letters;
    stats.dead_letters.Add({{"code", std::string{to_string(item->last_failure.code)}}}).Increment();
  }
  const auto to = x.kind == publication_kind::result ? record_state::done
                                                     : record_state::dead_lettered;
  if (!ledger.advance(x.source, x.epoch, to)) {
    stats.stale.Increment();
  } else if (auto next = ledger.take_committable(x.source.where())) {
    if (auto ok = settings.store(x.source.where(), *next); !ok)
      spdlog::warn("offset {} of {}-{} not stored: {}", *next, x.source.topic, x.source.partition,
                   ok.error().describe());
  }
  release(item);
  set_reachable();
  finish_drain_if_idle(false);
}

void dispatcher_state::release(const entry_ptr& item) { settings.credit->give(item->job.cost); }

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
  // Less is taken in first; only then nothing.
  if (const auto x = pressure->read(share)) {
    settings.credit->shrink_to(pressure->credit_share());
    const auto granted = settings.credit->granted();
    settings.report->emit(x->to > x->from ? spdlog::level::warn : spdlog::level::info,
                          "memory_pressure",
                          {{"from", to_string(x->from)},
                           {"to", to_string(x->to)},
                           {"reason", x->reason},
                           {"memory_percent", share * 100},
                           {"credit_share", pressure->credit_share()},
                           {"credit_jobs", granted.jobs},
                           {"credit_bytes", granted.bytes}});
    settings.report->stats().memory_pressure.Set(static_cast<double>(x->to));
  }
  on_breaker(breaker->memory(share, self->clock().now()));
}

void dispatcher_state::hold_credit() { settings.credit->hold(draining || breaker->holds()); }

void dispatcher_state::on_breaker(
  const std::optional<supervision::circuit_breaker::transition>& x) {
  if (!x)
    return;
  const auto type = [&] {
    switch (x->to) {
    case breaker_state::open: return "breaker_opened";
    case breaker_state::half_open: return "breaker_half_open";
    case breaker_state::forced_open: return "breaker_forced_open";
    case breaker_state::disabled: return "breaker_disabled";
    case breaker_state::closed: break;
    }
    return "breaker_closed";
  }();
  nlohmann::json detail{{"from", to_string(x->from)},
                        {"to", to_string(x->to)},
                        {"cause", x->cause},
                        {"reason", x->reason}};
  for (const auto& [key, value] : x->values)
    detail[key] = value;
  settings.report->emit(x->to == breaker_state::open ? spdlog::level::err
                        : x->to == breaker_state::closed || x->to == breaker_state::half_open
                          ? spdlog::level::info
                          : spdlog::level::warn,
                        type, std::move(detail));
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
  // What waits here was not begun: whoever gets the partitions next does it.
  for (const auto& item : queue)
    release(item);
  queue.clear();
  drain_until = self->clock().now() + std::chrono::milliseconds{limit_ms};
  self->delayed_send(self, std::chrono::milliseconds{limit_ms}, atom::deadline{});
}

void dispatcher_state::finish_drain_if_idle(bool timed_out) {
  if (!draining || !drained.pending())
    return;
  const auto idle = publishing.empty()
                    && std::none_of(slots.begin(), slots.end(),
                                    [](const slot& x) { return x.running != nullptr; });
  if (!idle && !timed_out)
    return;
  // Whatever is still open is handed back: its offsets are not committed.
  for (const auto& where : partitions)
    ledger.revoke(where);
  partitions.clear();
  drained.deliver(idle);
}

void dispatcher_state::resume() {
  if (!draining || drained.pending())
    return;
  draining = false;
  assigned = false; // until the group is joined again
  hold_credit();
  dispatch();
}

// -- status -----------------------------------------------------------------------------------

void dispatcher_state::update_gauges() {
  auto& stats = settings.report->stats();
  stats.in_flight_jobs.Set(static_cast<double>(settings.credit->jobs()));
  stats.in_flight_bytes.Set(static_cast<double>(settings.credit->bytes()));
  const auto granted = settings.credit->granted();
  stats.credit_jobs.Set(static_cast<double>(granted.jobs));
  stats.credit_bytes.Set(static_cast<double>(granted.bytes));
  stats.slots_up.Set(static_cast<double>(
    std::count_if(slots.begin(), slots.end(), [](const slot& x) { return x.up; })));
}

dispatcher_status dispatcher_state::status() const {
  dispatcher_status x;
  x.ledger = ledger.to_json().dump();
  x.consuming = assigned && trouble.empty();
  x.draining = draining;
  x.trouble = !trouble.empty() ? trouble : assigned ? "" : "not yet a member of the consumer group";
  x.maintenance = draining && !drained.pending();
  x.pressure = pressure->current();
  x.credit_jobs = settings.credit->granted().jobs;
  x.credit_bytes = settings.credit->granted().bytes;
  x.breaker = breaker->state();
  x.breaker_mode = breaker->mode();
  x.breaker_reason = breaker->reason();
  x.queued = queue.size();
  for (const auto& s : slots) {
    x.running += s.running != nullptr;
    x.slots_up += s.up;
  }
  x.results = results;
  x.dead_letters = dead_letters;
  return x;
}

// -- the actor ----------------------------------------------------------------------------------

dispatcher_actor::behavior_type dispatcher(
  dispatcher_actor::stateful_pointer<dispatcher_state> self, dispatcher_settings settings) {
  auto& st = self->state;
  st.self = self;
  st.slots.resize(settings.slots);
  st.breaker.emplace(settings.breaker);
  st.pressure.emplace(settings.pressure);
  st.settings = std::move(settings);
  st.settings.report->stats().breaker_state.Set(static_cast<double>(st.breaker->state()));
  st.hold_credit();
  self->delayed_send(self, tick_interval, atom::tick{});
  return {
    [self](const publisher_actor& x) { self->state.publisher = x; },
    [self](const fetched_job& x) { self->state.on_fetched(x); },
    [self](const messaging::partitions_assigned& x) { self->state.on_assigned(x); },
    [self](const revocation& x) {
      self->state.on_revoked(x.what);
      x.handled->set_value();
    },
    [self](const messaging::consumer_failed& x) { self->state.on_consumer_failed(x.reason); },
    [self](atom::slot_up, uint32_t slot, const inference_actor& actor) {
      self->state.on_slot_up(slot, actor);
    },
    [self](const published& x) { self->state.on_published(x); },
    [self](const breaker_input& x) { self->state.on_breaker_input(x); },
    [self](atom::reachable) { self->state.set_reachable(); },
    [self](atom::status) { return self->state.status(); },
    [self](const breaker_command& x) {
      self->state.on_breaker_command(x);
      return self->state.status();
    },
    [self](atom::drain, uint64_t limit_ms) -> caf::result<bool> {
      auto& state = self->state;
      if (state.draining) // drained for maintenance, or still at it
        return !state.drained.pending();
      state.drained = self->make_response_promise<bool>();
      auto promise = state.drained;
      state.begin_drain(limit_ms);
      state.finish_drain_if_idle(false);
      return promise;
    },
    [self](atom::resume) { self->state.resume(); },
    [self](atom::tick) {
      auto& state = self->state;
      state.on_breaker(state.breaker->tick(self->clock().now()));
      state.update_gauges();
      state.dispatch();
      self->delayed_send(self, tick_interval, atom::tick{});
    },
    [self](atom::deadline) {
      // Not that of an earlier drain, which was over before its time.
      if (self->clock().now() >= self->state.drain_until)
        self->state.finish_drain_if_idle(true);
    },
  };
}

} // namespace ziyu::actors
