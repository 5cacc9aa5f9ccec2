#include "configs/rules.hpp"

#include <algorithm>
#include <array>
#include <set>

namespace ziyu::configs {

namespace {

using nlohmann::json;

/// A librdkafka property and the only values that we can live with.
struct reserved_property {
  std::string_view name;
  std::string_view allowed[3]; ///< None: not to be set at all.
  std::string_view reason;
  std::string_view forbidden = {}; ///< If given, only this value is refused.
};

// Boolean texts of librdkafka: "true", "t", "1".
constexpr std::array reserved{
  reserved_property{
    "enable.auto.offset.store",
    {"false", "f", "0"},
    "offsets are stored only when the result has been acknowledged, or a crash would lose jobs"},
  reserved_property{
    "enable.auto.commit", {"true", "t", "1"}, "ziyu commits what it has stored by this mechanism"},
  reserved_property{"auto.commit.interval.ms", {}, "0 would switch commits off", "0"},
  reserved_property{
    "acks", {"all", "-1"}, "a result must be on all in-sync replicas before its job is done"},
  reserved_property{"request.required.acks",
                    {"all", "-1"},
                    "a result must be on all in-sync replicas before its job is done"},
  reserved_property{"enable.idempotence",
                    {"true", "t", "1"},
                    "a retry inside librdkafka would publish a result twice"},
  reserved_property{"transactional.id", {}, "ziyu does not use transactions"},
  reserved_property{"enable.partition.eof", {}, "ziyu sets it itself"},
  reserved_property{"delivery.report.only.error",
                    {"false", "f", "0"},
                    "without delivery reports no job would ever be done"},
  reserved_property{"dr_msg_cb", {}, "ziyu sets it itself"},
  reserved_property{"dr_cb", {}, "ziyu sets it itself"},
  reserved_property{"rebalance_cb", {}, "ziyu sets it itself"},
  reserved_property{"opaque", {}, "ziyu sets it itself"},
};

std::string text_of(const json& x) { return x.is_string() ? x.get<std::string>() : x.dump(); }

void check_properties(const json& map, const std::string& path, std::vector<violation>& found) {
  if (!map.is_object())
    return;
  for (const auto& [key, value] : map.items()) {
    const auto i = std::find_if(reserved.begin(), reserved.end(),
                                [&k = key](const auto& x) { return x.name == k; });
    if (i == reserved.end() || (!i->forbidden.empty() && text_of(value) != i->forbidden)
        || std::any_of(std::begin(i->allowed), std::end(i->allowed),
                       [text = text_of(value)](auto x) { return !x.empty() && x == text; }))
      continue;
    const auto full = path + "." + key;
    found.push_back({full, full + "=" + text_of(value) + " is refused: " + std::string{i->reason}});
  }
}

} // namespace

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
  ordered("restart.backoff_initial_ms", "restart.backoff_max_ms", false);
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
  if (const auto kafka = document.find("kafka"); kafka != document.end() && kafka->is_object()) {
    check_properties(*kafka, "kafka", found);
    for (const auto* part : {"consumer", "producer"})
      if (kafka->contains(part))
        check_properties((*kafka)[part], std::string{"kafka."} + part, found);
  }
  return found;
}

} // namespace ziyu::configs
