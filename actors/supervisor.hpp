#pragma once

#include "actors/reporter.hpp"
#include "actors/worker_host.hpp"
#include "supervision/backoff.hpp"
#include "supervision/growth_history.hpp"
#include "supervision/healing_policy.hpp"
#include "supervision/oom_watch.hpp"
#include "supervision/replacement_schedule.hpp"
#include "supervision/restart_intensity.hpp"
#include "supervision/restart_pause.hpp"
#include "supervision/stack_book.hpp"

#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <deque>
#include <functional>
#include <type_traits>

namespace ziyu::actors {

struct supervisor_settings {
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
  /// Called when a fork server has loaded its model. Any thread.
  std::function<void(const messaging::model_identity&)> on_model;
  /// Called once when the service can never work (e.g., no model). Any thread.
  std::function<void(error)> on_fatal;
};

/// One worker process as the supervisor sees it.
struct worker_entry {
  enum class phase : uint8_t {
    spawning, ///< The fork server has been asked.
    warming,  ///< Forked; its first inference is not finished.
    standby,  ///< Ready; serves no slot.
    linked,   ///< Given to a slot that has not switched to it yet.
    serving,
    ending, ///< Told to stop, or killed.
  };

  uint64_t id = 0;
  int32_t pid = 0;
  phase state = phase::spawning;
  caf::actor channel;
  uint32_t slot = 0;
  uint64_t generation = 0;
  uint64_t baseline_bytes = 0, private_bytes = 0, live_bytes = 0, peak_bytes = 0;
  uint64_t live_baseline = 0; ///< Live bytes when it was ready.
  uint64_t present_bytes = 0; ///< Private memory at present, with that of a running job.
  uint64_t step_bytes = 0;    ///< The largest amount that one of its latest jobs has added.
  /// private − anonymous while its fork server lived; unchanged afterwards. The kernel counts pages
  /// that no other process has any more as private, but they are no growth.
  int64_t private_offset = 0;
  uint64_t server = 0; ///< Number of the fork server that forked it.
  std::shared_ptr<worker_activity> activity = std::make_shared<worker_activity>();
  bool seen_idle = false;       ///< No job ran during the latest reading.
  uint64_t seen_moment = 0;     ///< Its activity's `moment` at that reading.
  uint64_t reported_moment = 0; ///< Its activity's `moment` at its latest report.
  uint64_t comparable_from = 0; ///< Earlier reports may be older than its latest trim.
  uint32_t probes_in_jobs = 0;  ///< Probes in a row that fell into jobs.
  /// Of the GPU, as it reports them: there is no other source. Reserved bytes when it was ready.
  uint64_t gpu_allocated = 0, gpu_reserved = 0, gpu_baseline = 0;
  uint64_t jobs = 0;
  int64_t last_delta = 0;
  std::optional<supervision::leak_judge> judge;
  supervision::growth told = supervision::growth::warming_up; ///< As in the latest event.
  double encoded_sum = 0, decoded_sum = 0;                    ///< Over its jobs.
  struct point {
    uint64_t job;
    int64_t delta;
    uint64_t decoded, live, private_bytes;
  };
  static constexpr size_t recent_limit = 64;
  std::deque<point> recent; ///< Its latest jobs.
  bool trimmed = false, trimming = false;
  uint64_t before_trim = 0; ///< Private memory when its trim was decided.
  std::string doomed;       ///< Why it will be replaced, once that is decided.
  bool at_budget = false;   ///< Doomed, and its next job may reach the budget.
  bool held = false;        ///< Its next job may reach the budget: it gets no job.
  double chance = 0;        ///< A random number for the jitter of its replacement.
  int64_t serving_since_us = 0;
  /// Sampling of its allocations, to explain a leak.
  enum class sampling_phase : uint8_t { off, asked, on, dumping };
  sampling_phase sampled = sampling_phase::off;
  uint64_t sampled_from = 0;                       ///< Its number of jobs when sampling began.
  uint64_t sampled_from_live = 0;                  ///< Its live bytes then.
  std::chrono::steady_clock::time_point dump_by{}; ///< Deadline of the dump.
  bool end_after_dump = false;                     ///< Another worker serves its slot.
  bool dumped = false;                             ///< For a report, while it served.
  bool sampled_enough = false;                     ///< Not to be sampled again.
  uint64_t reported_anonymous = 0;                 ///< As reported after its latest job.
  uint64_t seen_anonymous = 0;                     ///< As the supervisor has read it.
  uint64_t seen_swapped = 0;                       ///< The part of it that is not resident.
  uint32_t lies = 0;                               ///< Reports in a row that contradict ours.
  bool closed = false;                             ///< Its channel is closed.
  uint32_t gone_ticks = 0;                         ///< Ticks since its process was seen ended.
  bool expected_end = false;                       ///< We ended it: no restart is counted.
  std::optional<error> killed;                     ///< Why we, or the kernel, killed it.
  bool oom_killed = false;                         ///< For lack of memory, by the counter.
  bool grace_over = false;                         ///< SIGKILL was sent at the end of its grace.
  std::shared_ptr<const messaging::model_identity> model; ///< That it was forked with.

