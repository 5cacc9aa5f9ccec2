#include "configs/rules.hpp"

#include "configs/kafka_rules.hpp"

#include <algorithm>
#include <set>

namespace ziyu::configs {

using nlohmann::json;

std::vector<violation> check_rules(const json& document, const std::vector<violation>& broken) {
  std::vector<violation> found;
  auto usable = [&broken](std::initializer_list<std::string_view> paths) {
    return std::none_of(broken.begin(), broken.end(), [&](const violation& x) {
      return std::any_of(paths.begin(), paths.end(), [&x](auto path) {
        // The key itself, or the section that should have held it.
        return x.path.empty() || x.path == path || path.substr(0, path.find('.')) == x.path;
      });
    });
  };
  auto at = [&document](std::string_view path) -> const json& {
    const auto dot = path.find('.');
    return document.at(std::string{path.substr(0, dot)}).at(std::string{path.substr(dot + 1)});
  };
  // `low` must be less than (or, when not strict, at most) `high`.
  auto ordered = [&](std::string_view low, std::string_view high, bool strict) {
    if (!usable({low, high}) || (strict ? at(low) < at(high) : at(low) <= at(high)))
      return;
    found.push_back({std::string{high}, std::string{high} + ": " + at(high).dump() + " must be "
                                          + (strict ? "greater than " : "at least ")
                                          + std::string{low} + ", which is " + at(low).dump()});
  };
  ordered("memory.worker_budget_bytes", "memory.worker_hard_limit_bytes", true);
  ordered("breaker.close_below", "breaker.open_at", true);
  ordered("breaker.ease_at", "breaker.tighten_at", false);
  ordered("restart.backoff_initial_ms", "restart.backoff_max_ms", false);
  ordered("delivery.retry_backoff_ms", "delivery.retry_backoff_max_ms", false);
  ordered("judge.min_jobs", "judge.window_jobs", false);
  ordered("jobs.max_bytes", "jobs.max_in_flight_bytes", false);

  if (usable({"topics.jobs", "topics.results", "topics.dead_letters", "topics.events"})) {
    std::set<std::string> names;
    for (const auto* key :
         {"topics.jobs", "topics.results", "topics.dead_letters", "topics.events"})
      if (!names.insert(at(key).get<std::string>()).second)
        found.push_back({key, std::string{key} + ": " + at(key).dump()
                                + " is the name of another topic already"});
  }
  if (usable({"faults.slots", "faults.allowed"})) {
    const auto& slots = at("faults.slots");
    if (!slots.empty() && !at("faults.allowed").get<bool>())
      found.push_back(
        {"faults.slots", "faults.slots: faults are injected only when faults.allowed is true"});
    if (usable({"workers.slots"}))
      for (const auto& [slot, unused] : slots.items())
        if (const auto full = "faults.slots." + slot;
            usable({full}) && std::stoull(slot) >= at("workers.slots").get<uint64_t>())
          found.push_back({full, full + ": there are only workers.slots = "
                                   + at("workers.slots").dump() + " slots, counted from 0"});
  }
  for (auto& x : check_kafka_rules(document))
    found.push_back(std::move(x));
  return found;
}

} // namespace ziyu::configs
