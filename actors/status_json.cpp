#include "actors/status_json.hpp"

#include "messaging/events/event.hpp"

namespace ziyu::actors {

namespace {

nlohmann::json to_json(const supervisor_status::forks& x) {
  return {{"pid", x.pid}, {"up", x.up}, {"ready", x.ready}, {"number", x.number}};
}

std::string_view to_string(supervisor_status::rollout::phase x) {
  using phase = supervisor_status::rollout::phase;
  return x == phase::under_way ? "under_way" : x == phase::finished ? "finished" : "rejected";
}

} // namespace

nlohmann::json models_json(const supervisor_status& x) {
  auto models = nlohmann::json::array();
  for (const auto& each : x.versions) {
    auto item = each.model ? events::to_json(*each.model) : nlohmann::json::object();
    item["folder"] = each.folder;
    item["state"] = to_string(each.phase);
    item["fork_server"] = to_json(each.fork_server);
    models.push_back(std::move(item));
  }
  nlohmann::json result{{"models", std::move(models)}, {"rollout", nullptr}};
  if (const auto& latest = x.latest_rollout)
    result["rollout"] = {
      {"folder", latest->folder}, {"state", to_string(latest->state)}, {"reason", latest->reason}};
  return result;
}

nlohmann::json workers_json(const supervisor_status& x) {
  auto workers = nlohmann::json::array();
  for (const auto& each : x.workers) {
    auto item = events::to_json(each.evidence);
    item["state"] = to_string(each.phase);
    item["worker"] = each.id;
    item["held"] = each.held;
    if (each.evidence.generation == 0) { // it has no slot yet
      item.erase("slot");
      item.erase("generation");
    }
    workers.push_back(std::move(item));
  }
  auto processes = nlohmann::json::array();
  for (const auto& each : x.processes)
    processes.push_back({{"name", each.name},
                         {"pid", each.pid},
                         {"private_bytes", each.private_bytes},
                         {"verdict", to_string(each.verdict)}});
  return {{"workers", std::move(workers)},
          {"replacements", x.replacements},
          {"processes", std::move(processes)},
          {"fork_server", to_json(x.fork_server)}};
}

} // namespace ziyu::actors
