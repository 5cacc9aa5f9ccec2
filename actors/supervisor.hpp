#pragma once

#include "actors/reporter.hpp"
#include "actors/worker_host.hpp"
#include "supervision/backoff.hpp"
#include "supervision/healing_policy.hpp"
#include "supervision/restart_intensity.hpp"

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
  std::shared_ptr<worker_host> host;
  std::shared_ptr<reporter> report;
  dispatcher_actor dispatcher;
  /// Called when a fork server has loaded its model. Any thread.
  std::function<void(const messaging::model_identity&)> on_model;
  /// Called once when the service cannot ever work (e.g., no model). Any thread.
  std::function<void(error)> on_fatal;
};

/// One worker process as the supervisor sees it.
struct worker_entry {
  enum class phase : uint8_t {
    spawning, ///< The fork server was asked.
    warming,  ///< Forked; its first inference is still ahead.
    standby,  ///< Ready, serves no slot.
    linked,   ///< Given to a slot that has not switched yet.
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
  uint64_t before_job_bytes = 0; ///< Private, before its latest job.
  int64_t private_offset = 0;    ///< private − anonymous at the latest reading.
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
  bool closed = false;         ///< Its channel is closed.
  uint32_t gone_ticks = 0;     ///< Ticks since its process was seen ended.
  bool expected_end = false;   ///< We ended it: no restart is counted.
  std::optional<error> killed; ///< Why we killed it.

  /// Pearson's, over `recent`; 0 when one of the two does not vary.
  double delta_image_correlation() const;
};
std::string_view to_string(worker_entry::phase x) noexcept;

/// A slot that waits for, or is just getting, another worker.
struct replacement {
  uint64_t old_worker = 0;
  std::string cause, reason;
  int64_t decided_us = 0;
  int64_t switched_us = 0;
  uint64_t old_private = 0;
  bool old_gone = false;
  nlohmann::json evidence; ///< Becomes the event's detail.
};

struct supervisor_state {
  supervisor_state() = default;

  struct slot {
    inference_actor actor;
    uint64_t generation = 0;
    uint64_t worker = 0;               ///< That serves it; 0: none.
    uint64_t linked = 0;               ///< On its way to it; 0: none.
    std::optional<replacement> wanted; ///< Waits for a standby or for the switch.
    uint64_t replacements = 0;
  };

  // -- fork server (supervisor.cpp)
  void start_server();
  void on_server_frame(const server_frame& x);
  void on_server_closed(const server_closed& x);
  // -- workers' lives (supervisor.cpp)
  void fill();   ///< Spawns what is missing.
  void supply(); ///< Gives ready standbys to slots.
  void on_ready(worker_entry& x, const wire::ready& news);
  void on_switched(const slot_switched& x);
  void on_channel_closed(const channel_closed& x);
  void on_deadline(uint64_t worker);
  void end(worker_entry& x); ///< Soft, grace, hard.
  void kill(worker_entry& x, error why);
  void note_death(); ///< Of a worker that should have lived.
  void reap(uint64_t worker, const std::optional<wire::exited>& how);
  // -- memory (healing.cpp)
  void on_job_done(const job_done& x);
  void on_trimmed(worker_entry& x, const wire::trimmed& news);
  void heal(worker_entry& x);
  void tell_verdict(worker_entry& x);
  void want_replacement(worker_entry& x, const std::string& reason);
  nlohmann::json evidence_of(const worker_entry& x) const;
  std::string cause_of(const worker_entry& x) const;
  bool read_private(worker_entry& x); ///< The supervisor's own reading.
  void probe();
  /// Reports the replacement of `slot` once it serves again and `old` is gone.
  void finish_replacement(uint32_t slot);
  // -- the rest
  void on_tick();
  void finish_drain_if_gone();
  void give_up(error why); ///< The service can never work.
  void trigger(supervision::circuit_breaker::trigger which, bool raised, std::string reason = {});
  supervisor_status status() const;
  worker_entry* find(uint64_t id);
  uint32_t replacing() const;

  supervisor_actor::pointer self = nullptr;
  supervisor_settings settings;
  std::optional<supervision::healing_policy> policy;
  std::optional<supervision::restart_intensity> intensity;
  std::optional<supervision::backoff> server_backoff, worker_backoff;
  std::vector<slot> slots;
  std::map<uint64_t, worker_entry> workers;
  uint64_t next_worker = 1;

  uint64_t server = 0; ///< Number of the latest fork server.
  bool server_up = false, server_ready = false;
  int32_t server_pid = 0;
  bool ever_ready = false;
  bool restart_pending = false; ///< A restart message is on its way.
  std::chrono::steady_clock::time_point server_started{};
  std::chrono::steady_clock::time_point spawn_after{}; ///< Backoff after deaths.
  std::chrono::steady_clock::time_point next_probe{};
  bool intensity_exceeded = false;
  uint64_t model_bytes = 0;
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
