// The supervisor's model versions and their fork servers: does what the keepers order, and takes
// the servers' frames.

#include "actors/supervisor.hpp"

#include "actors/log_line.hpp"
#include "base/check.hpp"
#include "base/log.hpp"

#include <algorithm>
#include <csignal>

namespace ziyu::actors {

using trigger_kind = supervision::circuit_breaker::trigger;

// -- which version ----------------------------------------------------------------------------

uint64_t supervisor_state::add_version(std::string folder, bool on_trial) {
  const auto number = next_version++;
  versions.try_emplace(
    number, number, std::move(folder), on_trial,
    supervision::fork_server_keeper::settings{.restart_intensity = settings.restart_intensity,
                                              .restart_period = settings.restart_period,
                                              .backoff_initial = settings.backoff_initial,
                                              .backoff_max = settings.backoff_max,
                                              .start_timeout = settings.start_timeout});
  return number;
}

supervisor_state::version_entry* supervisor_state::find_version(uint64_t number) {
  const auto i = versions.find(number);
  return i == versions.end() ? nullptr : &i->second;
}

supervisor_state::version_entry* supervisor_state::find_server(uint64_t number) {
  const auto i = std::find_if(versions.begin(), versions.end(), [number](const auto& x) {
    return x.second.keeper().number() == number;
  });
  return i == versions.end() ? nullptr : &i->second;
}

supervisor_state::version_entry& supervisor_state::version_of(const supervision::worker& x) {
  const auto of = find_version(x.version());
  require(of != nullptr, "a worker has outlived its model version in the pool");
  return *of;
}

supervisor_state::version_entry& supervisor_state::wanted_version() { return versions.at(wanted); }

const supervisor_state::version_entry& supervisor_state::wanted_version() const {
  return versions.at(wanted);
}

bool supervisor_state::is_server_up(const supervision::worker& x) {
  const auto& keeper = version_of(x).keeper();
  return keeper.number() == x.server() && keeper.is_running();
}

// -- their fork servers -----------------------------------------------------------------------

void supervisor_state::start_server(uint64_t version) {
  auto of = find_version(version);
  if (draining || of == nullptr || of->is_retiring() || of->keeper().is_running())
    return;
  const auto number = next_server++;
  of->keeper().start(number);
  const auto pid = settings.host->start_server(number, of->folder(),
                                               caf::actor_cast<caf::actor>(self));
  if (pid) {
    desk->forget_addresses(); // in its workers the code is at other addresses
    return obey(*of, of->keeper().started(*pid, self->clock().now()));
  }
  auto orders = of->keeper().not_started(pid.error(), settings.report->env().random());
  spdlog::error("{}", of->keeper().trouble());
  obey(*of, std::move(orders));
}

/// @param of May be gone afterwards.
void supervisor_state::obey(version_entry& of, supervision::fork_server_keeper::orders x) {
  emit(std::move(x.news));
  if (x.kill)
    settings.host->stop_server(of.keeper().number(), true);
  if (of.is_on_trial()) { // what serves is not in danger
    if (x.give_up)
      reject(of, x.give_up->message);
    else if (x.restart_in)
      reject(of, of.keeper().trouble().empty() ? "its fork server died" : of.keeper().trouble());
    return;
  }
  if (x.trigger)
    trigger(trigger_kind::fork_server, x.trigger->raised, x.trigger->reason, x.trigger->values);
  if (x.restart_in)
    self->delayed_send(self, *x.restart_in, atom::restart{}, of.number());
  if (x.give_up)
    give_up(std::move(*x.give_up));
}

void supervisor_state::on_server_frame(const server_frame& x) {
  auto of = find_server(x.server);
  if (of == nullptr)
    return;
  if (auto news = std::get_if<wire::server_ready>(x.content.get()))
    on_server_ready(*of, *news);
  else if (auto failed = std::get_if<wire::server_failed>(x.content.get()))
    on_server_failed(*of, *failed);
  else if (auto made = std::get_if<wire::spawned>(x.content.get()))
    on_spawned(*made);
  else if (auto ended = std::get_if<wire::exited>(x.content.get()))
    on_exited(*ended);
}

void supervisor_state::on_server_ready(version_entry& of, const wire::server_ready& news) {
  if (!of.keeper().is_loading())
    return; // the model speaks for its server
  if (of.ready(news, self->clock().now()))
    for (auto& where : slots)
      if (where.version() == of.number())
        where.history().forget();
  trouble.clear();
  log_line(spdlog::level::info, "model ready", {},
           {{"name", news.model_name},
            {"version", news.model_version},
            {"variant", news.variant},
            {"classes", news.classes},
            {"load_ms", news.load_us / 1000}});
  if (!news.refused.empty())
    settings.report->emit(events::package_refused{
      .folder = of.folder(), .serves = news.variant, .reason = news.refused});
  if (of.number() == wanted)
    settings.on_model(*of.model());
  fill();
}

void supervisor_state::on_server_failed(version_entry& of, const wire::server_failed& news) {
  auto orders = of.keeper().failed(news);
  spdlog::error("{}", of.keeper().trouble());
  obey(of, std::move(orders));
}

void supervisor_state::on_spawned(const wire::spawned& news) {
  auto entry = find(news.spawn_id);
  if (!entry || (news.pid <= 0 && entry->pid() != 0))
    return; // a worker that is ready was forked, whatever the model says for its server
  if (news.pid <= 0) {
    spdlog::error("fork failed: {}", news.error_message);
    const auto now = self->clock().now();
    spawn_after = now + worker_backoff->next(settings.report->env().random(), now);
    if (auto& of = version_of(*entry); of.is_on_trial())
      reject(of, "fork failed: " + news.error_message);
    entry->expect_end();
    if (entry->is_closed()) // else its socket will close, too
      workers.erase(news.spawn_id);
    return;
  }
  entry->forked(news.pid);
  settings.host->adopt(entry->id(), news.pid);
  if (entry->is_closed()) { // before its `spawned` arrived
    settings.host->signal(entry->id(), SIGKILL);
    note_death(*entry, false);
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
  auto of = find_server(x.server);
  if (of == nullptr || !of->keeper().is_running())
    return;
  settings.host->stop_server(x.server, true);
  // It is not known any more whether these were forked.
  std::erase_if(workers, [&x](const auto& w) {
    return w.second.server() == x.server && w.second.pid() == 0 && w.second.is_closed();
  });
  const auto now = self->clock().now();
  const auto is_expected = draining || of->is_retiring();
  auto reason = x.reason ? x.reason->describe() : of->keeper().trouble();
  if (const auto kills = settings.host->oom_kills(); kills && !is_expected) {
    ooms.observe(*kills, now);
    if (reason.empty() && ooms.claim(now))
      reason = "killed by the kernel for lack of memory";
  }
  obey(*of, of->keeper().closed(is_expected, reason, now, settings.report->env().random()));
}

} // namespace ziyu::actors
