#pragma once

#include "actors/dispatcher.hpp"
#include "actors/inference.hpp"
#include "actors/publisher.hpp"
#include "actors/record_source.hpp"
#include "actors/stop_program.hpp"
#include "actors/supervisor.hpp"
#include "actors/transactional_publisher.hpp"

#include <caf/fwd.hpp>

#include <functional>
#include <mutex>
#include <optional>
#include <vector>

namespace ziyu::actors {

/// The settings and ports of the actors of a service. `service_core` fills in what the actors need
/// of each other: credit, reporter, neighbours, `store` and `membership`; and what must be the same
/// for several of them: the number of slots (that of `pool`), the job's timeout (that of `jobs`),
/// and the judge's budget and workers.
struct service_settings {
  intake::limits credit;
  dispatcher_settings jobs;
  /// Publishes events; results and dead letters, too, unless `transactions` is set.
  publisher_settings records;
  /// Set: results, dead letters and offsets are committed in transactions.
  std::optional<transactional_publisher_settings> transactions;
  supervisor_settings pool;
  inference_settings slot;
  /// Whether the decoder, which may block on the file of a claim check, has a thread of its own.
  bool decoder_has_thread = false;
  /// Spawns the actor of a slot; unset: `inference`.
  std::function<inference_actor(const inference_settings&)> spawn_slot;
};

/// The actors of one service and how they are wired: everything but the consumer, the HTTP server
/// and signals. `serve`, the benchmarks, the simulation and the whole-service test run this.
/// Thread-safe, except for the constructor and `end`.
class service_core {
public:
  /// Spawns the actors. Workers start at once, records come with `attach`.
  service_core(caf::actor_system& system, std::shared_ptr<reporter> report, service_settings x);

  service_core(const service_core&) = delete;
  service_core& operator=(const service_core&) = delete;

  /// Requires that `end` was called.
  ~service_core();

  const dispatcher_actor& dispatcher() const { return dispatcher_; }
  const supervisor_actor& supervisor() const { return supervisor_; }
  /// Publishes results and dead letters; without transactions the same as `events`.
  const publisher_actor& publisher() const { return publisher_; }
  const publisher_actor& events() const { return events_; }
  const std::shared_ptr<intake>& credit() const { return credit_; }

  /// From now on progress goes to `x`, which sends its records to `dispatcher`. The caller keeps
  /// `x` until stages that close it have ended. At most one source is attached at a time.
  void attach(const std::shared_ptr<record_source>& x);

  using on_stage = std::function<void(const events::stop_stages::stage&)>;
  using on_end = std::function<void(events::stop_stages)>;

  /// Runs these stages: `stages_of_stop`, or `stages_out_of_group` for maintenance, after which the
  /// workers stay. `ended` is called once, by an actor's thread.
  void run_stages(std::vector<stop_stage> stages, on_stage each, on_end ended);

  /// Takes jobs again after maintenance, once an attempt that outlived the drain has ended: its
  /// record must not be fetched again before. `done` is called once, by an actor's thread: false
  /// when a drain began meanwhile, or after the deadline of any attempt. After true, a new source
  /// may be attached.
  void resume(std::function<void(bool)> done);

  /// Tells all actors to end and drops their handles. Returns what the caller may wait for.
  std::vector<caf::actor> end();

private:
  /// The present source, for the dispatcher: weak, as a source has a handle to the dispatcher.
  class source_holder {
  public:
    void set(const std::shared_ptr<record_source>& x);
    std::shared_ptr<record_source> get() const; ///< Null: none.

  private:
    mutable std::mutex mutex_;
    std::weak_ptr<record_source> source_;
  };

  /// Spawns the dispatcher, and with it the others.
  void spawn_all(service_settings x);
  void connect_to_source(dispatcher_settings& x);
  void spawn_publishers(publisher_settings records,
                        std::optional<transactional_publisher_settings> transactions);
  void spawn_supervisor(supervisor_settings pool, inference_settings slot,
                        std::function<inference_actor(const inference_settings&)> spawn_slot);

  caf::actor_system& system_;
  std::shared_ptr<reporter> report_;
  std::shared_ptr<intake> credit_;
  std::shared_ptr<source_holder> source_ = std::make_shared<source_holder>();
  std::chrono::milliseconds job_timeout_;
  decoder_actor decoder_;
  dispatcher_actor dispatcher_;
  publisher_actor publisher_, events_;
  supervisor_actor supervisor_;
};

} // namespace ziyu::actors
