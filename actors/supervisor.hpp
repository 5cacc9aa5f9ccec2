#pragma once

#include "actors/reporter.hpp"
#include "actors/worker_host.hpp"
#include "supervision/oom_watch.hpp"
#include "supervision/pool/leak_desk.hpp"
#include "supervision/pool/served_version.hpp"
#include "supervision/pool/slot.hpp"
#include "supervision/pool/standby_supply.hpp"
#include "supervision/pool/worker.hpp"
#include "supervision/replacement_schedule.hpp"
#include "supervision/restart_intensity.hpp"
#include "supervision/restart_pause.hpp"

#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <deque>
#include <functional>
#include <type_traits>

namespace ziyu::actors {

struct supervisor_settings {
  std::string model; ///< Folder of the first model version.
  uint32_t slots = 1, standbys = 1;
  std::chrono::milliseconds start_timeout{60'000}, grace{2'000}, probe_interval{1'000};
  supervision::leak_judge::settings judge;
  supervision::healing_policy::settings healing;
  size_t restart_intensity = 10;
  std::chrono::milliseconds restart_period{60'000};
  std::chrono::milliseconds backoff_initial{50}, backoff_max{5'000};
  std::map<uint32_t, std::string> slot_faults;
  /// Whether leaks are explained by their call stacks, and how often for one slot.
  bool explain = true;
  std::chrono::milliseconds explain_interval{60'000};
  std::shared_ptr<worker_host> host;
  std::shared_ptr<reporter> report;
  dispatcher_actor dispatcher;
  /// Called when a fork server has loaded the model that slots want. Any thread.
  std::function<void(const events::model_version&)> on_model;
  /// Called once when the service can never work (e.g., no model). Any thread.
  std::function<void(error)> on_fatal;
};

/// A worker with what only the actor needs.
struct worker_entry : supervision::worker {
  using supervision::worker::worker;

  caf::actor channel;
  std::shared_ptr<worker_activity> activity = std::make_shared<worker_activity>();
  bool lone_jobs = false; ///< As its slot was told last.
};

struct supervisor_state {
  supervisor_state() = default;

  using slot = supervision::slot;
  using replacement = supervision::replacement;

  /// One of our own processes, judged like a worker by its private memory.
  struct own_process {
    explicit own_process(std::string what) : name(std::move(what)) {}
    std::string name; ///< "control" or "fork_server"
    int32_t pid = 0;
    uint64_t private_bytes = 0, jobs = 0;
    std::optional<supervision::leak_judge> judge;
    supervision::growth told = supervision::growth::warming_up;
  };

  /// A model version with what only the actor needs.
  struct version_entry : supervision::served_version {
    using supervision::served_version::served_version;
    own_process fork_server{"fork_server"};
    /// While it retires: from when on its fork server is killed.
    std::optional<std::chrono::steady_clock::time_point> stop_after;
  };

  /// Another version takes the place of the one that serves.
  struct rollout {
    uint64_t version = 0; ///< The new one.
    std::chrono::steady_clock::time_point began{};
    supervisor_status::rollout told;
  };

  // -- model versions and their fork servers (fork_servers.cpp)
  uint64_t add_version(std::string folder, bool on_trial); ///< Returns its number.
  version_entry* find_version(uint64_t number);
  version_entry* find_server(uint64_t number); ///< The version of this fork server.
  version_entry& version_of(const supervision::worker& x);
  bool is_server_up(const supervision::worker& x); ///< That forked it.
  version_entry& wanted_version();                 ///< That slots want.
  const version_entry& wanted_version() const;
  void start_server(uint64_t version);
  void obey(version_entry& of, supervision::fork_server_keeper::orders x);
  void on_server_frame(const server_frame& x);
  void on_server_ready(version_entry& of, const wire::server_ready& news);
  void on_server_failed(version_entry& of, const wire::server_failed& news);
  void on_spawned(const wire::spawned& news);
  void on_exited(const wire::exited& news);
  void on_server_closed(const server_closed& x);
  // -- roll-out of another model version (rollout.cpp)
  rollout_answer begin_rollout(const rollout_request& x);
  void promote(version_entry& x); ///< Slots change to it from now on.
  void reject(version_entry& x, const std::string& why);
  void follow_rollout();
  void doom_outdated(); ///< Workers of a version that their slots do not want.
  /// Whether no slot wants it and no process of it is left. Ends its fork server after its workers.
  bool has_ended(version_entry& x);
  // -- workers' lives (lives.cpp)
  void fill(); ///< Spawns what is missing.
  bool spawn(version_entry& of);
  std::vector<supervision::standby_supply::demand> demands();
  std::vector<supervision::standby_supply::candidate> candidates();
  void supply(); ///< Gives ready standbys to slots.
  void link(slot& where, worker_entry& x);
  void on_ready(worker_entry& x, const wire::ready& news);
  void on_switched(const slot_switched& x);
  void on_deadline(uint64_t worker);
  void end(worker_entry& x); ///< Soft, grace, hard.
  void kill(worker_entry& x, const error& why);
  /// Takes the slot from a worker that even SIGKILL has not ended yet.
  void abandon(worker_entry& x);
  /// Kills a standby that is stopped: it would take a slot and not answer.
  bool is_fit(worker_entry& x);
  // -- deaths (deaths.cpp)
  void on_channel_closed(const channel_closed& x);
  /// Checks whether the kernel killed it for lack of memory; then that is the cause of its death.
  void ask_the_kernel(worker_entry& x);
  /// Reports the replacement whose old worker is gone or given up.
  void finish_relieved(uint64_t old_worker);
  /// Notes the death of a worker that should have lived.
  void note_death(const supervision::worker& x, bool served);
  void on_death_verdict(const death_verdict& x);
  void escalate_deaths();
  void reap(uint64_t worker, const std::optional<wire::exited>& how);
  // -- memory (replacements.cpp)
  void on_job_done(const job_done& x);
  void on_trimmed(worker_entry& x, const wire::trimmed& news);
  void heal(worker_entry& x);
  void release(worker_entry& x); ///< Lets it go on if it is held.
  /// Begins the replacements that are due, those nearest to their budget first.
  void start_replacements();
  void begin_replacement(worker_entry& x);
  /// Reports the replacement of `slot` once the slot serves again and the old worker is gone.
  void finish_replacement(const replacement& done);
  events::evidence evidence_of(const worker_entry& x) const;
  supervision::cause_evidence counters_of(const worker_entry& x);
  // -- readings (readings.cpp)
  bool read_private(worker_entry& x); ///< The supervisor's own reading.
  void probe();
  /// Kills a worker whose reports of its memory contradict the supervisor's readings.
  void distrust(worker_entry& x);
  /// Has it held after its job when no recent reading found it idle.
  void look_closer(worker_entry& x);
  /// Judges our own processes.
  void watch_ourselves();
  bool watch_own(own_process& x, int32_t pid); ///< True: it has been found to grow.
  // -- reasons (explanations.cpp)
  void tell_worker(const worker_entry& x, wire::frame what);
  /// After a job: samples a suspect's allocations, and asks for its dump.
  void watch_allocations(worker_entry& x);
  bool wants_dump(const worker_entry& x) const; ///< Before it ends.
  void on_profiled(worker_entry& x, const wire::profiled& news);
  void explain(const worker_entry& x, const wire::profiled& news);
  void follow_explanations();
  void give_up_explanations();
  void finish_explanation(const expected<supervision::leak_report>& found);
  void emit(std::vector<events::body> news);
  // -- the rest
  void on_tick();
  void finish_drain_if_gone();
  void stop_servers(bool kill);
  void give_up(error why); ///< The service can never work.
  void trigger(supervision::circuit_breaker::trigger which, bool raised, std::string reason = {},
               supervision::circuit_breaker::numbers values = {});
  supervisor_status status() const;
  worker_entry* find(uint64_t id);
  uint32_t replacing() const;
  uint64_t slots_held() const;

  supervisor_actor::pointer self = nullptr;
  supervisor_settings settings;
  std::optional<supervision::healing_policy> policy;
  std::optional<supervision::restart_intensity> intensity;
  std::optional<supervision::restart_pause> worker_backoff;
  supervision::oom_watch ooms;
  std::vector<slot> slots;
  std::vector<inference_actor> inferences; ///< By slot.
  std::map<uint64_t, worker_entry> workers;
  std::vector<replacement> relieved; ///< Switched; their old workers are ending.
  uint64_t next_worker = 1;

  std::map<uint64_t, version_entry> versions; ///< By number. One of them is wanted by all slots.
  uint64_t next_version = 1, next_server = 1;
  uint64_t wanted = 0;              ///< Number of the version that slots want.
  std::optional<rollout> under_way; ///< Until no process of the version that it ends is left.
  std::optional<supervisor_status::rollout> latest_rollout; ///< That is over.

  std::chrono::steady_clock::time_point spawn_after{}; ///< Backoff after deaths.
  /// No standby is forked before, unless a slot waits for one.
  std::chrono::steady_clock::time_point refill_after{};
  std::chrono::steady_clock::time_point next_probe{};
  bool intensity_exceeded = false;
  std::optional<supervision::leak_desk> desk;
  own_process control{"control"};
  uint64_t jobs_done = 0; ///< By all workers.
  std::string trouble;    ///< Why no worker can serve, besides the fork server's trouble.
  supervision::container_memory container;
  uint64_t replacements = 0;
  bool draining = false;
  bool given_up = false;
  std::chrono::steady_clock::time_point kill_at{};
  caf::typed_response_promise<bool> drained;
  static inline const char* name = "supervisor";
};

static_assert(!std::is_aggregate_v<supervisor_state>);

/// Returns the behavior of the SUPERVISOR actor; spawns one INFERENCE actor per slot
/// with `make_inference`. Sends itself a tick each 50 ms.
supervisor_actor::behavior_type supervisor(
  supervisor_actor::stateful_pointer<supervisor_state> self, supervisor_settings settings,
  std::function<inference_actor(uint32_t slot, supervisor_actor)> make_inference);

} // namespace ziyu::actors
