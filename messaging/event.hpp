#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace ziyu::messaging {

/// Something that happened to the service, for the topic `ziyu.events` (schema
/// `configs/event.schema.json`, "ziyu.event.v1"), the log and the metrics.
/// Types: service_started, service_stopping, service_stopped, worker_started,
/// worker_ready, leak_suspected, leak_confirmed, leak_report, worker_trimmed,
/// worker_replaced, worker_died, worker_killed, fork_server_started,
/// fork_server_died, restart_intensity_exceeded, breaker_opened, breaker_half_open,
/// breaker_closed, broker_unavailable, broker_available, partitions_assigned,
/// partitions_revoked, commit_map_refused, ledger_imbalance, consumer_stalled,
/// dead_lettered, self_growth, breaker_forced_open, breaker_disabled,
/// memory_pressure, maintenance_began, maintenance_ended, publication_set_aside,
/// publication_resumed, records_lost_to_retention,
/// growth_confirmed, growth_ended.
struct event {
  std::string type;
  int64_t time_ms = 0;                              ///< Wall clock.
  std::string instance;                             ///< Which Ziyu: host name and pid.
  nlohmann::json detail = nlohmann::json::object(); ///< Named values with units in the names.
};

nlohmann::json to_json_value(const event& x);

} // namespace ziyu::messaging
