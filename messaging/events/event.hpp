#pragma once

#include "base/error.hpp"
#include "messaging/events/kafka_events.hpp"
#include "messaging/events/service_events.hpp"
#include "messaging/events/worker_events.hpp"

#include <span>
#include <variant>

namespace ziyu::events {

/// What happened to the service. The order of the alternatives is that of the documentation.
using body =
  std::variant<service_started, service_stopping, service_stopped, maintenance_began,
               maintenance_ended, fork_server_started, fork_server_died, package_refused,
               worker_started, leak_suspected, growth_confirmed, growth_ended, leak_confirmed,
               leak_report, self_growth, worker_trimmed, worker_replaced, worker_killed,
               worker_died, rollout_started, rollout_rejected, rollout_finished,
               restart_intensity_exceeded, breaker_opened, breaker_half_open, breaker_closed,
               breaker_forced_open, breaker_disabled, memory_pressure, broker_unavailable,
               broker_available, partitions_assigned, partitions_revoked, commit_map_refused,
               consumer_stalled, publication_set_aside, publication_resumed,
               records_lost_to_retention, ledger_imbalance, dead_lettered>;

/// A record of the event topic: schema `configs/event.schema.json`, "ziyu.event.v1".
struct event {
  int64_t time_ms = 0;  ///< Wall clock.
  std::string instance; ///< Which Ziyu: host name and pid.
  events::body body;
};

/// The types of all events, in the order of `body`.
std::span<const std::string_view> types();

std::string_view type_of(const body& x);
severity level_of(const body& x);

/// The event's own values, an object. Text may be any bytes: dump it with `replace`.
nlohmann::json detail_of(const body& x);

nlohmann::json to_json(const model_version& x);
nlohmann::json to_json(const evidence& x);
nlohmann::json to_json(const std::vector<site>& x);
nlohmann::json to_json(const event& x);

/// Reads a record that may be of another version: unknown values are ignored, and missing ones
/// keep their defaults. `unknown_schema` when it is no event, or one of an unknown type.
expected<event> event_from_json(const nlohmann::json& x);

} // namespace ziyu::events
