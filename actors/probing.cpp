// The supervisor's own readings: of the workers, whose word is not taken for granted, of
// the container, and of Ziyu's own processes.

#include "actors/supervisor.hpp"

#include "base/bytes.hpp"
#include "base/log.hpp"

#include <algorithm>

#include <unistd.h>

namespace ziyu::actors {

using phase = worker_entry::phase;
using supervision::growth;

namespace {

/// Readings in a row that must contradict a worker before it is called a liar.
constexpr uint32_t max_lies = 3;

/// What a job in progress, page granularity and the time between two readings explain.
constexpr uint64_t honest_difference = 64u << 20;

std::string amount(uint64_t bytes) { return format_bytes(static_cast<int64_t>(bytes)); }

} // namespace

bool supervisor_state::read_private(worker_entry& x) {
  auto memory = settings.host->read_memory(x.pid);
  if (!memory)
    return false; // it is just ending; the channel will tell
  x.private_bytes = memory->private_bytes;
  x.peak_bytes = std::max(x.peak_bytes, x.private_bytes);
  x.private_offset = static_cast<int64_t>(memory->private_bytes)
                     - static_cast<int64_t>(memory->anonymous);
  x.seen_anonymous = memory->anonymous;
  if (x.state == phase::serving)
    self->send(slots[x.slot].actor, private_reading{x.id, x.private_offset});
  return true;
}

void supervisor_state::distrust(worker_entry& x) {
  if (x.jobs == 0)
    return;
  // A job in progress holds its image, its tensors, and copies of both.
  const auto tolerance = honest_difference + 4 * x.largest_decoded;
  const auto said = x.reported_anonymous, seen = x.seen_anonymous;
  const auto apart = said > seen ? said - seen : seen - said;
  x.lies = apart > tolerance ? x.lies + 1 : 0;
  if (x.lies >= max_lies)
    kill(x, error{errc::misreported, "the worker says that it has " + amount(said)
                                       + " of anonymous memory, and has " + amount(seen)});
}

void supervisor_state::probe() {
  uint32_t ready = 0;
  for (auto& [id, x] : workers) {
    ready += x.state == phase::standby;
    if (x.state != phase::serving && x.state != phase::standby)
      continue;
    if (!read_private(x) || x.state != phase::serving)
      continue;
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
  if (server_ready)
    watch_own(fork_server, server_pid);
}

void supervisor_state::watch_own(own_process& x, int32_t pid) {
  if (x.pid != pid || !x.judge) { // a new one: nothing is known of it
    auto how = settings.judge;
    how.budget_bytes = 0;
    how.workers = 1;
    x.pid = pid;
    x.judge.emplace(how);
    x.told = growth::warming_up;
    x.jobs = jobs_done;
  }
  auto memory = settings.host->read_memory(pid);
  if (!memory)
    return;
  x.private_bytes = memory->private_bytes;
  // Ageing follows work, not time: readings between which nothing was done do not count.
  if (jobs_done == x.jobs)
    return;
  x.jobs = jobs_done;
  // Its live bytes are not flat per job (queues come and go), so that the lows decide
  // alone; those of anonymous memory, as pages that are shared with workers become
  // private and back with each worker that comes and goes.
  const auto verdict = x.judge->observe({.live = 0, .private_bytes = memory->anonymous});
  if (verdict.kind == x.told)
    return;
  x.told = verdict.kind;
  if (!supervision::is_confirmed(verdict.kind))
    return;
  settings.report->emit(spdlog::level::err, "self_growth",
                        {{"process", x.name},
                         {"pid", pid},
                         {"private_bytes", memory->private_bytes},
                         {"reason", supervision::explain(verdict)}});
  // Workers live on without their fork server, and a fresh one is as small as this was.
  if (&x == &fork_server && policy->enabled())
    settings.host->stop_server(true);
}

} // namespace ziyu::actors
