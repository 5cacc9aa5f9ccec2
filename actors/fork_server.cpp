// The supervisor's fork server: does what the keeper orders, and takes the server's frames.

#include "actors/supervisor.hpp"

#include "actors/log_line.hpp"
#include "base/log.hpp"

#include <algorithm>
#include <csignal>

namespace ziyu::actors {

using trigger_kind = supervision::circuit_breaker::trigger;

void supervisor_state::start_server() {
  if (draining || keeper->is_running())
    return;
  const auto number = keeper->next();
  const auto pid = settings.host->start_server(number, caf::actor_cast<caf::actor>(self));
  if (pid) {
    desk->forget_addresses(); // in its workers the code is at other addresses
    obey(keeper->started(*pid, self->clock().now()));
    return;
  }
  auto orders = keeper->not_started(pid.error(), settings.report->env().random());
  spdlog::error("{}", keeper->trouble());
  obey(std::move(orders));
}

void supervisor_state::obey(supervision::fork_server_keeper::orders x) {
  emit(std::move(x.news));
  if (x.trigger)
    trigger(trigger_kind::fork_server, x.trigger->raised, x.trigger->reason, x.trigger->values);
  if (x.kill)
    settings.host->stop_server(true);
  if (x.restart_in)
    self->delayed_send(self, *x.restart_in, atom::restart{});
  if (x.give_up)
    give_up(std::move(*x.give_up));
}

void supervisor_state::on_server_frame(const server_frame& x) {
  if (x.server != keeper->number())
    return;
  if (auto news = std::get_if<wire::server_ready>(x.content.get()))
    on_server_ready(*news);
  else if (auto failed = std::get_if<wire::server_failed>(x.content.get()))
    on_server_failed(*failed);
  else if (auto made = std::get_if<wire::spawned>(x.content.get()))
    on_spawned(*made);
  else if (auto ended = std::get_if<wire::exited>(x.content.get()))
    on_exited(*ended);
}

void supervisor_state::on_server_ready(const wire::server_ready& news) {
  if (!keeper->is_loading())
    return; // the model speaks for its server
  if (keeper->ready(news, self->clock().now()))
    for (auto& where : slots)
      where.history.forget();
  trouble.clear();
  log_line(spdlog::level::info, "model ready", {},
           {{"name", news.model_name},
            {"version", news.model_version},
            {"classes", news.classes},
            {"load_ms", news.load_us / 1000}});
  model = std::make_shared<const messaging::model_identity>(messaging::model_identity{
    news.model_name, news.model_version, news.model_sha256, news.precision});
  settings.on_model(*model);
  fill();
}

void supervisor_state::on_server_failed(const wire::server_failed& news) {
  auto orders = keeper->failed(news);
  spdlog::error("{}", keeper->trouble());
  obey(std::move(orders));
}

void supervisor_state::on_spawned(const wire::spawned& news) {
  auto entry = find(news.spawn_id);
  if (!entry || (news.pid <= 0 && entry->pid() != 0))
    return; // a worker that is ready was forked, whatever the model says for its server
  if (news.pid <= 0) {
    spdlog::error("fork failed: {}", news.error_message);
    const auto now = self->clock().now();
    spawn_after = now + worker_backoff->next(settings.report->env().random(), now);
    entry->expect_end();
    if (entry->is_closed()) // else its socket will close, too
      workers.erase(news.spawn_id);
    return;
  }
  entry->forked(news.pid);
  settings.host->adopt(entry->id(), news.pid);
  if (entry->is_closed()) { // before its `spawned` arrived
    settings.host->signal(entry->id(), SIGKILL);
    note_death();
  }
}

void supervisor_state::on_exited(const wire::exited& news) {
  if (news.pid <= 0)
    return;
  const auto i = std::find_if(workers.begin(), workers.end(),
                              [&](const auto& w) { return w.second.pid() == news.pid; });
  if (i != workers.end())
    reap(i->first, news);
}

void supervisor_state::on_server_closed(const server_closed& x) {
  if (x.server != keeper->number() || !keeper->is_running())
    return;
  settings.host->stop_server(true);
  // It is not known any more whether these were forked.
  std::erase_if(workers, [](const auto& w) { return w.second.pid() == 0 && w.second.is_closed(); });
  const auto now = self->clock().now();
  auto reason = x.reason ? x.reason->describe() : keeper->trouble();
  if (const auto kills = settings.host->oom_kills(); kills && !draining) {
    ooms.observe(*kills, now);
    if (reason.empty() && ooms.claim(now))
      reason = "killed by the kernel for lack of memory";
  }
  obey(keeper->closed(draining, reason, now, settings.report->env().random()));
}

} // namespace ziyu::actors
