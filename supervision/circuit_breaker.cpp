#include "supervision/circuit_breaker.hpp"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <utility>

namespace ziyu::supervision {

namespace {

/// Bounds the window's memory: at such a rate the latest outcomes are enough.
constexpr size_t max_outcomes = 10'000;

double to_ms(circuit_breaker::clock::duration x) {
  return std::chrono::duration<double, std::milli>(x).count();
}

template <class... Ts>
std::string format(const char* pattern, Ts... xs) {
  char text[160];
  std::snprintf(text, sizeof text, pattern, xs...);
  return text;
}

} // namespace

std::string_view to_string(breaker_state x) noexcept {
  switch (x) {
  case breaker_state::closed: return "closed";
  case breaker_state::open: return "open";
  case breaker_state::half_open: return "half_open";
  case breaker_state::forced_open: return "forced_open";
  case breaker_state::disabled: return "disabled";
  }
  return "unknown";
}

std::string_view to_string(breaker_mode x) noexcept {
  switch (x) {
  case breaker_mode::automatic: return "auto";
  case breaker_mode::open: return "open";
  case breaker_mode::disabled: return "disable";
  }
  return "unknown";
}

bool from_string(std::string_view word, breaker_mode& to) noexcept {
  for (auto x : {breaker_mode::automatic, breaker_mode::open, breaker_mode::disabled})
    if (word == to_string(x)) {
      to = x;
      return true;
    }
  return false;
}

std::string_view to_string(circuit_breaker::trigger x) noexcept {
  switch (x) {
  case circuit_breaker::trigger::memory: return "memory";
  case circuit_breaker::trigger::restart_intensity: return "restart_intensity";
  case circuit_breaker::trigger::publisher: return "publisher";
  case circuit_breaker::trigger::fork_server: return "fork_server";
  case circuit_breaker::trigger::error_rate: return "error_rate";
  }
  return "unknown";
}

circuit_breaker::circuit_breaker(settings x) : settings_(x) {
  if (x.mode == breaker_mode::open)
    state_ = breaker_state::forced_open;
  else if (x.mode == breaker_mode::disabled)
    state_ = breaker_state::disabled;
  if (x.mode != breaker_mode::automatic)
    reason_ = "operator: breaker.mode is " + std::string{to_string(x.mode)};
}

// -- triggers ---------------------------------------------------------------------------

std::optional<circuit_breaker::transition> circuit_breaker::memory(double share,
                                                                   clock::time_point now) {
  if (share >= settings_.open_at)
    return raise(trigger::memory,
                 format("container memory at %.1f %%, breaker.open_at is %.0f %%", share * 100,
                        settings_.open_at * 100),
                 now,
                 {{"memory_percent", share * 100}, {"open_at_percent", settings_.open_at * 100}});
  if (share < settings_.close_below)
    return lower(trigger::memory, now);
  return tick(now); // between the two marks: no change
}

std::optional<circuit_breaker::transition> circuit_breaker::raise(trigger which, std::string reason,
                                                                  clock::time_point now,
                                                                  numbers values) {
  const auto name = std::string{to_string(which)};
  auto text = name + ": " + reason;
  raised_[which] = {text, std::nullopt};
  if (state_ == breaker_state::closed || state_ == breaker_state::half_open)
    return open(name, std::move(text), now, std::move(values));
  if (state_ == breaker_state::open)
    reason_ = std::move(text);
  return std::nullopt;
}

std::optional<circuit_breaker::transition> circuit_breaker::lower(trigger which,
                                                                  clock::time_point now) {
  if (auto i = raised_.find(which); i != raised_.end() && !i->second.lowered)
    i->second.lowered = now;
  return tick(now);
}

bool circuit_breaker::is_raised(trigger which) const {
  const auto i = raised_.find(which);
  return i != raised_.end() && !i->second.lowered;
}

void circuit_breaker::forget_settled(clock::time_point now) {
  std::erase_if(raised_, [&](const auto& x) {
    return x.second.lowered && now - *x.second.lowered >= settings_.settle;
  });
}

std::optional<circuit_breaker::transition> circuit_breaker::count(bool success,
                                                                  clock::time_point now) {
  outcomes_.emplace_back(now, success);
  failures_ += !success;
  failures_in_a_row_ = success ? 0 : failures_in_a_row_ + 1;
  while (outcomes_.size() > max_outcomes
         || now - outcomes_.front().first >= settings_.error_window) {
    failures_ -= !outcomes_.front().second;
    outcomes_.pop_front();
  }
  const auto jobs = outcomes_.size();
  const auto share = static_cast<double>(failures_) / static_cast<double>(jobs);
  const auto none = failures_in_a_row_ >= settings_.error_min_jobs;
  const auto many = jobs >= settings_.error_min_jobs && share >= settings_.error_rate;
  if (state_ != breaker_state::closed || success || settings_.error_rate > 1 || (!none && !many))
    return std::nullopt;
  const auto failed = none ? failures_in_a_row_ : failures_;
  const auto window_ms = to_ms(settings_.error_window);
  const auto why = none ? format("error_rate: none of the latest %u jobs succeeded", failed)
                        : format("error_rate: %u of the latest %zu jobs failed (%.0f %%), "
                                 "breaker.error_rate is %.0f %%",
                                 failed, jobs, share * 100, settings_.error_rate * 100);
  // While it is open, no running job could prove anything: the probes decide. The rate is then
  // counted anew: closing requires more than a rate just below the bound.
  outcomes_.clear();
  failures_ = failures_in_a_row_ = 0;
  return open(std::string{to_string(trigger::error_rate)}, why, now,
              {{"failed_jobs", failed},
               {"jobs", none ? failed : static_cast<double>(jobs)},
               {"error_percent", none ? 100 : share * 100},
               {"error_rate_percent", settings_.error_rate * 100},
               {"window_ms", window_ms}});
}

// -- states -----------------------------------------------------------------------------

circuit_breaker::transition circuit_breaker::change(breaker_state to, std::string cause,
                                                    std::string reason, numbers values) {
  const auto from = std::exchange(state_, to);
  // Jobs that run now are no probes of the next half-open time.
  probes_running_ = probes_succeeded_ = probes_failed_ = 0;
  return {from, to, std::move(cause), std::move(reason), std::move(values)};
}

circuit_breaker::clock::duration circuit_breaker::open_time() const {
  auto result = settings_.open_for;
  for (uint32_t i = 1; i < openings_ && result < settings_.open_max; ++i)
    result *= 2;
  return std::max(settings_.open_for, std::min(result, settings_.open_max));
}

std::optional<circuit_breaker::transition> circuit_breaker::open(std::string cause,
                                                                 std::string reason,
                                                                 clock::time_point now,
                                                                 numbers values) {
  if (closed_ && now - *closed_ >= settings_.open_max)
    openings_ = 0;
  closed_.reset();
  ++openings_;
  reason_ = reason;
  opened_ = now;
  values["open_ms"] = to_ms(open_time());
  values["openings_in_a_row"] = openings_;
  return change(breaker_state::open, std::move(cause), std::move(reason), std::move(values));
}

std::optional<circuit_breaker::transition> circuit_breaker::tick(clock::time_point now) {
  forget_settled(now);
  if (state_ != breaker_state::open || !raised_.empty() || now - opened_ < open_time())
    return std::nullopt;
  ++trial_;
  return change(breaker_state::half_open, "settled",
                "no trigger is raised any more; " + std::to_string(settings_.probe_jobs)
                  + " probe jobs decide",
                {{"was_open_ms", to_ms(now - opened_)},
                 {"probe_jobs", static_cast<double>(settings_.probe_jobs)}});
}

std::optional<circuit_breaker::transition> circuit_breaker::set_mode(breaker_mode x,
                                                                     const std::string& why,
                                                                     clock::time_point now) {
  if (settings_.mode == x)
    return std::nullopt;
  settings_.mode = x;
  auto text = "operator: " + (why.empty() ? std::string{to_string(x)} : why);
  if (x == breaker_mode::automatic) {
    forget_settled(now);
    if (!raised_.empty()) {
      const auto& [which, first] = *raised_.begin();
      return open(std::string{to_string(which)}, first.reason, now, {});
    }
    if (state_ == breaker_state::disabled) {
      reason_.clear();
      closed_ = now;
      return change(breaker_state::closed, "operator", std::move(text), {});
    }
    // The outcomes meanwhile are not known: probes decide.
    ++trial_;
    reason_ = text;
    return change(breaker_state::half_open, "operator", std::move(text),
                  {{"probe_jobs", static_cast<double>(settings_.probe_jobs)}});
  }
  reason_ = text;
  return change(x == breaker_mode::open ? breaker_state::forced_open : breaker_state::disabled,
                "operator", std::move(text), {});
}

// -- jobs -------------------------------------------------------------------------------

uint32_t circuit_breaker::admits() const {
  switch (state_) {
  case breaker_state::closed:
  case breaker_state::disabled: return std::numeric_limits<uint32_t>::max();
  case breaker_state::half_open:
    return settings_.probe_jobs
           - std::min(settings_.probe_jobs, probes_running_ + probes_succeeded_);
  case breaker_state::open:
  case breaker_state::forced_open: return 0;
  }
  return 0;
}

bool circuit_breaker::holds() const {
  return state_ == breaker_state::open || state_ == breaker_state::forced_open;
}

circuit_breaker::ticket circuit_breaker::started() {
  if (state_ != breaker_state::half_open)
    return {};
  ++probes_running_;
  return {trial_};
}

void circuit_breaker::not_begun(ticket of) {
  if (state_ == breaker_state::half_open && of.trial == trial_)
    --probes_running_;
}

std::optional<circuit_breaker::transition> circuit_breaker::finished(ticket of, bool success,
                                                                     clock::time_point now) {
  if (state_ != breaker_state::half_open || of.trial != trial_)
    return count(success, now);
  --probes_running_;
  ++(success ? probes_succeeded_ : probes_failed_);
  const numbers values{{"probes_succeeded", static_cast<double>(probes_succeeded_)},
                       {"probes_failed", static_cast<double>(probes_failed_)},
                       {"probe_jobs", static_cast<double>(settings_.probe_jobs)}};
  if (!success) {
    const auto all = probes_succeeded_ + probes_failed_;
    if (settings_.error_rate > 1 || all < settings_.error_min_jobs
        || probes_failed_ < settings_.error_rate * all)
      return std::nullopt; // the job itself may be at fault: the next job replaces it as a probe
    return open("probes", format("%u of %u probe jobs failed", probes_failed_, all), now, values);
  }
  if (probes_succeeded_ < settings_.probe_jobs)
    return std::nullopt;
  reason_.clear();
  closed_ = now;
  outcomes_.clear();
  failures_ = failures_in_a_row_ = 0;
  return change(breaker_state::closed, "probes",
                std::to_string(probes_succeeded_) + " probe jobs succeeded", values);
}

std::string circuit_breaker::trouble() const {
  std::string all;
  for (const auto& [which, x] : raised_)
    all += (all.empty() ? "" : "; ") + x.reason;
  return all;
}

std::string circuit_breaker::reason() const {
  if (state_ == breaker_state::closed)
    return {};
  const auto raised = trouble();
  if (raised.empty())
    return reason_;
  const auto decided = state_ == breaker_state::forced_open || state_ == breaker_state::disabled;
  return decided && !reason_.empty() ? reason_ + "; " + raised : raised;
}

} // namespace ziyu::supervision
