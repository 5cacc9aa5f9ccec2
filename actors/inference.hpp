#pragma once

#include "actors/protocol.hpp"
#include "supervision/recent_steps.hpp"

#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <type_traits>

namespace ziyu::actors {

struct inference_settings {
  uint32_t slot = 0;
  uint32_t top_k = 5;
  bool faults_allowed = false;
  dispatcher_actor dispatcher;
  supervisor_actor supervisor;
};

/// The actor of one slot, around the worker process that serves it at present.
struct inference_state {
  inference_state() = default;

  // Answers an open request at once; otherwise the asker would wait for its own timeout.
  ~inference_state();

  caf::result<attempt_outcome> on_request(const attempt_request& x);
  void on_link(const worker_link& x);
  void on_frame(const channel_frame& x);
  void on_result(const wire::result& x);
  void on_closed(const channel_closed& x);
  void on_go_ahead(const go_ahead& x);
  void on_deadline(uint64_t attempt_id);
  void start_timer(std::chrono::steady_clock::duration left);

  /// Makes `next` the slot's worker.
  void switch_over();
  /// Ends the running attempt.
  void finish(attempt_outcome x);
  attempt_outcome outcome() const;
  /// Whether its worker may take a job.
  bool is_up() const { return current && !held; }
  /// How many jobs its worker may take together.
  uint32_t most_jobs() const;

  inference_actor::pointer self = nullptr;
  inference_settings settings;
  std::optional<worker_link> current, next;
  uint64_t attempt_id = 0; ///< Number of the latest attempt of this slot.
  /// The deadline of the running attempt.
  std::chrono::steady_clock::time_point due{};
  std::chrono::milliseconds timeout{0}; ///< Of the running attempt.
  /// Whether the timer runs. One timer serves all attempts: a timer for each would be kept until
  /// its deadline, 10 MB of them at 1,000 jobs/s.
  bool timer_runs = false;
  std::vector<std::shared_ptr<const messaging::job>> jobs; ///< Of the running attempt.
  std::optional<error> kill_reason;                        ///< Of the current worker.
  uint64_t killed_at_bytes = 0;    ///< Its private bytes when it was killed.
  uint64_t last_private_bytes = 0; ///< Of the current worker, after its latest job.
  supervision::recent_steps steps; ///< Of the current worker's private memory.
  /// The current worker's next job may reach its budget. The worker takes no job before the
  /// supervisor, which may be behind, has looked at it.
  bool held = false;
  bool hold_once = false; ///< In any case: the supervisor wants to read it idle.
  caf::typed_response_promise<attempt_outcome> promise;
  static inline const char* name = "inference";
};

static_assert(!std::is_aggregate_v<inference_state>);

/// Returns the behavior of an INFERENCE actor.
inference_actor::behavior_type inference(inference_actor::stateful_pointer<inference_state> self,
                                         inference_settings settings);

} // namespace ziyu::actors
