#include "tests/simulation/scenario.hpp"

#include "tests/simulation/dice.hpp"

#include <array>

namespace ziyu::simulation {

namespace {

constexpr std::array<std::string_view, fault_count> names{"service_kill",
                                                          "service_stop",
                                                          "maintenance",
                                                          "slow_actors",
                                                          "worker_kill",
                                                          "job_crash",
                                                          "job_hang",
                                                          "job_slow",
                                                          "garbage",
                                                          "lies",
                                                          "leak",
                                                          "hoard",
                                                          "jump",
                                                          "misreport",
                                                          "server_death",
                                                          "server_stuck",
                                                          "rollout",
                                                          "spawn_failure",
                                                          "hand_over_death",
                                                          "ignores_stop",
                                                          "rebalance",
                                                          "eviction",
                                                          "poll_stall",
                                                          "consumer_fatal",
                                                          "refetch",
                                                          "fetch_stuck",
                                                          "broker_down",
                                                          "coordinator_loss",
                                                          "leader_loss",
                                                          "slow_broker",
                                                          "delivery_failure",
                                                          "lost_report",
                                                          "producer_fatal",
                                                          "producer_full",
                                                          "producer_missing",
                                                          "memory_pressure",
                                                          "bad_input",
                                                          "poison",
                                                          "deadly",
                                                          "duplicate_id"};

} // namespace

std::string_view to_string(fault x) noexcept { return names[static_cast<size_t>(x)]; }

std::optional<fault> parse_fault(std::string_view name) noexcept {
  for (size_t i = 0; i < fault_count; ++i)
    if (names[i] == name)
      return static_cast<fault>(i);
  return std::nullopt;
}

scenario scenario::of(uint64_t seed) {
  dice d{seed, "scenario"};
  scenario x;
  x.seed = seed;
  const auto group = d.below(20);
  x.services = group < 12 ? 1 : group < 19 ? 2 : 3;
  x.partitions = static_cast<uint32_t>(d.between(1, 4));
  x.slots = static_cast<uint32_t>(d.between(1, 3));
  x.jobs = static_cast<uint32_t>(d.between(8, 40));
  x.fault_ms = static_cast<uint32_t>(d.between(2'000, 15'000));
  x.cooperative = d.one_in(2);
  x.stops_at_end = d.one_in(3);
  // A few faults at a time in most seeds, many in some.
  const auto rarity = static_cast<uint64_t>(d.between(2, 8));
  for (size_t i = 0; i < fault_count; ++i)
    x.faults.set(i, d.one_in(rarity));
  x.exactly_once = d.one_in(3);
  x.order = static_cast<uint8_t>(d.below(3));
  x.max_batch = d.one_in(2) ? 1 : static_cast<uint32_t>(d.between(2, 4));
  return x;
}

std::string scenario::arguments() const {
  const auto usual = of(seed);
  auto text = "--first " + std::to_string(seed) + " --seeds 1";
  auto add = [&](const char* name, uint32_t mine, uint32_t theirs) {
    if (mine != theirs)
      text += std::string{" "} + name + " " + std::to_string(mine);
  };
  add("--services", services, usual.services);
  add("--partitions", partitions, usual.partitions);
  add("--slots", slots, usual.slots);
  add("--jobs", jobs, usual.jobs);
  add("--fault-ms", fault_ms, usual.fault_ms);
  add("--max-batch", max_batch, usual.max_batch);
  std::string without;
  for (size_t i = 0; i < fault_count; ++i)
    if (usual.faults.test(i) && !faults.test(i))
      without += (without.empty() ? "" : ",") + std::string{names[i]};
  if (!without.empty())
    text += " --without " + without;
  return text;
}

} // namespace ziyu::simulation
