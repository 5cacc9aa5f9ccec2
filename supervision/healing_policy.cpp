#include "supervision/healing_policy.hpp"

#include "base/bytes.hpp"

#include <algorithm>
#include <limits>

namespace ziyu::supervision {

namespace {

/// Share of the room below the budget that growth may take if it may end.
constexpr double growing_share = 0.95;

/// For shared pages that a worker has copied since the supervisor's latest reading.
constexpr uint64_t reserve_of(uint64_t budget_bytes) { return budget_bytes / 32; }

std::string amount(double bytes) { return format_bytes(static_cast<int64_t>(bytes)); }

} // namespace

std::string_view to_string(rung x) noexcept {
  switch (x) {
  case rung::none: return "none";
  case rung::trim: return "trim";
  case rung::replace: return "replace";
  case rung::kill: return "kill";
  }
  return "unknown";
}

expected<void> healing_policy::check_baseline(uint64_t baseline_bytes) const {
  if (settings_.budget_bytes == 0 || baseline_bytes < settings_.budget_bytes)
    return {};
  return fail(errc::invalid_config,
              "memory.worker_budget_bytes is " + amount(static_cast<double>(settings_.budget_bytes))
                + ", but a fresh worker already has " + amount(static_cast<double>(baseline_bytes))
                + " of private memory: set a larger budget");
}

healing_step healing_policy::decide(const worker& x) const {
  if (!settings_.enabled)
    return {};
  const auto present = std::max(x.present_bytes, x.private_bytes);
  if (settings_.hard_limit_bytes > 0 && present >= settings_.hard_limit_bytes)
    return {rung::kill, "private memory is " + amount(static_cast<double>(present))
                          + ", the hard limit "
                          + amount(static_cast<double>(settings_.hard_limit_bytes))};
  if (settings_.budget_bytes == 0)
    return {};
  const auto budget = amount(static_cast<double>(settings_.budget_bytes));
  const auto owned = amount(static_cast<double>(x.private_bytes));
  const auto grown = static_cast<double>(x.private_bytes) - static_cast<double>(x.baseline_bytes);
  const auto last_resort = next_reaches_budget(x.private_bytes, x.step_bytes,
                                               settings_.budget_bytes);
  const auto confirmed = is_confirmed(x.verdict.kind);
  // Most of the growth is not in allocations: a large job leaves such memory behind.
  const auto is_free = !confirmed && static_cast<double>(x.live_grown_bytes) < grown / 2;
  const auto replace_or_trim = [&](std::string reason) -> healing_step {
    // A trim may return hoarded memory without a new process.
    if ((x.verdict.kind == growth::hoarding || is_free) && !x.trimmed)
      return {rung::trim, std::move(reason), last_resort};
    return {rung::replace, std::move(reason), last_resort};
  };
  if (last_resort)
    return replace_or_trim("private memory is " + owned + ", a job like the largest recent one ("
                           + amount(static_cast<double>(x.step_bytes))
                           + ") would reach the budget of " + budget);
  if (!confirmed || x.verdict.jobs < settings_.min_life_jobs)
    return {};
  const auto room = static_cast<double>(settings_.budget_bytes)
                    - static_cast<double>(x.baseline_bytes);
  const auto slope = x.verdict.on_gpu                     ? x.verdict.gpu
                     : x.verdict.kind == growth::hoarding ? x.verdict.private_memory
                                                          : x.verdict.live;
  const auto rate = amount(slope.bytes_per_job) + " per job (" + amount(slope.lower) + " to "
                    + amount(slope.upper) + ")";
  const auto threshold = settings_.replace_at * (1 - settings_.jitter * x.chance) * room;
  if (x.verdict.kind == growth::growing) {
    // What grows may be a cache that is nearly full: a cache may take nearly all of the room.
    const auto most = growing_share * room;
    if (grown < most && static_cast<double>(x.gpu_grown_bytes) < most
        && x.verdict.jobs_left.value_or(UINT64_MAX) > settings_.forecast_jobs)
      return {};
    return replace_or_trim("grows by " + rate + ": " + owned + " of " + budget
                           + " are used; it leaks, or memory.worker_budget_bytes is too small for"
                             " a cache of the model (declared as memory.model_cache_bytes)");
  }
  if (grown >= threshold)
    return replace_or_trim(std::string{to_string(x.verdict.kind)} + " of " + rate + ": " + owned
                           + " of " + budget + " are used");
  if (const auto on_gpu = static_cast<double>(x.gpu_grown_bytes);
      x.verdict.on_gpu && on_gpu >= threshold)
    return replace_or_trim(std::string{to_string(x.verdict.kind)} + " of " + rate
                           + " on the GPU: " + amount(on_gpu) + " since it was ready");
  if (x.verdict.jobs_left && *x.verdict.jobs_left <= settings_.forecast_jobs)
    return replace_or_trim(std::string{to_string(x.verdict.kind)} + " of " + rate + ": "
                           + std::to_string(*x.verdict.jobs_left) + " jobs left until " + budget);
  return {};
}

bool healing_policy::next_reaches_budget(uint64_t private_bytes, uint64_t step_bytes,
                                         uint64_t budget_bytes) {
  return budget_bytes > 0 && private_bytes + step_bytes >= budget_bytes;
}

bool healing_policy::may_reach_budget(uint64_t private_bytes, uint64_t step_bytes,
                                      uint64_t budget_bytes) {
  return next_reaches_budget(private_bytes + reserve_of(budget_bytes), step_bytes, budget_bytes);
}

uint32_t healing_policy::jobs_of_room(uint64_t private_bytes, uint64_t step_bytes,
                                      uint64_t budget_bytes) {
  constexpr auto any = std::numeric_limits<uint32_t>::max();
  if (budget_bytes == 0 || step_bytes == 0)
    return any;
  const auto used = private_bytes + reserve_of(budget_bytes);
  const auto jobs = (budget_bytes - std::min(budget_bytes, used)) / step_bytes;
  return static_cast<uint32_t>(std::clamp<uint64_t>(jobs, 1, any));
}

uint32_t healing_policy::max_replacing(uint32_t slots) const {
  return std::max<uint32_t>(1, static_cast<uint32_t>(settings_.max_unavailable * slots));
}

} // namespace ziyu::supervision
