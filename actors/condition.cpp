#include "actors/condition.hpp"

#include <cstdio>

namespace ziyu::actors {

using supervision::breaker_state;

const char* condition::status(bool was_ready) const {
  if (obstacles.empty() && concerns.empty())
    return "healthy";
  return begins && !was_ready && concerns.empty() ? "starting" : "degraded";
}

double memory_share(const supervisor_status& v) {
  return v.container_limit == 0
           ? 0.
           : static_cast<double>(v.container_used) / static_cast<double>(v.container_limit);
}

condition assess(const dispatcher_status& d, const supervisor_status& v, double tighten_at) {
  condition x;
  auto beginnings = size_t{0};
  auto& why = x.obstacles;
  if (!v.model_ready) {
    why.emplace_back("the model is not loaded yet");
    ++beginnings;
  }
  // A slot takes jobs, or will do so when its standby is ready.
  if (d.slots_up + v.slots_held == 0) {
    why.emplace_back("no worker is up");
    ++beginnings;
  }
  if (!d.consuming) {
    why.push_back("kafka: " + d.trouble);
    beginnings += d.joining;
  }
  if (!v.trouble.empty())
    why.push_back(v.trouble);
  if (d.breaker == breaker_state::open)
    why.push_back("the breaker is open: " + d.breaker_reason);
  if (d.breaker == breaker_state::forced_open)
    why.push_back("the breaker is forced_open: " + d.breaker_reason);
  if (d.intake_given_up)
    why.emplace_back("the container's memory is nearly full: no jobs are taken");
  if (d.maintenance)
    why.emplace_back("drained for maintenance; SIGUSR2 resumes");
  else if (d.draining)
    why.emplace_back("shutting down");
  x.begins = beginnings == why.size();
  // Jobs are taken, but their results may be lost, or they may kill the service.
  if (d.breaker == breaker_state::disabled && !d.breaker_trouble.empty())
    x.concerns.push_back("the breaker is disabled, although it has a reason to open: "
                         + d.breaker_trouble);
  if (const auto share = memory_share(v); share >= tighten_at) {
    char text[96];
    std::snprintf(text, sizeof text,
                  "memory: %.1f %% of the limit is used, breaker.tighten_at is %.1f %%",
                  share * 100, tighten_at * 100);
    x.concerns.emplace_back(text);
  }
  return x;
}

} // namespace ziyu::actors
