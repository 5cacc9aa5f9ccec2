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

/// Contradicting readings in a row after which a worker's reports count as false.
constexpr uint32_t max_lies = 3;

/// A difference that page granularity, a heap dump and the kernel's huge pages can explain.
constexpr uint64_t honest_difference = 64u << 20;

/// Probes in a row that fall into jobs; then the worker is held for a reading without one.
constexpr uint32_t max_probes_in_jobs = 3;

/// Readings of a young process of our own in which its queues and caches fill.
constexpr uint32_t young_readings = 32;

std::string amount(uint64_t bytes) { return format_bytes(static_cast<int64_t>(bytes)); }

} // namespace

bool supervisor_state::read_private(worker_entry& x) {
  const auto before = x.activity->moment();
  auto memory = settings.host->read_memory(x.pid);
  if (!memory)
    return false; // it is ending now; the channel will report that
  x.seen_moment = x.activity->moment();
  x.seen_idle = x.seen_moment == before && worker_activity::idle_at(before);
  x.seen_anonymous = memory->anonymous;
  x.seen_swapped = memory->swapped;
  // Checked after the reading: if the fork server lives now, it had its pages then.
  if (x.server == keeper->number() && settings.host->server_has_memory())
    x.private_offset = static_cast<int64_t>(memory->private_bytes)
                       - static_cast<int64_t>(memory->anonymous);
  x.present_bytes = static_cast<uint64_t>(
    std::max<int64_t>(0, static_cast<int64_t>(memory->anonymous) + x.private_offset));
  x.peak_bytes = std::max(x.peak_bytes, x.present_bytes);
  // A running job has memory that it will free.
  x.private_bytes = x.seen_idle ? x.present_bytes : std::min(x.private_bytes, x.present_bytes);
  if (x.life.is_serving())
    self->send(slots[x.slot].actor, private_reading{x.id, x.private_offset, false});
  return true;
}

void supervisor_state::distrust(worker_entry& x) {
  // Only a report and a reading of the same moment can contradict each other.
  if (x.jobs == 0 || x.trimming || !x.seen_idle || x.seen_moment != x.reported_moment
      || x.seen_moment < x.comparable_from)
    return;
  const auto said = x.reported_anonymous, seen = x.seen_anonymous;
  // The kernel may have swapped out idle pages since.
  const auto apart = said > seen ? said - std::min(said, seen + x.seen_swapped) : seen - said;
  x.lies = apart > honest_difference ? x.lies + 1 : 0;
  if (x.lies >= max_lies)
    kill(x, error{errc::misreported, "the worker reports " + amount(said)
                                       + " of anonymous memory, but has " + amount(seen)});
}

void supervisor_state::look_closer(worker_entry& x) {
  x.probes_in_jobs = x.seen_idle ? 0 : x.probes_in_jobs + 1;
  if (x.probes_in_jobs < max_probes_in_jobs || !x.doomed.empty())
    return;
  x.probes_in_jobs = 0;
  self->send(slots[x.slot].actor, private_reading{x.id, x.private_offset, true});
}

void supervisor_state::probe() {
  uint32_t ready = 0;
  for (auto& [id, x] : workers) {
    ready += x.life.is_standby();
    if (!x.life.is_serving() && !x.life.is_standby())
      continue;
    if (!read_private(x) || !x.life.is_serving())
      continue;
    look_closer(x);
    distrust(x);
    if (!x.killed)
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
  if (keeper->is_ready())
    watch_own(fork_server, keeper->pid());
  settings.report->stats().fork_server_private_bytes.Set(
    keeper->is_running() ? static_cast<double>(fork_server.private_bytes) : 0);
}

void supervisor_state::watch_own(own_process& x, int32_t pid) {
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
    return;
  x.private_bytes = memory->private_bytes;
  // Ageing follows work, not time: readings without jobs between them do not count.
  if (jobs_done == x.jobs)
    return;
  x.jobs = jobs_done;
  // Its live bytes are not flat per job (queues grow and shrink), so only the lows decide. They are
  // the lows of anonymous memory: pages that are shared with workers become private and shared
  // again as workers end and begin.
  const auto verdict = x.judge->observe({.live = 0, .private_bytes = memory->anonymous});
  if (verdict.kind == x.told)
    return;
  x.told = verdict.kind;
  if (!supervision::is_confirmed(verdict.kind))
    return;
  settings.report->emit(events::self_growth{.process = x.name,
                                            .pid = pid,
                                            .private_bytes = memory->private_bytes,
                                            .reason = supervision::explain(verdict)});
  // Workers live on without their fork server, and a fresh fork server is as small as this one was.
  if (&x == &fork_server && policy->enabled())
    settings.host->stop_server(true);
}

} // namespace ziyu::actors