  /// Pearson's correlation over `recent`; 0 when one of the two does not vary.
  double delta_image_correlation() const;
};
std::string_view to_string(worker_entry::phase x) noexcept;

/// The replacement of a slot's worker: wanted, then switched, then done when the old worker is
/// gone.
struct replacement {
  uint32_t slot = 0;
  uint64_t old_worker = 0;
  std::string cause, reason;
  int64_t decided_us = 0;
  uint64_t old_private = 0;
  int64_t switched_us = 0; ///< When it switched; the members below are of that moment.
  uint64_t new_generation = 0;
  int32_t new_pid = 0;
  uint64_t new_private = 0;
  nlohmann::json evidence; ///< Becomes the event's detail.
};

struct supervisor_state {
  supervisor_state() = default;

  struct slot {
    inference_actor actor;
    uint64_t generation = 0;
    uint64_t worker = 0;               ///< The worker that serves the slot; 0: none.
    uint64_t linked = 0;               ///< The worker on its way to the slot; 0: none.
    std::optional<replacement> wanted; ///< Waits for a standby and the switch.
    uint64_t replacements = 0;
    supervision::growth_history history;
  };

  /// The cause of the growth of one generation of a slot's worker.
  struct leak_name {
    uint64_t generation = 0;
    std::string cause;  ///< Empty: its stacks are not known.
    std::string report; ///< The report with the numbers; may be of another worker; may be empty.
    nlohmann::json sites;
    double bytes_per_job = 0; ///< Of that generation.
  };

  /// A heap dump of a slot's worker that a helper reads or will read.
  struct explanation {
    uint32_t slot = 0;
    uint64_t generation = 0;
    std::string report; ///< The report's id.
    double bytes_per_job = 0;
    bool recognised = false;           ///< The report is only for its numbers.
    supervision::leak_request request; ///< Kept until it is handed to a helper.
    std::optional<uint64_t> number;    ///< The host's number, once it is handed over.
    nlohmann::json detail;             ///< The worker's figures when it was dumped.
    std::chrono::steady_clock::time_point give_up_at{};
    int64_t asked_us = 0;
    std::vector<nlohmann::json> waiting; ///< Replacements that wait for its cause.
  };

  /// The latest leak of a slot that has a report.
  struct known_leak {
    leak_name name;
    double bytes_per_job = 0;
    std::chrono::steady_clock::time_point when{};
  };

  /// One of our own processes, judged like a worker by its private memory.
  struct own_process {
    explicit own_process(std::string what) : name(std::move(what)) {}
    std::string name; ///< "control" or "fork_server"
    int32_t pid = 0;
    uint64_t private_bytes = 0, jobs = 0;
    std::optional<supervision::leak_judge> judge;
    supervision::growth told = supervision::growth::warming_up;
  };

