#include "actors/supervisor.hpp"

#include "actors/log_line.hpp"
#include "base/bytes.hpp"
#include "base/log.hpp"

#include <algorithm>
#include <csignal>

namespace ziyu::actors {

using namespace std::chrono_literals;
using phase = worker_entry::phase;
using trigger_kind = supervision::circuit_breaker::trigger;

namespace {

constexpr auto tick_interval = 50ms;

/// How many ticks the fork server has to report how a worker ended; after them the reason stays
/// unknown.
constexpr uint32_t patience_ticks = 10;

/// The cause of a death, in events and metrics.
constexpr std::string_view oom_killed = "oom_killed", crash = "crash";
constexpr std::string_view ended_by_itself = "the worker process ended by itself";

/// Time from SIGKILL until a worker's socket must be closed. A worker that hangs in the kernel (on
/// a disk or device that does not answer) ends only when the device answers.
constexpr auto kill_patience = 1s;

/// Bound for helpers that explain leaks: each takes a core for a tenth of a second to a second.
constexpr size_t max_helpers = 20;
constexpr auto helper_period = 60s;

std::string describe(const std::optional<wire::exited>& how) {
  if (!how)
    return "unknown";
  return supervision::exit_status{how->exit_code, how->signal}.describe();
}

} // namespace

std::string_view to_string(phase x) noexcept {
  switch (x) {
  case phase::spawning: return "spawning";
  case phase::warming: return "warming";
  case phase::standby: return "standby";
  case phase::linked: return "linked";
  case phase::serving: return "serving";
  case phase::ending: return "ending";
  }
  return "unknown";
}

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
  if (draining || given_up || !server_ready || self->clock().now() < spawn_after)
    return;
  const auto empty = static_cast<uint32_t>(std::count_if(
    slots.begin(), slots.end(), [](const slot& x) { return x.worker == 0 && x.linked == 0; }));
  auto coming = static_cast<uint32_t>(
    std::count_if(workers.begin(), workers.end(),
                  [](const auto& x) { return x.second.state <= phase::standby; }));
  for (; coming < empty + settings.standbys; ++coming) {
    const auto id = next_worker++;
    auto channel = settings.host->spawn(id, caf::actor_cast<caf::actor>(self));
    if (!channel) {
      spdlog::error("cannot spawn a worker: {}", channel.error().describe());
      const auto now = self->clock().now();
      spawn_after = now + worker_backoff->next(settings.report->env().random(), now);
      return;
    }
    auto& entry = workers[id];
    entry.id = id;
    entry.channel = std::move(*channel);
    entry.model = model;
    entry.judge.emplace(settings.judge);
    entry.server = server;
    // Until it is read while its fork server lives: all memory of the server is shared.
    entry.private_offset = -static_cast<int64_t>(server_anonymous);
    entry.chance = static_cast<double>(settings.report->env().random() >> 11) * 0x1p-53;
    self->delayed_send(self, settings.start_timeout, atom::deadline{}, id);
  }
}

