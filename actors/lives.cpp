// The supervisor's workers: how they are born, given to slots, told to end and killed.

#include "actors/supervisor.hpp"

#include "actors/log_line.hpp"
#include "base/log.hpp"

#include <algorithm>
#include <csignal>

namespace ziyu::actors {

using namespace std::chrono_literals;

namespace {

/// Time from SIGKILL until a worker's socket must be closed. A worker that hangs in the kernel (on
/// a disk or device that does not answer) ends only when the device answers.
constexpr auto kill_patience = 1s;

/// A standby that has been given to a slot runs a job at once, and the worker before it may be
/// torn down just now: a fork at the same time takes a processor from both. 10 ms are several
/// short jobs, and a part of the time in which the next standby could be needed.
constexpr auto refill_pause = 10ms;

} // namespace

std::vector<supervision::standby_supply::demand> supervisor_state::demands() {
  std::vector<supervision::standby_supply::demand> result;
  for (const auto& where : slots) {
    auto& x = result.emplace_back();
    x.slot = where.number();
    x.version = where.version();
    x.is_empty = where.is_empty();
    if (where.linked() != 0)
      continue;
    const auto own = find(where.worker());
    if (own == nullptr)
      x.jobs_left = 0;
    else if (where.wanted())
      x.jobs_left = own->is_held() ? 0 : 1 + own->jobs_before_replacement();
  }
  return result;
}

std::vector<supervision::standby_supply::candidate> supervisor_state::candidates() {
  std::vector<supervision::standby_supply::candidate> result;
  for (const auto& [id, x] : workers)
    if (x.life().is_coming())
      result.push_back({id, x.version(), x.life().is_standby() && !x.killed()});
  return result;
}

void supervisor_state::fill() {
  const auto now = self->clock().now();
  if (draining || given_up || now < spawn_after)
    return;
  const auto slots_now = demands();
  if (now < refill_after
      && std::none_of(slots_now.begin(), slots_now.end(), [](const auto& x) { return x.waits(); }))
    return;
  for (auto& [number, of] : versions) {
    if (!of.may_spawn())
      continue;
    const supervision::standby_supply supply{of.is_on_trial() ? 1 : settings.standbys};
    for (auto missing = supply.missing(number, demands(), candidates()); missing > 0; --missing)
      if (!spawn(of))
        return;
  }
}

bool supervisor_state::spawn(version_entry& of) {
  const auto id = next_worker++;
  auto channel = settings.host->spawn(of.keeper().number(), id, caf::actor_cast<caf::actor>(self));
  if (!channel) {
    spdlog::error("cannot spawn a worker: {}", channel.error().describe());
    const auto now = self->clock().now();
    spawn_after = now + worker_backoff->next(settings.report->env().random(), now);
    return false;
  }
  const supervision::worker::birth birth{
    .id = id,
    .version = of.number(),
    .model = of.model(),
    .server = of.keeper().number(),
    .server_anonymous = of.keeper().model()->memory.rss_anon,
    .chance = static_cast<double>(settings.report->env().random() >> 11) * 0x1p-53};
  auto& entry = workers.try_emplace(id, birth, settings.judge).first->second;
  entry.channel = std::move(*channel);
  self->delayed_send(self, settings.start_timeout, atom::deadline{}, id);
  return true;
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
  auto& of = version_of(x);
  if (auto ok = policy->check_baseline(x.memory().baseline_bytes()); !ok) {
    if (of.is_on_trial())
      return reject(of, ok.error().message);
    trouble = ok.error().message;
    give_up(ok.error());
    return;
  }
  if (of.is_on_trial())
    promote(of);
  supply();
}

void supervisor_state::supply() {
  if (draining || given_up)
    return;
  for (const auto& [number, worker] :
       supervision::standby_supply::assign(demands(), candidates())) {
    auto& x = *find(worker);
    if (!is_fit(x))
      return supply(); // without this one
    link(slots.at(number), x);
    if (x.generation() == 1)
      continue; // it takes over from nobody
    refill_after = self->clock().now() + refill_pause;
    self->delayed_send(self, refill_pause, atom::refill{});
  }
  fill();
}

void supervisor_state::link(slot& where, worker_entry& x) {
  x.link(where.number(), where.link(x.id()), where.history());
  worker_link msg;
  msg.worker = x.id();
  msg.pid = x.pid();
  msg.generation = x.generation();
  msg.channel = x.channel;
  msg.private_bytes = x.memory().private_bytes();
  msg.private_offset = x.memory().private_offset();
  msg.budget_bytes = policy->budget_bytes();
  msg.model = x.model();
  msg.activity = x.activity;
  msg.max_batch = version_of(x).keeper().model()->largest_batch();
  msg.lone_jobs = x.lone_jobs = x.wants_lone_jobs();
  if (auto i = settings.slot_faults.find(where.number()); i != settings.slot_faults.end())
    msg.fault = i->second;
  self->send(inferences.at(where.number()), std::move(msg));
}

void supervisor_state::on_switched(const slot_switched& x) {
  auto& where = slots.at(x.slot);
  auto entry = find(x.worker);
  if (!entry || where.linked() != x.worker)
    return;
  entry->serve(settings.report->env().monotonic_us());
  // By the supervisor's own books: the slot may have switched to a worker that died at once, and
  // have forgotten this one.
  auto [previous, done] = where.switch_over();
  settings.report->stats().set_generation(x.slot, entry->generation());
  settings.report->stats().set_jobs_left(x.slot, {}); // of another worker
  settings.report->emit(events::worker_started{.slot = x.slot,
                                               .generation = entry->generation(),
                                               .pid = entry->pid(),
                                               .private_bytes = entry->memory().private_bytes(),
                                               .model = *entry->model()});
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
    finish_replacement(*done);
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
                                              .model = *x.model(),
                                              .code = std::string{to_string(why.code)},
                                              .reason = why.message,
                                              .private_bytes = x.memory().most_bytes()});
  if (x.life().is_serving())
    self->send(inferences.at(x.slot()), kill_notice{x.id(), why, x.memory().private_bytes()});
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
    else if (is_server_up(*x)) // it hangs; another one will be forked
      settings.host->stop_server(x->server(), true);
  }
}

} // namespace ziyu::actors