  // -- fork server (supervisor.cpp)
  void start_server();
  void on_server_frame(const server_frame& x);
  void on_server_closed(const server_closed& x);
  void note_server_death(); ///< It died unasked: starts another, later with each death.
  void trust_server();      ///< When it has lived for a while.
  // -- workers' lives (supervisor.cpp)
  void fill();   ///< Spawns what is missing.
  void supply(); ///< Gives ready standbys to slots.
  void on_ready(worker_entry& x, const wire::ready& news);
  void on_switched(const slot_switched& x);
  void on_channel_closed(const channel_closed& x);
  void on_deadline(uint64_t worker);
  void end(worker_entry& x); ///< Soft, grace, hard.
  void kill(worker_entry& x, error why);
  /// Takes the slot from a worker that even SIGKILL has not ended yet.
  void abandon(worker_entry& x);
  /// Checks whether the kernel killed it for lack of memory; then that is the cause of its death.
  void ask_the_kernel(worker_entry& x);
  /// Kills a standby that is stopped: it would take a slot and not answer.
  bool is_fit(worker_entry& x);
  /// Reports the replacement whose old worker is gone or given up.
  void finish_relieved(uint64_t old_worker);
  /// Notes the death of a worker that should have lived; `x` is null for an unknown worker.
  void note_death(const worker_entry* x = nullptr);
  void on_death_verdict(const death_verdict& x);
  void escalate_deaths();
  void reap(uint64_t worker, const std::optional<wire::exited>& how);
  // -- memory (healing.cpp)
  void on_job_done(const job_done& x);
  void on_trimmed(worker_entry& x, const wire::trimmed& news);
  void heal(worker_entry& x);
  supervision::healing_policy::worker state_of(const worker_entry& x) const;
  void release(worker_entry& x); ///< Lets it go on if it is held.
  void tell_verdict(worker_entry& x);
  void tell_end_of_growth(const worker_entry& x);
  void judge_anew(worker_entry& x);
  void want_replacement(worker_entry& x, const std::string& reason);
  /// Begins the replacements that are due, those nearest to their budget first.
  void start_replacements();
  void begin_replacement(worker_entry& x);
  /// Reports the replacement of `slot` once the slot serves again and the old worker is gone.
  void finish_replacement(replacement done);
  nlohmann::json evidence_of(const worker_entry& x) const;
  supervision::cause_evidence counters_of(const worker_entry& x) const;
  // -- readings (probing.cpp)
  bool read_private(worker_entry& x); ///< The supervisor's own reading.
  void probe();
  /// Kills a worker whose reports of its memory contradict the supervisor's readings.
  void distrust(worker_entry& x);
  /// Has it held after its job when no recent reading found it idle.
  void look_closer(worker_entry& x);
  /// Judges our own processes.
  void watch_ourselves();
  void watch_own(own_process& x, int32_t pid);
  // -- reasons (explaining.cpp)
  void tell_worker(const worker_entry& x, wire::frame what);
  /// Starts and stops sampling of a suspect, and asks for its dump.
  void watch_allocations(worker_entry& x);
  bool is_explained(const worker_entry& x) const;
  bool wants_dump(const worker_entry& x); ///< Before it ends.
  void ask_for_dump(worker_entry& x);
  void on_profiled(worker_entry& x, const wire::profiled& news);
  void stop_sampling(worker_entry& x);
  void begin_explanation(const worker_entry& x, const wire::profiled& news);
  /// Names the cause by stacks that were explained before.
  std::optional<leak_name> recognise(const explanation& e) const;
  explanation* explanation_of(uint32_t slot, uint64_t generation);
  void follow_explanations();
  void finish_explanation(expected<supervision::leak_report> found);
  void finish_recognised(leak_name name);
  void publish_report(const explanation& e, const supervision::leak_report& x);
  /// Publishes a replacement, at once or when its cause is known.
  void report_replacement(uint32_t slot, nlohmann::json detail);
  leak_name name_of(uint32_t slot, uint64_t generation, const nlohmann::json& detail) const;
  void publish_replacement(nlohmann::json detail, const leak_name& name);
  // -- the rest
  void on_tick();
  void finish_drain_if_gone();
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
  std::optional<supervision::restart_intensity> intensity, server_intensity;
  std::optional<supervision::backoff> server_backoff;
  std::optional<supervision::restart_pause> worker_backoff;
  supervision::oom_watch ooms;
  std::vector<slot> slots;
  std::map<uint64_t, worker_entry> workers;
  std::vector<replacement> relieved; ///< Switched; their old workers are ending.
  uint64_t next_worker = 1;

  uint64_t server = 0; ///< Number of the latest fork server.
  bool server_up = false, server_ready = false;
  bool server_troubled = false;           ///< Its trigger of the breaker is raised.
  bool server_intensity_exceeded = false; ///< Too many have died within the period.
  std::chrono::steady_clock::time_point server_ready_since{};
  int32_t server_pid = 0;
  bool ever_ready = false;
  bool restart_pending = false; ///< A restart message is on its way.
  std::chrono::steady_clock::time_point server_started{};
  std::chrono::steady_clock::time_point spawn_after{}; ///< Backoff after deaths.
  std::chrono::steady_clock::time_point next_probe{};
  bool intensity_exceeded = false;
  uint64_t model_bytes = 0;
  std::shared_ptr<const messaging::model_identity> model; ///< Of the present fork server.
  uint64_t server_anonymous = 0; ///< Of the latest fork server, when its model was loaded.
  std::string model_sha256;      ///< Of the latest fork server's model.
  std::deque<explanation> explanations;
  std::map<uint32_t, known_leak> known_leaks; ///< By slot.
  std::map<uint32_t, leak_name> names;        ///< By slot: of its latest worker with a dump.
  std::map<std::string, leak_name> reports;   ///< By id.
  std::deque<std::string> report_order;       ///< Of `reports`, the oldest first.
  supervision::stack_book stacks;
  std::optional<supervision::restart_intensity> helpers; ///< Bounds how many may be started.
  int64_t next_dump_us = 0;
  own_process control{"control"}, fork_server{"fork_server"};
  uint64_t jobs_done = 0; ///< By all workers.
  std::string trouble;
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
