#include "supervision/circuit_breaker.hpp"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <utility>

namespace ziyu::supervision {

std::string_view to_string(breaker_state x) noexcept {
  switch (x) {
  case breaker_state::closed: return "closed";
  case breaker_state::open: return "open";
  case breaker_state::half_open: return "half_open";
  }
  return "unknown";
}

std::string_view to_string(circuit_breaker::trigger x) noexcept {
  switch (x) {
  case circuit_breaker::trigger::memory: return "memory";
  case circuit_breaker::trigger::restart_intensity: return "restart_intensity";
  case circuit_breaker::trigger::publisher: return "publisher";
  case circuit_breaker::trigger::fork_server: return "fork_server";
  }
  return "unknown";
}

circuit_breaker::circuit_breaker(settings x) : settings_(x) {
  // nop
}

std::optional<circuit_breaker::transition> circuit_breaker::memory(double share,
                                                                   clock::time_point now) {
  if (share >= settings_.open_at) {
    char text[96];
    std::snprintf(text, sizeof text, "container memory at %.1f %%, breaker.open_at is %.0f %%",
                  share * 100, settings_.open_at * 100);
    return raise(trigger::memory, text, now);
  }
  if (share < settings_.close_below)
    return lower(trigger::memory, now);
  return std::nullopt; // between the two: as it was
}

std::optional<circuit_breaker::transition> circuit_breaker::raise(trigger which, std::string reason,
                                                                  clock::time_point now) {
  auto text = std::string{to_string(which)} + ": " + reason;
  raised_[which] = text;
  if (state_ == breaker_state::open) {
    reason_ = std::move(text);
    return std::nullopt;
  }
  return open(std::move(text), now);
}

std::optional<circuit_breaker::transition> circuit_breaker::lower(trigger which,
                                                                  clock::time_point now) {
  raised_.erase(which);
  return tick(now);
}

std::optional<circuit_breaker::transition> circuit_breaker::open(std::string reason,
                                                                 clock::time_point now) {
  const auto from = std::exchange(state_, breaker_state::open);
  reason_ = std::move(reason);
  opened_ = now;
  probes_running_ = probes_succeeded_ = 0;
  return transition{from, state_, reason_};
}

std::optional<circuit_breaker::transition> circuit_breaker::tick(clock::time_point now) {
  if (state_ != breaker_state::open || !raised_.empty() || now - opened_ < settings_.open_for)
    return std::nullopt;
  state_ = breaker_state::half_open;
  probes_running_ = probes_succeeded_ = 0;
  return transition{breaker_state::open, state_,
                    "no trigger is raised any more; " + std::to_string(settings_.probe_jobs)
                      + " probe jobs decide"};
}

uint32_t circuit_breaker::admits() const {
  switch (state_) {
  case breaker_state::closed: return std::numeric_limits<uint32_t>::max();
  case breaker_state::half_open:
    return settings_.probe_jobs
           - std::min(settings_.probe_jobs, probes_running_ + probes_succeeded_);
  case breaker_state::open: return 0;
  }
  return 0;
}

void circuit_breaker::started() {
  if (state_ == breaker_state::half_open)
    ++probes_running_;
}

void circuit_breaker::not_begun() {
  if (state_ == breaker_state::half_open && probes_running_ > 0)
    --probes_running_;
}

std::optional<circuit_breaker::transition> circuit_breaker::finished(bool success,
                                                                     clock::time_point now) {
  // A job that began before the breaker opened is no probe.
  if (state_ != breaker_state::half_open || probes_running_ == 0)
    return std::nullopt;
  --probes_running_;
  if (!success)
    return open("a probe job failed", now);
  if (++probes_succeeded_ < settings_.probe_jobs)
    return std::nullopt;
  state_ = breaker_state::closed;
  reason_.clear();
  return transition{breaker_state::half_open, state_,
                    std::to_string(probes_succeeded_) + " probe jobs succeeded"};
}

std::string circuit_breaker::reason() const {
  if (state_ == breaker_state::closed)
    return {};
  std::string all;
  for (const auto& [which, text] : raised_)
    all += (all.empty() ? "" : "; ") + text;
  return all.empty() ? reason_ : all;
}

} // namespace ziyu::supervision
