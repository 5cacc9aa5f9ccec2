// How the supervisor sees its workers die: whose death it is, what follows, and what is reported.

#include "actors/supervisor.hpp"

#include "base/bytes.hpp"
#include "base/log.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <csignal>

namespace ziyu::actors {

using phase = supervision::worker_life::phase;
using trigger_kind = supervision::circuit_breaker::trigger;

namespace {

/// The cause of a death, in events and metrics.
constexpr std::string_view oom_killed = "oom_killed", crash = "crash";
constexpr std::string_view ended_by_itself = "the worker process ended by itself";

std::string describe(const std::optional<wire::exited>& how) {
  if (!how)
    return "unknown";
  return supervision::exit_status{how->exit_code, how->signal}.describe();
}

} // namespace

void supervisor_state::ask_the_kernel(worker_entry& x) {
  const auto now = self->clock().now();
  if (const auto kills = settings.host->oom_kills())
    ooms.observe(*kills, now);
  if (x.killed() || x.is_end_expected() || !ooms.claim(now))
    return;
  const auto amount = [](uint64_t bytes) { return format_bytes(static_cast<int64_t>(bytes)); };
  x.blame_kernel(error{errc::worker_died,
                       "oom_killed: killed by the kernel for lack of memory: the container used "
                         + amount(container.used) + " of " + amount(container.limit) + " ("
                         + container.source + ") at the latest reading, the worker had "
                         + amount(x.memory().private_bytes()) + " of private memory"});
}

void supervisor_state::on_channel_closed(const channel_closed& x) {
  auto entry = find(x.worker);
  if (!entry || entry->is_closed())
    return;
  // It is useless: it broke the protocol, or closed its socket and lives on.
  if (x.reason && entry->pid() != 0)
    kill(*entry, *x.reason);
  else
    settings.host->signal(entry->id(), SIGKILL);
  const auto was = entry->close();
  if (x.reason)
    entry->blame(*x.reason);
  if (was == phase::linked)
    slots[entry->slot()].unlink(entry->id());
  if (entry->pid() == 0) {
    // Not forked, or dead before the fork server's `spawned` came: that frame decides. No new
    // worker is asked for before; otherwise a worker that always dies would be forked in a tight
    // loop.
    if (entry->is_end_expected() || !is_server_up(*entry))
      workers.erase(entry->id());
    return;
  }
  ask_the_kernel(*entry);
  // The supervisor tells its slot, with the reason.
  if (entry->generation() > 0) {
    if (entry->is_oom_killed())
      self->send(inferences.at(entry->slot()),
                 kill_notice{entry->id(), *entry->killed(), entry->memory().private_bytes()});
    self->send(inferences.at(entry->slot()), x);
  }
  // Not a worker that was relieved and still had to be dumped.
  if (auto& where = slots[entry->slot()]; was == phase::serving && where.worker() == entry->id()) {
    where.lose_worker();
    if (!where.wanted()) {
      replacement next;
      next.slot = entry->slot();
      next.old_worker = entry->id();
      next.decided_us = settings.report->env().monotonic_us();
      next.old_private = entry->memory().most_bytes();
      next.cause = entry->is_oom_killed() ? std::string{oom_killed}
                   : !entry->killed()     ? std::string{crash}
                   : entry->killed()->code == errc::deadline_exceeded
                     ? "hang"
                     : std::string{to_string(entry->killed()->code)};
      if (entry->killed() && entry->killed()->code == errc::hard_limit)
        if (const auto cause = supervision::name_cause(counters_of(*entry));
            cause != supervision::leak_cause::budget) // that one was never in question
          next.cause = to_string(cause);
      next.reason = entry->killed() ? entry->killed()->message : std::string{ended_by_itself};
      next.evidence = evidence_of(*entry);
      where.want(std::move(next));
    }
  }
  if (!entry->is_end_expected())
    note_death(*entry, was == phase::serving);
  supply();
}

void supervisor_state::note_death(const supervision::worker& x, bool served) {
  if (draining)
    return;
  if (auto& of = version_of(x); of.is_on_trial()) // what serves is not in danger
    return reject(of, x.killed() ? x.killed()->message : "its first worker died");
  const auto now = self->clock().now();
  const auto pause = worker_backoff->next(settings.report->env().random(), now);
  std::optional<supervision::restart_intensity::child> who;
  if (served)
    who.emplace(x.slot(), x.generation());
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
  settings.report->emit(
    events::restart_intensity_exceeded{.of = "workers",
                                       .reason = reason,
                                       .deaths = intensity->recent(now),
                                       .period_ms = settings.restart_period.count()});
  trigger(trigger_kind::restart_intensity, true, reason,
          {{"deaths", static_cast<double>(intensity->recent(now))},
           {"period_ms", static_cast<double>(settings.restart_period.count())}});
}

void supervisor_state::reap(uint64_t id, const std::optional<wire::exited>& how) {
  auto entry = find(id);
  if (!entry)
    return;
  if (!entry->is_closed())
    on_channel_closed(channel_closed{id, {}});
  entry = find(id);
  if (!entry)
    return;
  if (entry->is_oom_killed() && how && how->signal != SIGKILL) {
    ooms.give_back(self->clock().now()); // it ended by itself: the kernel killed another process
    entry->acquit_kernel();
    const std::string cause{crash}, reason{ended_by_itself};
    slots[entry->slot()].correct(id, cause, reason);
    for (auto& x : relieved)
      x.correct(id, cause, reason);
  }
  if (!entry->is_end_expected()) {
    const auto what = entry->is_oom_killed() ? std::string{oom_killed}
                      : entry->killed()      ? std::string{to_string(entry->killed()->code)}
                                             : describe(how);
    settings.report->stats().deaths.Add({{"how", what}}).Increment();
    events::worker_died died{.slot = entry->slot(),
                             .generation = entry->generation(),
                             .pid = entry->pid(),
                             .model = *entry->model(),
                             .how = describe(how),
                             .jobs = entry->memory().jobs(),
                             .private_bytes = entry->memory().private_bytes()};
    if (entry->killed()) {
      died.code = entry->is_oom_killed() ? oom_killed : to_string(entry->killed()->code);
      died.reason = entry->killed()->message;
    }
    if (entry->is_oom_killed()) {
      died.container_used_bytes = container.used;
      died.container_limit_bytes = container.limit;
      died.container_source = container.source;
    }
    settings.report->emit(std::move(died));
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
    finish_replacement(done);
  }
}

} // namespace ziyu::actors
