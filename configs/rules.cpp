#include "configs/rules.hpp"

#include "base/bytes.hpp"
#include "configs/job_memory.hpp"
#include "configs/kafka_rules.hpp"

#include <algorithm>
#include <set>

namespace ziyu::configs {

using nlohmann::json;

namespace {

/// Whether none of the keys, nor a section that should have held one, is in `broken`.
bool are_usable(std::initializer_list<std::string_view> paths,
                const std::vector<violation>& broken) {
  return std::none_of(broken.begin(), broken.end(), [&](const violation& x) {
    return std::any_of(paths.begin(), paths.end(), [&x](auto path) {
      return x.path.empty() || x.path == path || path.substr(0, path.find('.')) == x.path;
    });
  });
}

const std::initializer_list<std::string_view> job_memory_keys{"memory.worker_budget_bytes",
                                                              "memory.worker_hard_limit_bytes",
                                                              "jobs.max_pixels", "healing.enabled"};

std::string amount(uint64_t bytes) { return format_bytes(static_cast<int64_t>(bytes)); }

/// An image of `jobs.max_pixels` must fit between a worker's budget and its hard limit.
void check_job_memory(const json& document, std::vector<violation>& found) {
  const auto& memory = document.at("memory");
  const auto budget = memory.at("worker_budget_bytes").get<uint64_t>(),
             limit = memory.at("worker_hard_limit_bytes").get<uint64_t>(),
             pixels = document.at("jobs").at("max_pixels").get<uint64_t>();
  if (!document.at("healing").at("enabled").get<bool>() || budget >= limit
      || pixels * bytes_per_pixel <= job_room(budget, limit))
    return;
  found.push_back({"jobs.max_pixels",
                   "jobs.max_pixels: " + std::to_string(pixels) + " pixels take "
                     + amount(pixels * bytes_per_pixel) + " decoded, but a worker at its budget ("
                     + amount(budget) + ", memory.worker_budget_bytes) has "
                     + amount(job_room(budget, limit)) + " left below its hard limit ("
                     + amount(limit) + ", memory.worker_hard_limit_bytes, less "
                     + amount(job_reserve(budget, limit)) + " of reserve): set jobs.max_pixels to "
                     + std::to_string(fitting_pixels(budget, limit))
                     + " at most (0: as many as fit), or " + "memory.worker_hard_limit_bytes to "
                     + std::to_string(least_hard_limit(budget, pixels) >> 20) + "MiB at least"});
}

} // namespace

void fit_pixels(json& document, const std::vector<violation>& broken) {
  if (!are_usable(job_memory_keys, broken))
    return;
  auto& pixels = document.at("jobs").at("max_pixels");
  if (pixels.get<uint64_t>() != 0)
    return;
  const auto& memory = document.at("memory");
  pixels = document.at("healing").at("enabled").get<bool>()
             ? fitting_pixels(memory.at("worker_budget_bytes").get<uint64_t>(),
                              memory.at("worker_hard_limit_bytes").get<uint64_t>())
             : most_pixels;
}

std::vector<violation> check_rules(const json& document, const std::vector<violation>& broken) {
  std::vector<violation> found;
  auto usable = [&broken](std::initializer_list<std::string_view> paths) {
    return are_usable(paths, broken);
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
  if (are_usable(job_memory_keys, broken))
    check_job_memory(document, found);
  ordered("memory.model_cache_bytes", "memory.worker_budget_bytes", true);
  ordered("breaker.close_below", "breaker.open_at", true);
  ordered("breaker.ease_at", "breaker.tighten_at", false);
  ordered("restart.backoff_initial_ms", "restart.backoff_max_ms", false);
  ordered("delivery.retry_backoff_ms", "delivery.retry_backoff_max_ms", false);
  ordered("judge.min_jobs", "judge.window_jobs", false);
  ordered("jobs.max_bytes", "jobs.max_in_flight_bytes", false);

  if (usable({"topics.jobs", "topics.results", "topics.dead_letters", "topics.events"})) {
    std::set<std::string> names;
    for (const auto* key :
         {"topics.jobs", "topics.results", "topics.dead_letters", "topics.events"}) {
      auto name = at(key).get<std::string>();
      if (name == "." || name == "..") {
        found.push_back({key, std::string{key} + ": Kafka has no topic of the name " + name});
        continue;
      }
      // Topics that differ only in '.' and '_' have one name in metrics: Kafka refuses the second.
      std::replace(name.begin(), name.end(), '.', '_');
      if (!names.insert(std::move(name)).second)
        found.push_back({key, std::string{key} + ": " + at(key).dump()
                                + " is the name of another topic already (Kafka takes . and _ for "
                                  "the same)"});
    }
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
