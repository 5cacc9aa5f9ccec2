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

void supervisor_state::on_tick() {
  const auto now = self->clock().now();
  std::vector<uint64_t> ended;
  for (auto& [id, x] : workers)
    if (x.pid() != 0 && settings.host->gone(id)
        && (!is_server_up(x) || x.look_at_remains() > patience_ticks))
      ended.push_back(id);
  for (auto id : ended)
    reap(id, std::nullopt);
  for (auto& [id, x] : workers)
    if (x.ends_after_dump() && !x.life().is_ending() && x.allocations().is_late(now))
      end(x);
  follow_explanations();
  follow_rollout();
  start_replacements();
  settings.report->stats().slots_held.Set(static_cast<double>(slots_held()));
  for (auto& [number, x] : versions)
    if (!x.is_retiring())
      obey(x, x.keeper().tick(now));
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
    stop_servers(true);
  }
  supply();
  finish_drain_if_gone();
}

void supervisor_state::finish_drain_if_gone() {
  if (!draining || !drained.pending() || !workers.empty() || !desk->idle())
    return;
  const auto runs = [this](const auto& x) {
    return settings.host->server_running(x.second.keeper().number());
  };
  if (std::none_of(versions.begin(), versions.end(), runs))
    drained.deliver(true);
  else if (self->clock().now() < kill_at)
    stop_servers(false);
}

void supervisor_state::stop_servers(bool kill) {
  for (const auto& [number, x] : versions)
    settings.host->stop_server(x.keeper().number(), kill);
}

uint32_t supervisor_state::replacing() const {
  return static_cast<uint32_t>(std::count_if(slots.begin(), slots.end(),
                                             [](const slot& x) { return x.wanted().has_value(); }));
}

uint64_t supervisor_state::slots_held() const {
  return static_cast<uint64_t>(std::count_if(workers.begin(), workers.end(), [](const auto& x) {
    return x.second.life().is_serving() && x.second.is_held();
  }));
}

supervisor_status supervisor_state::status() const {
  supervisor_status x;
  const auto& keeper = wanted_version().keeper();
  x.model_ready = keeper.was_ever_ready();
  x.trouble = intensity_exceeded         ? "too many workers died recently"
              : keeper.keeps_dying()     ? "too many fork servers died recently"
              : keeper.trouble().empty() ? trouble
                                         : keeper.trouble();
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
  const auto add = [&x](const own_process& own) {
    if (own.pid != 0)
      x.processes.push_back({own.name, own.pid, own.private_bytes, own.told});
  };
  add(control);
  for (const auto& [number, of] : versions) {
    add(of.fork_server);
    auto& each = x.versions.emplace_back();
    each.folder = of.folder();
    each.phase = of.now();
    if (of.model())
      each.model = *of.model();
    each.fork_server = {of.keeper().pid(), of.keeper().is_running(), of.keeper().is_ready(),
                        of.keeper().number()};
  }
  x.latest_rollout = under_way ? under_way->told : latest_rollout;
  x.fork_server = {keeper.pid(), keeper.is_running(), keeper.is_ready(), keeper.number()};
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
  // Deaths that are rarer than the intensity counts do not lengthen the pause.
  st.worker_backoff.emplace(settings.backoff_initial, settings.backoff_max,
                            settings.restart_period);
  st.settings = std::move(settings);
  st.wanted = st.add_version(st.settings.model, false);
  for (uint32_t i = 0; i < st.settings.slots; ++i) {
    st.slots.emplace_back(i, st.wanted);
    st.inferences.push_back(make_inference(i, supervisor_actor{self}));
    self->link_to(st.inferences.back());
  }
  st.start_server(st.wanted);
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
    [self](atom::refill) { self->state.fill(); },
    [self](atom::restart, uint64_t version) { self->state.start_server(version); },
    [self](const rollout_request& x) { return self->state.begin_rollout(x); },
    [self](atom::deadline, uint64_t id) { self->state.on_deadline(id); },
  };
}

} // namespace ziyu::actors
