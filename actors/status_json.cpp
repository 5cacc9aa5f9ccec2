#include "actors/status_json.hpp"

#include "messaging/events/event.hpp"

namespace ziyu::actors {

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
          {"fork_server",
           {{"pid", x.fork_server.pid},
            {"up", x.fork_server.up},
            {"ready", x.fork_server.ready},
            {"number", x.fork_server.number}}}};
}

} // namespace ziyu::actors
