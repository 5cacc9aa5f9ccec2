// The supervisor's roll-out of another model version. The new version is on trial until one of its
// workers is ready. Then slots want the new version, and their workers are replaced as leaking ones
// are: one by one, make before break.

#include "actors/supervisor.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace ziyu::actors {

namespace {

/// A new version must load, and one of its workers be ready.
constexpr int trial_starts = 2;

} // namespace

rollout_answer supervisor_state::begin_rollout(const rollout_request& x) {
  if (draining || given_up)
    return {error{errc::stopping, "the service stops"}};
  if (!wanted_version().keeper().was_ever_ready())
    return {error{errc::unavailable, "the present model is not loaded yet"}};
  if (under_way)
    return {error{errc::unavailable, "a roll-out is under way already"}};
  const auto number = add_version(x.folder, true);
  under_way = rollout{number, self->clock().now(), {.folder = x.folder, .reason = {}}};
  settings.report->emit(events::rollout_started{.folder = x.folder});
  start_server(number);
  return {};
}

void supervisor_state::promote(version_entry& x) {
  x.promote();
  wanted_version().retire();
  trigger(supervision::circuit_breaker::trigger::fork_server, false); // that one's trouble is over
  wanted = x.number();
  for (auto& where : slots)
    where.want_version(wanted);
  settings.on_model(*x.model());
  for (auto& [id, w] : workers) // they would never serve
    if (w.version() != wanted && w.life().is_coming())
      end(w);
  doom_outdated();
  start_replacements();
}

void supervisor_state::reject(version_entry& x, const std::string& why) {
  if (!x.is_on_trial())
    return;
  settings.report->emit(events::rollout_rejected{.folder = x.folder(), .reason = why});
  x.retire();
  under_way->told.state = supervisor_status::rollout::phase::rejected;
  under_way->told.reason = why;
  for (auto& [id, w] : workers)
    if (w.version() == x.number())
      end(w);
}

void supervisor_state::doom_outdated() {
  for (auto& [id, x] : workers)
    if (x.life().is_serving() && x.version() != wanted && !x.is_doomed())
      x.doom("its model version gives way to " + wanted_version().model()->name + "/"
               + wanted_version().model()->version,
             false, "rollout");
}

void supervisor_state::follow_rollout() {
  if (!under_way)
    return;
  const auto now = self->clock().now();
  if (auto& x = *find_version(under_way->version);
      x.is_on_trial() && now - under_way->began > trial_starts * settings.start_timeout)
    reject(x, "no worker was ready in time");
  if (under_way->version == wanted)
    doom_outdated();
  for (auto i = versions.begin(); i != versions.end();)
    i = has_ended(i->second) ? versions.erase(i) : std::next(i);
  if (versions.size() > 1)
    return;
  auto done = std::exchange(under_way, std::nullopt);
  if (done->version == wanted) {
    done->told.state = supervisor_status::rollout::phase::finished;
    settings.report->emit(events::rollout_finished{
      .model = *wanted_version().model(),
      .ms = std::chrono::duration<double, std::milli>(now - done->began).count()});
  }
  latest_rollout = std::move(done->told);
}

bool supervisor_state::has_ended(version_entry& x) {
  const auto any = [&](auto holds) {
    return std::any_of(workers.begin(), workers.end(), [&](const auto& w) {
      return w.second.version() == x.number() && holds(w.second);
    });
  };
  // What a fork server that hangs has not forked yet goes with it.
  if (!x.is_retiring() || any([](const worker_entry& w) { return w.pid() != 0; }))
    return false;
  const auto server = x.keeper().number();
  if (!settings.host->server_running(server))
    return !any([](const worker_entry&) { return true; });
  const auto now = self->clock().now();
  if (!x.stop_after)
    x.stop_after = now + settings.grace;
  settings.host->stop_server(server, now >= *x.stop_after);
  return false;
}

} // namespace ziyu::actors
