#pragma once

#include "actors/service_core.hpp"
#include "actors/source.hpp"
#include "tests/simulation/clients.hpp"
#include "tests/simulation/workers.hpp"

#include <caf/actor_system.hpp>

namespace ziyu::simulation {

inline constexpr uint64_t max_bytes_in_flight = 6 * mib;
inline constexpr size_t restart_intensity = 5;
inline constexpr std::chrono::seconds restart_period{5};

/// Wrappers between the actors and the simulation that break a promise of a port.
struct port_wrappers {
  std::function<std::unique_ptr<messaging::consumer>(std::unique_ptr<messaging::consumer>)>
    consumer;
  std::function<expected<std::unique_ptr<messaging::producer>>(
    actors::producer_factory make, messaging::producer::report_handler report)>
    producer;
  std::function<void(actors::supervisor_settings&)> supervisor; ///< Not a port: its settings.
  /// Not a port: what it does to a dispatcher's state before each message and each task.
  std::function<void(actors::dispatcher_state&)> dispatcher;
  std::function<void(std::vector<actors::stop_stage>&)> stop; ///< Not a port: its stages.
};

/// One life of one service: the real `actors::service_core` over simulated ports.
class service {
public:
  enum class phase : uint8_t { running, draining, drained, stopping, ended };

  /// @param place The service's number, the same over all of its lives.
  /// @param env Outlives the actors, some of which outlive the service by a message.
  service(timeline& time, broker& where, caf::actor_system& sys, const port_wrappers& wrappers,
          uint64_t number, uint64_t place, environment& env);
  ~service();

  /// SIGTERM.
  void stop();
  /// SIGUSR1: leaves its group for maintenance.
  void begin_maintenance();
  /// SIGUSR2: joins it again; waits for the end of `begin_maintenance`.
  void end_maintenance();
  /// An operator has another version of the model roll out.
  void roll_out(uint64_t version);
  phase state() const { return phase_; }
  /// The service has found that it can never work, and would end.
  bool has_given_up() const { return gave_up_; }

  /// The poll thread stands still.
  void stall(int64_t ms) { stalled_until_us_ = time_.now() + ms * 1'000; }
  void evict();
  void break_consumer();
  void refetch();
  void get_stuck(uint64_t which, bool for_good);
  simulated_workers& workers() { return *workers_; }
  uint64_t openings() const { return openings_; }       ///< Of its breaker.
  uint64_t resumptions() const { return resumptions_; } ///< After maintenance.
  uint64_t rollouts() const { return rollouts_; }       ///< That ended well.

  /// Checks what must hold at any moment.
  void check();
  /// Checks what must hold when there is nothing to do.
  void check_rest();
  /// Whether there is nothing to do, and everything is in order.
  bool is_whole() const;
  std::string describe() const; ///< For people.

private:
  class source_port;

  actors::service_settings to_service_settings();
  actors::producer_factory producers();
  actors::transactional_producer_factory transactional_producers();
  actors::supervisor_settings to_supervisor_settings();
  void watch_actors();
  void watch_jobs();
  expected<void> store(const messaging::topic_partition& at, const messaging::commit_point& point);
  void open_source();
  void poll_later(int64_t us);
  void poll();
  void open_consumer();
  void close_consumer();
  void check_ledger(const char* when, bool at_rest);
  uint64_t set_aside_jobs() const; ///< They hold no credit.
  void check_bounds();
  void check_polls();
  void check_not_finished_before(const actors::job_entry& x, const char* what);
  const actors::job_entry* running_at(uint32_t slot, const messaging::record_id& id) const;
  void check_suspects(uint32_t slot, const messaging::record& begun, size_t batch);
  void check_blame();
  bool serve_stop(bool go_on);
  void leave();
  void run_stages(std::vector<actors::stop_stage> stages, phase present);
  void finish_drain();
  void resume();
  void check_stage(const events::stop_stages::stage& x);
  void check_committed(const events::stop_stages& x);

  timeline& time_;
  broker& broker_;
  caf::actor_system& sys_;
  const port_wrappers& wrappers_;
  uint64_t number_, place_;
  lifetime life_;
  std::shared_ptr<bool> dead_ = std::make_shared<bool>(false);
  environment& env_;
  std::shared_ptr<actors::reporter> report_;
  std::shared_ptr<simulated_workers> workers_;
  std::optional<actors::service_core> core_;
  std::shared_ptr<source_port> source_;
  actors::dispatcher_state* dispatcher_state_ = nullptr;
  actors::supervisor_state* supervisor_state_ = nullptr;
  actors::publisher_state* events_state_ = nullptr;
  actors::transactional_publisher_state* transactions_state_ = nullptr; ///< Null without.
  std::shared_ptr<assignments> assignments_ = std::make_shared<assignments>();
  std::unique_ptr<messaging::consumer> consumer_;
  simulated_consumer* inner_ = nullptr; ///< Inside of `consumer_`.
  messaging::stall_watchdog watchdog_{actors::stall_patience};
  std::optional<actors::source_loop> loop_;
  std::optional<supervision::backoff> reopen_;
  int64_t stalled_until_us_ = 0;
  phase phase_ = phase::running;
  /// What the stop program waits for; of the poll thread.
  std::function<void()> commit_, close_;
  bool closed_ = false; ///< There is no consumer any more, until maintenance has ended.
  bool stages_over_ = false;
  bool to_stop_ = false, to_resume_ = false;       ///< At the end of what is under way.
  using assignment = std::pair<int32_t, uint64_t>; ///< A partition, and its epoch.
  std::set<assignment> left_;                      ///< What the consumer had until it was closed.
  std::map<assignment, int64_t> progress_; ///< The offset that each stored last in the stop.
  std::string version_ = "1";              ///< Of the model that slots want.
  bool gave_up_ = false, was_open_ = false, was_blamed_ = false;
  uint64_t openings_ = 0, resumptions_ = 0, rollouts_ = 0;
  using attempted = std::pair<messaging::record_id, uint64_t>; ///< …and its epoch.
  std::map<uint32_t, std::set<attempted>> at_work_;            ///< By slot.
  std::set<attempted> suspects_; ///< A worker has ended with it, and none has answered since.
};

} // namespace ziyu::simulation
