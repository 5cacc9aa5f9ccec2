// The supervisor's fork server: its start, its frames, its death, and when it is trusted again.

#include "actors/supervisor.hpp"

#include "actors/log_line.hpp"
#include "base/log.hpp"

#include <algorithm>
#include <csignal>

namespace ziyu::actors {

using namespace std::chrono_literals;
using phase = worker_entry::phase;
using trigger_kind = supervision::circuit_breaker::trigger;

void supervisor_state::start_server() {
  if (draining || server_up)
    return;
  auto pid = settings.host->start_server(++server, caf::actor_cast<caf::actor>(self));
  if (!pid) {
    trouble = "cannot start the fork server: " + pid.error().describe();
    spdlog::error("{}", trouble);
    if (!ever_ready) {
      give_up(error{pid.error().code, trouble});
      return;
    }
    server_troubled = true;
    const auto attempts = server_backoff->attempts(); // each pause ends with an attempt
    const auto pause = server_backoff->next(settings.report->env().random());
    trigger(trigger_kind::fork_server, true, trouble,
            {{"attempts", static_cast<double>(attempts)},
             {"next_attempt_ms", static_cast<double>(pause.count())}});
    restart_pending = true;
    self->delayed_send(self, pause, atom::restart{});
    return;
  }
  server_up = true;
  server_ready = false;
  server_pid = *pid;
  server_started = self->clock().now();
  stacks.clear(); // in its workers the code is at other addresses
  settings.report->emit(spdlog::level::info, "fork_server_started",
                        {{"pid", *pid}, {"server", server}});
}

void supervisor_state::on_server_frame(const server_frame& x) {
  if (x.server != server)
    return;
  if (auto ready = std::get_if<wire::server_ready>(x.content.get())) {
    server_ready = true;
    server_ready_since = self->clock().now();
    ever_ready = true;
    trouble.clear();
    model_bytes = ready->memory.live;
    server_anonymous = ready->memory.rss_anon;
    if (std::exchange(model_sha256, ready->model_sha256) != ready->model_sha256)
      for (auto& where : slots)
        where.history.forget();
    log_line(spdlog::level::info, "model ready", {},
             {{"name", ready->model_name},
              {"version", ready->model_version},
              {"classes", ready->classes},
              {"load_ms", ready->load_us / 1000}});
    model = std::make_shared<const messaging::model_identity>(messaging::model_identity{
      ready->model_name, ready->model_version, ready->model_sha256, ready->precision});
    settings.on_model(*model);
    fill();
  } else if (auto failed = std::get_if<wire::server_failed>(x.content.get())) {
    auto code = errc::model_corrupt;
    from_string(failed->error_code, code);
    trouble = "the fork server cannot serve: " + failed->error_message;
    spdlog::error("{}", trouble);
    // A model that has never loaded will not load the next time either.
    if (!ever_ready)
      give_up(error{code, failed->error_message});
  } else if (auto made = std::get_if<wire::spawned>(x.content.get())) {
    auto entry = find(made->spawn_id);
    if (!entry)
      return;
    if (made->pid == 0) {
      spdlog::error("fork failed: {}", made->error_message);
      const auto now = self->clock().now();
      spawn_after = now + worker_backoff->next(settings.report->env().random(), now);
      entry->expected_end = true;
      if (entry->closed) // else its socket will close, too
        workers.erase(made->spawn_id);
      return;
    }
    entry->pid = made->pid;
    if (entry->state == phase::spawning)
      entry->state = phase::warming;
    settings.host->adopt(entry->id, made->pid);
    if (entry->closed) { // before its `spawned` arrived
      settings.host->signal(entry->id, SIGKILL);
      note_death();
    }
  } else if (auto ended = std::get_if<wire::exited>(x.content.get())) {
    for (auto& [id, entry] : workers)
      if (entry.pid == ended->pid) {
        reap(id, *ended);
        break;
      }
  }
}

void supervisor_state::on_server_closed(const server_closed& x) {
  if (x.server != server || !server_up)
    return;
  settings.host->stop_server(true);
  server_up = server_ready = false;
  // It is not known any more whether these were forked.
  std::erase_if(workers, [](const auto& w) { return w.second.pid == 0 && w.second.closed; });
  if (draining)
    return;
  auto reason = x.reason ? x.reason->describe() : trouble;
  if (const auto kills = settings.host->oom_kills()) {
    const auto now = self->clock().now();
    ooms.observe(*kills, now);
    if (reason.empty() && ooms.claim(now))
      reason = "killed by the kernel for lack of memory";
  }
  settings.report->emit(spdlog::level::err, "fork_server_died",
                        {{"pid", server_pid}, {"server", server}, {"reason", reason}});
  if (!ever_ready) {
    give_up(error{errc::unavailable,
                  !trouble.empty() ? trouble : "the fork server ended before it was ready"});
    return;
  }
  note_server_death();
}

void supervisor_state::note_server_death() {
  const auto now = self->clock().now();
  const auto within = server_intensity->admit(now);
  const auto deaths = server_intensity->recent(now);
  // The workers live on. The breaker opens only if they cannot be replaced for long: when the fork
  // server died before it had proved itself.
  if (server_backoff->attempts() > 0) {
    server_troubled = true;
    trigger(trigger_kind::fork_server, true,
            "the fork server keeps dying: " + std::to_string(deaths) + " times within "
              + std::to_string(settings.restart_period.count()) + " ms",
            {{"deaths", static_cast<double>(deaths)},
             {"period_ms", static_cast<double>(settings.restart_period.count())}});
  }
  // From here on it is not an accident: restarts slow down, and the trigger is raised.
  auto pause = server_backoff->next(settings.report->env().random());
  if (!within) {
    pause = settings.backoff_max;
    if (!std::exchange(server_intensity_exceeded, true))
      settings.report->emit(
        spdlog::level::critical, "restart_intensity_exceeded",
        {{"of", "fork_server"},
         {"reason", std::to_string(deaths) + " fork servers died within "
                      + std::to_string(settings.restart_period.count())
                      + " ms, restart.intensity is " + std::to_string(settings.restart_intensity)},
         {"deaths", deaths},
         {"period_ms", settings.restart_period.count()}});
  }
  restart_pending = true;
  self->delayed_send(self, pause, atom::restart{});
}

void supervisor_state::trust_server() {
  const auto now = self->clock().now();
  // Being ready is not enough: it must have lived for a while.
  if (!server_ready || now - server_ready_since < settings.backoff_max)
    return;
  server_backoff->reset();
  if (server_intensity->recent(now) <= settings.restart_intensity / 2)
    server_intensity_exceeded = false;
  if (std::exchange(server_troubled, false))
    trigger(trigger_kind::fork_server, false);
}

} // namespace ziyu::actors
