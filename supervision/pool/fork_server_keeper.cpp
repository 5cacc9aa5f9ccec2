#include "supervision/pool/fork_server_keeper.hpp"

#include "base/check.hpp"

#include <utility>

namespace ziyu::supervision {

fork_server_keeper::fork_server_keeper(settings x)
  : settings_(x), backoff_(x.backoff_initial, x.backoff_max),
    intensity_(x.restart_intensity, x.restart_period) {
  // nop
}

void fork_server_keeper::start(uint64_t number) {
  require(phase_ == phase::down, "a second fork server is started beside the first");
  starting_ = true;
  number_ = number;
}

fork_server_keeper::orders fork_server_keeper::started(int32_t pid, clock::time_point now) {
  require(std::exchange(starting_, false), "a fork server was started without being asked for");
  phase_ = phase::loading;
  pid_ = pid;
  started_ = now;
  orders x;
  x.news.emplace_back(events::fork_server_started{.pid = pid, .server = number_});
  return x;
}

fork_server_keeper::orders fork_server_keeper::not_started(const error& why, uint64_t random) {
  require(std::exchange(starting_, false), "a fork server was not started, nor asked for");
  trouble_ = "cannot start the fork server: " + why.describe();
  orders x;
  if (!was_ever_ready()) {
    x.give_up = error{why.code, trouble_};
    return x;
  }
  troubled_ = true;
  const auto attempts = backoff_.attempts(); // each pause ends with an attempt
  const auto pause = backoff_.next(random);
  x.trigger = {true,
               trouble_,
               {{"attempts", static_cast<double>(attempts)},
                {"next_attempt_ms", static_cast<double>(pause.count())}}};
  x.restart_in = pause;
  return x;
}

bool fork_server_keeper::ready(const wire::server_ready& news, clock::time_point now) {
  require(phase_ == phase::loading, "a fork server is ready that does not load a model");
  phase_ = phase::up;
  ready_since_ = now;
  trouble_.clear();
  const auto differs = model_ && model_->model_sha256 != news.model_sha256;
  model_ = news;
  return differs;
}

fork_server_keeper::orders fork_server_keeper::failed(const wire::server_failed& news) {
  auto code = errc::model_corrupt;
  from_string(news.error_code, code);
  trouble_ = "the fork server cannot serve: " + news.error_message;
  orders x;
  // A model that has never loaded will not load the next time either.
  if (!was_ever_ready())
    x.give_up = error{code, news.error_message};
  return x;
}

fork_server_keeper::orders fork_server_keeper::closed(bool draining, const std::string& reason,
                                                      clock::time_point now, uint64_t random) {
  require(is_running(), "a fork server ends that does not run");
  phase_ = phase::down;
  if (draining)
    return {};
  orders x;
  if (was_ever_ready())
    x = note_death(now, random);
  else
    x.give_up = error{errc::unavailable,
                      !trouble_.empty() ? trouble_ : "the fork server ended before it was ready"};
  x.news.insert(x.news.begin(),
                events::fork_server_died{.pid = pid_, .server = number_, .reason = reason});
  return x;
}

fork_server_keeper::orders fork_server_keeper::note_death(clock::time_point now, uint64_t random) {
  const auto within = intensity_.admit(now);
  const auto deaths = intensity_.recent(now);
  const auto period = settings_.restart_period.count();
  orders x;
  // The breaker opens only if workers cannot be replaced for long: when the fork server died before
  // it had proved itself.
  if (backoff_.attempts() > 0) {
    troubled_ = true;
    x.trigger = {
      true,
      "the fork server keeps dying: " + std::to_string(deaths) + " times within "
        + std::to_string(period) + " ms",
      {{"deaths", static_cast<double>(deaths)}, {"period_ms", static_cast<double>(period)}}};
  }
  // From here on it is not an accident: restarts slow down, and the trigger is raised.
  auto pause = backoff_.next(random);
  if (!within) {
    pause = settings_.backoff_max;
    if (!std::exchange(intensity_exceeded_, true))
      x.news.emplace_back(events::restart_intensity_exceeded{
        .of = "fork_server",
        .reason = std::to_string(deaths) + " fork servers died within " + std::to_string(period)
                  + " ms, restart.intensity is " + std::to_string(settings_.restart_intensity),
        .deaths = deaths,
        .period_ms = period});
  }
  x.restart_in = pause;
  return x;
}

fork_server_keeper::orders fork_server_keeper::tick(clock::time_point now) {
  orders x;
  if (phase_ == phase::loading && now - started_ > settings_.start_timeout) {
    trouble_ = "the fork server was not ready within "
               + std::to_string(settings_.start_timeout.count()) + " ms";
    x.kill = true;
  }
  // Being ready is not enough: it must have lived for a while.
  if (!is_ready() || now - ready_since_ < settings_.backoff_max)
    return x;
  backoff_.reset();
  if (intensity_.recent(now) <= settings_.restart_intensity / 2)
    intensity_exceeded_ = false;
  if (std::exchange(troubled_, false))
    x.trigger = trigger_change{};
  return x;
}

} // namespace ziyu::supervision