void supervisor_state::on_ready(worker_entry& x, const wire::ready& news) {
  if (x.state > phase::warming)
    return;
  if (x.pid == 0) { // it came before the fork server's `spawned`
    x.pid = news.pid;
    settings.host->adopt(x.id, news.pid);
  }
  x.state = phase::standby;
  x.live_bytes = x.live_baseline = news.memory.live;
  x.gpu_baseline = x.gpu_reserved = news.memory.gpu_reserved;
  read_private(x);
  x.baseline_bytes = x.private_bytes;
  log_line(spdlog::level::info, "worker ready", {},
           {{"worker", x.id},
            {"pid", x.pid},
            {"warmup_ms", news.warmup_us / 1000},
            {"private_bytes", x.private_bytes}});
  if (auto ok = policy->check_baseline(x.baseline_bytes); !ok) {
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
      if (x.state == phase::standby && is_fit(x))
        return &x;
    return nullptr;
  };
  auto link = [this](uint32_t index, worker_entry& x) {
    auto& where = slots[index];
    where.linked = x.id;
    x.state = phase::linked;
    x.slot = index;
    x.generation = ++where.generation;
    x.judge->expect_cache(where.history.cache_bytes());
    worker_link msg;
    msg.worker = x.id;
    msg.pid = x.pid;
    msg.generation = x.generation;
    msg.channel = x.channel;
    msg.private_bytes = x.private_bytes;
    msg.private_offset = x.private_offset;
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
      waiting.emplace_back(x->held ? 0 : 1 + x->judge->last().jobs_left_earliest.value_or(0), i);
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
  entry->state = phase::serving;
  entry->serving_since_us = settings.report->env().monotonic_us();
  // By the supervisor's own books: the slot may have switched to a worker that died at once, and
  // have forgotten this one.
  const auto previous = std::exchange(where.worker, x.worker);
  where.linked = 0;
  settings.report->stats()
    .worker_generation.Add({{"slot", std::to_string(x.slot)}})
    .Set(static_cast<double>(entry->generation));
  settings.report->stats().set_jobs_left(x.slot, {}); // of another worker
  settings.report->emit(spdlog::level::info, "worker_started",
                        {{"slot", x.slot},
                         {"generation", entry->generation},
                         {"pid", entry->pid},
                         {"private_bytes", entry->private_bytes}});
  auto done = std::exchange(where.wanted, std::nullopt);
  if (auto old = find(previous)) {
    old->held = false;
    read_private(*old);
    if (done && done->old_worker == old->id)
      done->old_private = old->private_bytes;
    // It is idle now, so that its dump delays no job.
    if (done && wants_dump(*old)) {
      old->end_after_dump = true;
      ask_for_dump(*old);
    } else {
      end(*old);
    }
  }
  if (!done)
    return;
  done->switched_us = entry->serving_since_us;
  done->new_generation = entry->generation;
  done->new_pid = entry->pid;
  done->new_private = entry->baseline_bytes;
  if (find(done->old_worker))
    relieved.push_back(std::move(*done));
  else
    finish_replacement(std::move(*done));
}

void supervisor_state::end(worker_entry& x) {
  if (x.state == phase::ending)
    return;
  x.state = phase::ending;
  x.expected_end = !x.killed; // each kill is followed by a death
  tell_worker(x, wire::stop{});
  self->delayed_send(self, settings.grace, atom::deadline{}, x.id);
}

void supervisor_state::kill(worker_entry& x, error why) {
  if (x.killed)
    return;
  settings.report->emit(spdlog::level::err, "worker_killed",
                        {{"slot", x.slot},
                         {"generation", x.generation},
                         {"pid", x.pid},
                         {"code", to_string(why.code)},
                         {"reason", why.message},
                         {"private_bytes", std::max(x.present_bytes, x.private_bytes)}});
  if (x.state == phase::serving)
    self->send(slots[x.slot].actor, kill_notice{x.id, why, x.private_bytes});
  x.killed = std::move(why);
  x.expected_end = false;
  settings.host->signal(x.id, SIGKILL);
  self->delayed_send(self, kill_patience, atom::deadline{}, x.id);
}

void supervisor_state::abandon(worker_entry& x) {
  spdlog::error("worker {} (pid {}) hangs in the kernel, even SIGKILL does not end it: its slot "
                "gets another worker",
                x.id, x.pid);
  on_channel_closed(channel_closed{x.id, {}});
}

bool supervisor_state::is_fit(worker_entry& x) {
  if (x.killed)
    return false;
  if (!settings.host->stopped(x.id))
    return true;
  kill(x, error{errc::timeout, "the standby is stopped: it could not answer"});
  return false;
}

void supervisor_state::ask_the_kernel(worker_entry& x) {
  const auto now = self->clock().now();
  if (const auto kills = settings.host->oom_kills())
    ooms.observe(*kills, now);
  if (x.killed || x.expected_end || !ooms.claim(now))
    return;
  const auto amount = [](uint64_t bytes) { return format_bytes(static_cast<int64_t>(bytes)); };
  x.oom_killed = true;
  x.killed = error{errc::worker_died,
                   "oom_killed: killed by the kernel for lack of memory: the container used "
                     + amount(container.used) + " of " + amount(container.limit) + " ("
                     + container.source + ") at the latest reading, the " + "worker had "
                     + amount(x.private_bytes) + " of private memory"};
}

void supervisor_state::on_deadline(uint64_t id) {
  auto x = find(id);
  if (!x)
    return;
  if (x->killed && x->pid != 0 && !x->closed) {
    abandon(*x);
  } else if (x->state == phase::ending) {
    if (std::exchange(x->grace_over, true))
      return finish_relieved(id); // even SIGKILL did not end it: its replacement goes on
    spdlog::warn("worker {} (pid {}) did not stop within the grace period; SIGKILL", id, x->pid);
    settings.host->signal(id, SIGKILL);
    self->delayed_send(self, kill_patience, atom::deadline{}, id);
  } else if (x->state <= phase::warming) {
    spdlog::error("worker {} was not ready within {} ms", id, settings.start_timeout.count());
    if (x->pid != 0)
      kill(*x, error{errc::timeout, "not ready in time"});
    else if (server_up) // it hangs; another one will be forked
      settings.host->stop_server(true);
  }
}

void supervisor_state::on_channel_closed(const channel_closed& x) {
  auto entry = find(x.worker);
  if (!entry || entry->closed)
    return;
  entry->closed = true;
  // It is useless: it broke the protocol, or closed its socket and lives on.
  if (x.reason && entry->pid != 0)
    kill(*entry, *x.reason);
  else
    settings.host->signal(entry->id, SIGKILL);
  const auto was = entry->state;
  entry->state = phase::ending;
  if (x.reason && !entry->killed)
    entry->killed = *x.reason;
  if (entry->pid == 0) {
    // Not forked, or dead before the fork server's `spawned` came: that frame decides. No new
    // worker is asked for before; otherwise a worker that always dies would be forked in a tight
    // loop.
    if (entry->expected_end || !server_up)
      workers.erase(entry->id);
    return;
  }
  ask_the_kernel(*entry);
  // The supervisor tells its slot, with the reason.
  if (entry->generation > 0) {
    if (entry->oom_killed)
      self->send(slots[entry->slot].actor,
                 kill_notice{entry->id, *entry->killed, entry->private_bytes});
    self->send(slots[entry->slot].actor, x);
  }
  if (was == phase::linked) {
    auto& where = slots[entry->slot];
    if (where.linked == entry->id)
      where.linked = 0;
  }
  // Not a worker that was relieved and still had to be dumped.
  if (was == phase::serving && slots[entry->slot].worker == entry->id) {
    auto& where = slots[entry->slot];
    where.worker = 0;
    if (!where.wanted) {
      replacement next;
      next.slot = entry->slot;
      next.old_worker = entry->id;
      next.decided_us = settings.report->env().monotonic_us();
      next.old_private = std::max(entry->present_bytes, entry->private_bytes);
      next.cause = entry->oom_killed ? std::string{oom_killed}
                   : !entry->killed  ? std::string{crash}
                   : entry->killed->code == errc::deadline_exceeded
                     ? "hang"
                     : std::string{to_string(entry->killed->code)};
      if (entry->killed && entry->killed->code == errc::hard_limit)
        if (const auto cause = supervision::name_cause(counters_of(*entry));
            cause != supervision::leak_cause::budget) // that one was never in question
          next.cause = to_string(cause);
      next.reason = entry->killed ? entry->killed->message : std::string{ended_by_itself};
      next.evidence = evidence_of(*entry);
      where.wanted = std::move(next);
    }
  }
  if (!entry->expected_end)
    note_death(was == phase::serving ? entry : nullptr);
  supply();
}

void supervisor_state::note_death(const worker_entry* x) {
  if (draining)
    return;
  const auto now = self->clock().now();
  const auto pause = worker_backoff->next(settings.report->env().random(), now);
  std::optional<supervision::restart_intensity::child> who;
  if (x != nullptr)
    who.emplace(x->slot, x->generation);
  if (intensity->admit(now, who))
    return;
  spawn_after = now + pause;
  escalate_deaths();
}

void supervisor_state::on_death_verdict(const death_verdict& x) {
  const auto now = self->clock().now();
  if (x.of_job)
    intensity->excuse({x.slot, x.generation}, now);
  else if (!intensity->accuse({x.slot, x.generation}, now))
    escalate_deaths();
}

void supervisor_state::escalate_deaths() {
  const auto now = self->clock().now();
  if (std::exchange(intensity_exceeded, true))
    return;
  auto reason = std::to_string(intensity->recent(now)) + " workers died within "
                + std::to_string(settings.restart_period.count()) + " ms, restart.intensity is "
                + std::to_string(settings.restart_intensity);
  settings.report->emit(spdlog::level::critical, "restart_intensity_exceeded",
                        {{"of", "workers"},
                         {"reason", reason},
                         {"deaths", intensity->recent(now)},
                         {"period_ms", settings.restart_period.count()}});
  trigger(trigger_kind::restart_intensity, true, reason,
          {{"deaths", static_cast<double>(intensity->recent(now))},
           {"period_ms", static_cast<double>(settings.restart_period.count())}});
}

void supervisor_state::reap(uint64_t id, const std::optional<wire::exited>& how) {
  auto entry = find(id);
  if (!entry)
    return;
  if (!entry->closed)
    on_channel_closed(channel_closed{id, {}});
  entry = find(id);
  if (!entry)
    return;
  if (entry->oom_killed && how && how->signal != SIGKILL) {
    ooms.give_back(self->clock().now()); // it ended by itself: the kernel killed another process
    entry->killed.reset();
    entry->oom_killed = false;
    const auto correct = [id](replacement& x) {
      if (x.old_worker != id)
        return;
      x.cause = crash;
      x.reason = ended_by_itself;
    };
    for (auto& where : slots)
      if (where.wanted)
        correct(*where.wanted);
    std::for_each(relieved.begin(), relieved.end(), correct);
  }
  if (!entry->expected_end) {
    const auto what = entry->oom_killed ? std::string{oom_killed}
                      : entry->killed   ? std::string{to_string(entry->killed->code)}
                                        : describe(how);
    settings.report->stats().deaths.Add({{"how", what}}).Increment();
    nlohmann::json detail{{"slot", entry->slot}, {"generation", entry->generation},
                          {"pid", entry->pid},   {"how", describe(how)},
                          {"jobs", entry->jobs}, {"private_bytes", entry->private_bytes}};
    if (entry->killed) {
      detail["code"] = entry->oom_killed ? oom_killed : to_string(entry->killed->code);
      detail["reason"] = entry->killed->message;
    }
    if (entry->oom_killed) {
      detail["container_used_bytes"] = container.used;
      detail["container_limit_bytes"] = container.limit;
      detail["container_source"] = container.source;
    }
    settings.report->emit(spdlog::level::err, "worker_died", std::move(detail));
  }
  settings.host->forget(id);
  caf::anon_send_exit(entry->channel, caf::exit_reason::user_shutdown);
  workers.erase(id);
  finish_relieved(id);
  finish_drain_if_gone();
}

void supervisor_state::finish_relieved(uint64_t id) {
  if (auto i = std::find_if(relieved.begin(), relieved.end(),
                            [id](const replacement& x) { return x.old_worker == id; });
      i != relieved.end()) {
    auto done = std::move(*i);
    relieved.erase(i);
    finish_replacement(std::move(done));
  }
}

// -- the rest ----------------------------------------------------------------------------------

void supervisor_state::on_tick() {
  const auto now = self->clock().now();
  std::vector<uint64_t> ended;
  for (auto& [id, x] : workers)
    if (x.pid != 0 && settings.host->gone(id) && (!server_up || ++x.gone_ticks > patience_ticks))
      ended.push_back(id);
  for (auto id : ended)
    reap(id, std::nullopt);
  for (auto& [id, x] : workers)
    if (x.end_after_dump && x.state != phase::ending && now >= x.dump_by)
      end(x);
  follow_explanations();
  start_replacements();
  settings.report->stats().slots_held.Set(static_cast<double>(slots_held()));
  if (server_up && !server_ready && now - server_started > settings.start_timeout) {
    trouble = "the fork server was not ready within "
              + std::to_string(settings.start_timeout.count()) + " ms";
    settings.host->stop_server(true);
  }
  trust_server();
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
      if (x.state == phase::standby)
        is_fit(x);
    probe();
  }
  if (draining && now >= kill_at) {
    while (!explanations.empty()) {
      if (auto number = explanations.front().number)
        settings.host->stop_explaining(*number);
      finish_explanation(fail(errc::stopping, "the service stops"));
    }
    for (auto& [id, x] : workers)
      settings.host->signal(id, SIGKILL);
    settings.host->stop_server(true);
  }
  supply();
  finish_drain_if_gone();
}

