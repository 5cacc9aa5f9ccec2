#include "actors/supervisor.hpp"

#include "actors/log_line.hpp"
#include "base/log.hpp"

#include <algorithm>
#include <csignal>

namespace ziyu::actors {

using namespace std::chrono_literals;
using trigger_kind = supervision::circuit_breaker::trigger;

namespace {

constexpr auto tick_interval = 50ms;

/// How many ticks the fork server has to report how a worker ended; after them the reason stays
/// unknown.
constexpr uint32_t patience_ticks = 10;

/// Time from SIGKILL until a worker's socket must be closed. A worker that hangs in the kernel (on
/// a disk or device that does not answer) ends only when the device answers.
constexpr auto kill_patience = 1s;

} // namespace

worker_entry* supervisor_state::find(uint64_t id) {
  auto i = workers.find(id);
  return i == workers.end() ? nullptr : &i->second;
}

void supervisor_state::trigger(trigger_kind which, bool raised, std::string reason,
                               supervision::circuit_breaker::numbers values) {
  self->send(settings.dispatcher,
             breaker_input{which, raised, std::move(reason), {}, std::move(values)});
}

void supervisor_state::give_up(error why) {
  if (!std::exchange(given_up, true))
    settings.on_fatal(std::move(why));
}

// -- workers' lives --------------------------------------------------------------------------

void supervisor_state::fill() {
  if (draining || given_up || !keeper->is_ready() || self->clock().now() < spawn_after)
    return;
  const auto empty = static_cast<uint32_t>(std::count_if(
    slots.begin(), slots.end(), [](const slot& x) { return x.worker == 0 && x.linked == 0; }));
  auto coming = static_cast<uint32_t>(std::count_if(
    workers.begin(), workers.end(), [](const auto& x) { return x.second.life().is_coming(); }));
  for (; coming < empty + settings.standbys; ++coming) {
    const auto id = next_worker++;
    auto channel = settings.host->spawn(id, caf::actor_cast<caf::actor>(self));
    if (!channel) {
      spdlog::error("cannot spawn a worker: {}", channel.error().describe());
      const auto now = self->clock().now();
      spawn_after = now + worker_backoff->next(settings.report->env().random(), now);
      return;
    }
    const supervision::worker::birth birth{
      .id = id,
      .server = keeper->number(),
      .server_anonymous = keeper->model()->memory.rss_anon,
      .chance = static_cast<double>(settings.report->env().random() >> 11) * 0x1p-53};
    auto& entry = workers.try_emplace(id, birth, settings.judge).first->second;
    entry.channel = std::move(*channel);
    entry.model = model;
    self->delayed_send(self, settings.start_timeout, atom::deadline{}, id);
  }
}

void supervisor_state::on_ready(worker_entry& x, const wire::ready& news) {
  if (!x.life().is_starting())
    return;
  if (x.pid() == 0) { // it came before the fork server's `spawned`
    if (news.pid <= 0)
      return; // its deadline ends it
    x.forked(news.pid);
    settings.host->adopt(x.id(), news.pid);
  }
  x.ready(news.memory);
  read_private(x);
  x.memory().note_baseline();
  log_line(spdlog::level::info, "worker ready", {},
           {{"worker", x.id()},
            {"pid", x.pid()},
            {"warmup_ms", news.warmup_us / 1000},
            {"private_bytes", x.memory().private_bytes()}});
  if (auto ok = policy->check_baseline(x.memory().baseline_bytes()); !ok) {
    trouble = ok.error().message;
    give_up(ok.error());
    return;
  }
  supply();
}

void supervisor_state::supply() {
  if (draining || given_up)
    return;
  auto next_standby = [this]() -> worker_entry* {
    for (auto& [id, x] : workers)
      if (x.life().is_standby() && is_fit(x))
        return &x;
    return nullptr;
  };
  auto link = [this](uint32_t index, worker_entry& x) {
    auto& where = slots[index];
    where.linked = x.id();
    x.link(index, ++where.generation, where.history);
    worker_link msg;
    msg.worker = x.id();
    msg.pid = x.pid();
    msg.generation = x.generation();
    msg.channel = x.channel;
    msg.private_bytes = x.memory().private_bytes();
    msg.private_offset = x.memory().private_offset();
    msg.budget_bytes = policy->budget_bytes();
    msg.model = x.model;
    msg.activity = x.activity;
    if (auto i = settings.slot_faults.find(index); i != settings.slot_faults.end())
      msg.fault = i->second;
    self->send(where.actor, std::move(msg));
  };
  // First slots that cannot take a job, then those whose workers are nearest to their budgets.
  std::vector<std::pair<uint64_t, uint32_t>> waiting; // jobs left, slot
  for (uint32_t i = 0; i < slots.size(); ++i) {
    const auto& where = slots[i];
    if (where.linked != 0)
      continue;
    if (auto x = find(where.worker); x == nullptr)
      waiting.emplace_back(0, i);
    else if (where.wanted)
      waiting.emplace_back(x->is_held() ? 0 : 1 + x->verdict().jobs_left_earliest.value_or(0), i);
  }
  std::sort(waiting.begin(), waiting.end());
  for (const auto& [jobs_left, index] : waiting) {
    auto x = next_standby();
    if (!x)
      break;
    link(index, *x);
  }
  fill();
}

void supervisor_state::on_switched(const slot_switched& x) {
  auto& where = slots.at(x.slot);
  auto entry = find(x.worker);
  if (!entry || where.linked != x.worker)
    return;
  entry->serve(settings.report->env().monotonic_us());
  // By the supervisor's own books: the slot may have switched to a worker that died at once, and
  // have forgotten this one.
  const auto previous = std::exchange(where.worker, x.worker);
  where.linked = 0;
  settings.report->stats()
    .worker_generation.Add({{"slot", std::to_string(x.slot)}})
    .Set(static_cast<double>(entry->generation()));
  settings.report->stats().set_jobs_left(x.slot, {}); // of another worker
  settings.report->emit(events::worker_started{.slot = x.slot,
                                               .generation = entry->generation(),
                                               .pid = entry->pid(),
                                               .private_bytes = entry->memory().private_bytes()});
  auto done = std::exchange(where.wanted, std::nullopt);
  if (auto old = find(previous)) {
    old->hold(false);
    read_private(*old);
    if (done && done->old_worker == old->id())
      done->old_private = old->memory().private_bytes();
    // It is idle now, so that its dump delays no job.
    if (done && wants_dump(*old)) {
      old->end_after_dump();
      tell_worker(*old, old->allocations().ask_for_dump(self->clock().now()));
    } else {
      end(*old);
    }
  }
  if (!done)
    return;
  done->switched_us = entry->serving_since_us();
  done->new_generation = entry->generation();
  done->new_pid = entry->pid();
  done->new_private = entry->memory().baseline_bytes();
  if (find(done->old_worker))
    relieved.push_back(std::move(*done));
  else
    finish_replacement(std::move(*done));
}

void supervisor_state::end(worker_entry& x) {
  if (!x.end())
    return;
  tell_worker(x, wire::stop{});
  self->delayed_send(self, settings.grace, atom::deadline{}, x.id());
}

void supervisor_state::kill(worker_entry& x, const error& why) {
  if (!x.kill(why))
    return;
  settings.report->emit(events::worker_killed{.slot = x.slot(),
                                              .generation = x.generation(),
                                              .pid = x.pid(),
                                              .code = std::string{to_string(why.code)},
                                              .reason = why.message,
                                              .private_bytes = x.memory().most_bytes()});
  if (x.life().is_serving())
    self->send(slots[x.slot()].actor, kill_notice{x.id(), why, x.memory().private_bytes()});
  settings.host->signal(x.id(), SIGKILL);
  self->delayed_send(self, kill_patience, atom::deadline{}, x.id());
}

void supervisor_state::abandon(worker_entry& x) {
  spdlog::error("worker {} (pid {}) hangs in the kernel, even SIGKILL does not end it: its slot "
                "gets another worker",
                x.id(), x.pid());
  on_channel_closed(channel_closed{x.id(), {}});
}

bool supervisor_state::is_fit(worker_entry& x) {
  if (x.killed())
    return false;
  if (!settings.host->stopped(x.id()))
    return true;
  kill(x, error{errc::timeout, "the standby is stopped: it could not answer"});
  return false;
}

void supervisor_state::on_deadline(uint64_t id) {
  auto x = find(id);
  if (!x)
    return;
  if (x->killed() && x->pid() != 0 && !x->is_closed()) {
    abandon(*x);
  } else if (x->life().is_ending()) {
    if (!x->end_grace())
      return finish_relieved(id); // even SIGKILL did not end it: its replacement goes on
    spdlog::warn("worker {} (pid {}) did not stop within the grace period; SIGKILL", id, x->pid());
    settings.host->signal(id, SIGKILL);
    self->delayed_send(self, kill_patience, atom::deadline{}, id);
  } else if (x->life().is_starting()) {
    spdlog::error("worker {} was not ready within {} ms", id, settings.start_timeout.count());
    if (x->pid() != 0)
      kill(*x, error{errc::timeout, "not ready in time"});
    else if (keeper->is_running()) // it hangs; another one will be forked
      settings.host->stop_server(true);
  }
}

// -- the rest ----------------------------------------------------------------------------------

void supervisor_state::on_tick() {
  const auto now = self->clock().now();
  std::vector<uint64_t> ended;
  for (auto& [id, x] : workers)
    if (x.pid() != 0 && settings.host->gone(id)
        && (!keeper->is_running() || x.look_at_remains() > patience_ticks))
      ended.push_back(id);
  for (auto id : ended)
    reap(id, std::nullopt);
  for (auto& [id, x] : workers)
    if (x.ends_after_dump() && !x.life().is_ending() && x.allocations().is_late(now))
      end(x);
  follow_explanations();
  start_replacements();
  settings.report->stats().slots_held.Set(static_cast<double>(slots_held()));
  obey(keeper->tick(now));
  if (intensity_exceeded && intensity->recent(now) <= settings.restart_intensity / 2) {
    intensity_exceeded = false;
    worker_backoff->reset();
    trigger(trigger_kind::restart_intensity, false);
  }
  if (now >= next_probe) {
    next_probe = now + settings.probe_interval;
    if (const auto kills = settings.host->oom_kills())
      ooms.observe(*kills, now);
    for (auto& [id, x] : workers)
      if (x.life().is_standby())
        is_fit(x);
    probe();
  }
  if (draining && now >= kill_at) {
    give_up_explanations();
    for (auto& [id, x] : workers)
      settings.host->signal(id, SIGKILL);
    settings.host->stop_server(true);
  }
  supply();
  finish_drain_if_gone();
}

void supervisor_state::finish_drain_if_gone() {
  if (!draining || !drained.pending() || !workers.empty() || !desk->idle())
    return;
  if (settings.host->server_running()) {
    if (self->clock().now() < kill_at)
      settings.host->stop_server(false);
    return;
  }
  drained.deliver(true);
}

uint32_t supervisor_state::replacing() const {
  return static_cast<uint32_t>(
    std::count_if(slots.begin(), slots.end(), [](const slot& x) { return x.wanted.has_value(); }));
}

uint64_t supervisor_state::slots_held() const {
  return static_cast<uint64_t>(std::count_if(workers.begin(), workers.end(), [](const auto& x) {
    return x.second.life().is_serving() && x.second.is_held();
  }));
}

supervisor_status supervisor_state::status() const {
  supervisor_status x;
  x.model_ready = keeper->was_ever_ready();
  x.trouble = intensity_exceeded          ? "too many workers died recently"
              : keeper->keeps_dying()     ? "too many fork servers died recently"
              : keeper->trouble().empty() ? trouble
                                          : keeper->trouble();
  x.slots = slots.size();
  x.slots_held = slots_held();
  x.replacements = replacements;
  x.container_used = container.used;
  x.container_limit = container.limit;
  x.container_source = container.source;
  for (const auto& [id, w] : workers) {
    x.standbys += w.life().is_standby();
    x.slots_up += w.life().is_serving();
    x.workers.push_back({id, w.life().now(), w.is_held(), evidence_of(w)});
  }
  for (const auto* own : {&control, &fork_server})
    if (own->pid != 0)
      x.processes.push_back({own->name, own->pid, own->private_bytes, own->told});
  x.fork_server = {keeper->pid(), keeper->is_running(), keeper->is_ready(), keeper->number()};
  return x;
}

supervisor_actor::behavior_type supervisor(
  supervisor_actor::stateful_pointer<supervisor_state> self, supervisor_settings settings,
  std::function<inference_actor(uint32_t slot, supervisor_actor)> make_inference) {
  auto& st = self->state;
  st.self = self;
  st.policy.emplace(settings.healing);
  st.intensity.emplace(settings.restart_intensity, settings.restart_period);
  st.desk.emplace(supervision::leak_desk::settings{settings.explain_interval});
  st.keeper.emplace(
    supervision::fork_server_keeper::settings{.restart_intensity = settings.restart_intensity,
                                              .restart_period = settings.restart_period,
                                              .backoff_initial = settings.backoff_initial,
                                              .backoff_max = settings.backoff_max,
                                              .start_timeout = settings.start_timeout});
  // Deaths that are rarer than the intensity counts do not lengthen the pause.
  st.worker_backoff.emplace(settings.backoff_initial, settings.backoff_max,
                            settings.restart_period);
  st.settings = std::move(settings);
  st.slots.resize(st.settings.slots);
  for (uint32_t i = 0; i < st.slots.size(); ++i) {
    st.slots[i].actor = make_inference(i, supervisor_actor{self});
    self->link_to(st.slots[i].actor);
  }
  self->send(st.settings.dispatcher, supervisor_actor{self});
  st.start_server();
  self->delayed_send(self, tick_interval, atom::tick{});
  return {
    [self](const server_frame& x) { self->state.on_server_frame(x); },
    [self](const server_closed& x) { self->state.on_server_closed(x); },
    [self](const channel_frame& x) {
      auto& state = self->state;
      auto entry = state.find(x.worker);
      if (!entry)
        return;
      if (auto ready = std::get_if<wire::ready>(x.content.get()))
        state.on_ready(*entry, *ready);
      else if (auto news = std::get_if<wire::trimmed>(x.content.get()))
        state.on_trimmed(*entry, *news);
      else if (auto heap = std::get_if<wire::profiled>(x.content.get()))
        state.on_profiled(*entry, *heap);
    },
    [self](const channel_closed& x) { self->state.on_channel_closed(x); },
    [self](const job_done& x) { self->state.on_job_done(x); },
    [self](const slot_switched& x) { self->state.on_switched(x); },
    [self](const death_verdict& x) { self->state.on_death_verdict(x); },
    [self](const worker_hung& x) {
      auto& state = self->state;
      if (auto entry = state.find(x.worker))
        state.kill(*entry,
                   error{errc::deadline_exceeded, "no answer to job " + x.job_ids + " in time"});
    },
    [self](atom::status) { return self->state.status(); },
    [self](atom::drain, uint64_t limit_ms) -> caf::result<bool> {
      auto& state = self->state;
      if (state.draining)
        return false;
      state.draining = true;
      state.kill_at = self->clock().now() + std::chrono::milliseconds{limit_ms};
      state.drained = self->make_response_promise<bool>();
      auto promise = state.drained;
      for (auto& [id, x] : state.workers)
        state.end(x);
      state.finish_drain_if_gone();
      return promise;
    },
    [self](atom::tick) {
      self->state.on_tick();
      self->delayed_send(self, tick_interval, atom::tick{});
    },
    [self](atom::restart) { self->state.start_server(); },
    [self](atom::deadline, uint64_t id) { self->state.on_deadline(id); },
  };
}

} // namespace ziyu::actors
