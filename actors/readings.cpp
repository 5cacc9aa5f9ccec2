// The supervisor's own readings: of the workers, whose reports are checked, of the container, and
// of Ziyu's own processes.

#include "actors/supervisor.hpp"

#include "base/bytes.hpp"
#include "base/log.hpp"

#include <algorithm>

#include <unistd.h>

namespace ziyu::actors {

using supervision::growth;

namespace {

/// Readings of a young process of our own in which its queues and caches fill.
constexpr uint32_t young_readings = 32;

std::string amount(uint64_t bytes) { return format_bytes(static_cast<int64_t>(bytes)); }

} // namespace

bool supervisor_state::read_private(worker_entry& x) {
  const auto before = x.activity->moment();
  auto pages = settings.host->read_memory(x.pid());
  if (!pages)
    return false; // it is ending now; the channel will report that
  const auto moment = x.activity->moment();
  // Checked after the reading: if the fork server lives now, it had its pages then.
  const auto server_lives = settings.host->server_has_memory(x.server());
  x.memory().read({.pages = std::move(*pages),
                   .idle = moment == before && worker_activity::idle_at(before),
                   .moment = moment,
                   .server_lives = server_lives});
  if (x.life().is_serving())
    self->send(inferences.at(x.slot()),
               private_reading{x.id(), x.memory().private_offset(), false});
  return true;
}

void supervisor_state::distrust(worker_entry& x) {
  if (const auto found = x.memory().compare())
    kill(x, error{errc::misreported, "the worker reports " + amount(found->said)
                                       + " of anonymous memory, but has " + amount(found->seen)});
}

void supervisor_state::look_closer(worker_entry& x) {
  if (x.memory().wants_idle_reading(x.is_doomed()))
    self->send(inferences.at(x.slot()), private_reading{x.id(), x.memory().private_offset(), true});
}

void supervisor_state::probe() {
  uint32_t ready = 0;
  for (auto& [id, x] : workers) {
    ready += x.life().is_standby();
    if (!x.life().is_serving() && !x.life().is_standby())
      continue;
    if (!read_private(x) || !x.life().is_serving())
      continue;
    look_closer(x);
    distrust(x);
    if (!x.killed())
      heal(x);
  }
  auto& stats = settings.report->stats();
  stats.standbys.Set(ready);
  if (auto memory = settings.host->read_container()) {
    container = *memory;
    stats.container_used_bytes.Set(static_cast<double>(container.used));
    stats.container_limit_bytes.Set(static_cast<double>(container.limit));
    breaker_input msg;
    msg.which = supervision::circuit_breaker::trigger::memory;
    msg.memory_share = container.share();
    self->send(settings.dispatcher, std::move(msg));
  } else {
    spdlog::warn("cannot read the container's memory: {}", memory.error().describe());
  }
  watch_ourselves();
}

// -- our own processes ------------------------------------------------------------------------

void supervisor_state::watch_ourselves() {
  watch_own(control, ::getpid());
  settings.report->stats().control_private_bytes.Set(static_cast<double>(control.private_bytes));
  uint64_t fork_servers = 0;
  for (auto& [number, of] : versions) {
    if (of.keeper().is_ready() && watch_own(of.fork_server, of.keeper().pid()) && policy->enabled())
      // Workers live on without their fork server, and a fresh fork server is as small as this one
      // was.
      settings.host->stop_server(of.keeper().number(), true);
    if (of.keeper().is_running())
      fork_servers += of.fork_server.private_bytes;
  }
  settings.report->stats().fork_server_private_bytes.Set(static_cast<double>(fork_servers));
}

bool supervisor_state::watch_own(own_process& x, int32_t pid) {
  if (x.pid != pid || !x.judge) { // a new process: nothing is known of it
    auto how = settings.judge;
    how.budget_bytes = 0;
    how.workers = 1;
    how.warmup_jobs = std::max(how.warmup_jobs, young_readings);
    x.pid = pid;
    x.judge.emplace(how);
    x.told = growth::warming_up;
    x.jobs = jobs_done;
  }
  auto memory = settings.host->read_memory(pid);
  if (!memory)
    return false;
  x.private_bytes = memory->private_bytes;
  // Ageing follows work, not time: readings without jobs between them do not count.
  if (jobs_done == x.jobs)
    return false;
  x.jobs = jobs_done;
  // Its live bytes are not flat per job (queues grow and shrink), so only the lows decide. They are
  // the lows of anonymous memory: pages that are shared with workers become private and shared
  // again as workers end and begin.
  supervision::job_memory reading;
  reading.private_bytes = memory->anonymous;
  const auto verdict = x.judge->observe(reading);
  if (verdict.kind == x.told)
    return false;
  x.told = verdict.kind;
  if (!supervision::is_confirmed(verdict.kind))
    return false;
  settings.report->emit(events::self_growth{.process = x.name,
                                            .pid = pid,
                                            .private_bytes = memory->private_bytes,
                                            .reason = supervision::explain(verdict)});
  return true;
}

} // namespace ziyu::actors