void supervisor_state::finish_drain_if_gone() {
  if (!draining || !drained.pending() || !workers.empty() || !explanations.empty())
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
    return x.second.state == phase::serving && x.second.held;
  }));
}

supervisor_status supervisor_state::status() const {
  supervisor_status x;
  x.model_ready = ever_ready;
  x.trouble = intensity_exceeded          ? "too many workers died recently"
              : server_intensity_exceeded ? "too many fork servers died recently"
                                          : trouble;
  x.slots = slots.size();
  x.slots_held = slots_held();
  x.replacements = replacements;
  x.container_used = container.used;
  x.container_limit = container.limit;
  x.container_source = container.source;
  auto list = nlohmann::json::array();
  for (const auto& [id, w] : workers) {
    x.standbys += w.state == phase::standby;
    x.slots_up += w.state == phase::serving;
    auto item = evidence_of(w);
    item["state"] = to_string(w.state);
    item["worker"] = id;
    item["held"] = w.held;
    item["pid"] = w.pid;
    if (w.state < phase::linked) {
      item.erase("slot");
      item.erase("generation");
    }
    list.push_back(std::move(item));
  }
  auto processes = nlohmann::json::array();
  for (const auto* own : {&control, &fork_server})
    if (own->pid != 0)
      processes.push_back({{"name", own->name},
                           {"pid", own->pid},
                           {"private_bytes", own->private_bytes},
                           {"verdict", to_string(own->told)}});
  x.workers =
    nlohmann::json{
      {"workers", list},
      {"replacements", replacements},
      {"processes", std::move(processes)},
      {"fork_server",
       {{"pid", server_pid}, {"up", server_up}, {"ready", server_ready}, {"number", server}}}}
      .dump();
  return x;
}

supervisor_actor::behavior_type supervisor(
  supervisor_actor::stateful_pointer<supervisor_state> self, supervisor_settings settings,
  std::function<inference_actor(uint32_t slot, supervisor_actor)> make_inference) {
  auto& st = self->state;
  st.self = self;
  st.policy.emplace(settings.healing);
  st.intensity.emplace(settings.restart_intensity, settings.restart_period);
  st.helpers.emplace(max_helpers, helper_period);
  st.server_intensity.emplace(settings.restart_intensity, settings.restart_period);
  st.server_backoff.emplace(settings.backoff_initial, settings.backoff_max);
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
                   error{errc::deadline_exceeded, "no answer to job " + x.job_id + " in time"});
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
    [self](atom::restart) {
      self->state.restart_pending = false;
      self->state.start_server();
    },
    [self](atom::deadline, uint64_t id) { self->state.on_deadline(id); },
  };
}

} // namespace ziyu::actors
