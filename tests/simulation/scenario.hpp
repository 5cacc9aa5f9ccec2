#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ziyu::simulation {

/// The faults. Their names are those of `--without`.
enum class fault : uint8_t {
  // -- the service
  service_kill, ///< Its process dies, and all state with it; another one starts.
  service_stop, ///< SIGTERM; another one starts.
  maintenance,  ///< SIGUSR1, and SIGUSR2 later.
  slow_actors,  ///< Time passes while messages wait.
  // -- workers and fork server
  worker_kill,     ///< Any worker dies, at any moment.
  job_crash,       ///< A worker dies in a job, before or just after its answer.
  job_hang,        ///< No answer.
  job_slow,        ///< An answer just before the deadline.
  garbage,         ///< Invalid bytes instead of an answer.
  lies,            ///< Answers twice, late, or to another attempt.
  leak,            ///< Live bytes grow with each job.
  hoard,           ///< Private bytes grow with each job, live bytes do not.
  jump,            ///< One job takes more than the hard limit.
  misreport,       ///< Reports less memory than it has.
  server_death,    ///< The fork server dies.
  server_stuck,    ///< It lives, but does not fork.
  rollout,         ///< Another version of the model is to serve, which may be unfit.
  spawn_failure,   ///< A fork fails, or its worker dies or hangs before it is ready.
  hand_over_death, ///< A worker dies when it is given to its slot.
  ignores_stop,    ///< Only SIGKILL ends a worker.
  // -- Kafka
  rebalance,        ///< Partitions change owners.
  eviction,         ///< A member is evicted without knowing it at once.
  poll_stall,       ///< The poll thread stands still for seconds.
  consumer_fatal,   ///< The consumer is unusable and has to be made anew.
  refetch,          ///< Records come a second time.
  fetch_stuck,      ///< A partition brings nothing until a seek, or only to a fresh consumer.
  broker_down,      ///< No broker can be reached for seconds.
  coordinator_loss, ///< No commits are accepted for seconds.
  leader_loss,      ///< A partition brings nothing for seconds, and its end is not known.
  slow_broker,      ///< Delivery takes seconds.
  delivery_failure, ///< A record is not written, and the report says so.
  lost_report,      ///< A record is written, and the report says that it is not.
  producer_fatal,   ///< The producer is unusable and has to be made anew.
  producer_full,    ///< The producer's queue is full.
  producer_missing, ///< No producer can be made.
  // -- the machine and the jobs
  memory_pressure, ///< The container is nearly full for seconds.
  bad_input,       ///< Tombstones, empty images, announced sizes beyond all bounds.
  poison,          ///< Jobs that kill or hang each worker that they meet.
  deadly,          ///< A job that kills each service that begins it.
  duplicate_id,    ///< Two records carry one job id.
  count
};

inline constexpr size_t fault_count = static_cast<size_t>(fault::count);

std::string_view to_string(fault x) noexcept;
std::optional<fault> parse_fault(std::string_view name) noexcept;

/// Everything that a run depends on, besides the code.
struct scenario {
  uint64_t seed = 1;
  uint32_t services = 1;   ///< In one consumer group.
  uint32_t partitions = 2; ///< Of the jobs' topic.
  uint32_t slots = 2;      ///< Of each service.
  uint32_t jobs = 30;
  uint32_t fault_ms = 10'000; ///< Faults occur for so long (virtual time).
  bool cooperative = true;    ///< How the group rebalances; else eagerly.
  bool stops_at_end = false;  ///< Ends with SIGTERM to all.
  bool exactly_once = false;  ///< Results and offsets in transactions.
  uint32_t max_batch = 1;     ///< The most jobs of an attempt.
  uint8_t order = 0;          ///< As `actors::ordering`: none, by key, by partition.
  std::bitset<fault_count> faults;

  /// The scenario of a seed. Each has its own selection of faults, as some hide others.
  static scenario of(uint64_t seed);

  bool has(fault x) const { return faults.test(static_cast<size_t>(x)); }

  /// The arguments with which `bench/simulate` runs exactly this.
  std::string arguments() const;
};

} // namespace ziyu::simulation
