#pragma once

#include "actors/intake.hpp"
#include "actors/protocol.hpp"
#include "actors/recent_ids.hpp"
#include "actors/reporter.hpp"
#include "messaging/offset_ledger.hpp"

#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <deque>
#include <functional>
#include <set>
#include <type_traits>

namespace ziyu::actors {

struct dispatcher_settings {
  std::string results_topic, dead_letters_topic;
  uint32_t slots = 1;
  uint32_t max_attempts = 3;
  std::chrono::milliseconds job_timeout{30'000};
  supervision::circuit_breaker::settings breaker;
  supervision::memory_pressure::settings pressure;
  messaging::dead_letter_style dead_letter_style = messaging::dead_letter_style::connect;
  std::shared_ptr<intake> credit;
  std::shared_ptr<reporter> report;
  /// Remembers an offset for the next commit (the job source's `store`).
  std::function<expected<void>(const messaging::topic_partition&, int64_t)> store;
  std::function<messaging::model_identity()> model; ///< The one that serves now.
};

/// Where each fetched record is, from the source's hands until its result or
/// dead letter is acknowledged.
struct dispatcher_state {
  dispatcher_state() = default;

  struct entry {
    fetched_job job;
    uint32_t attempts = 0; ///< Begun.
    bool duplicate_id = false;
    int64_t started_us = 0; ///< Of the latest attempt.
    error last_failure;
    supervision::circuit_breaker::ticket ticket; ///< Of the latest attempt.
  };
  using entry_ptr = std::shared_ptr<entry>;

  struct slot {
    inference_actor actor;
    bool up = false;
    entry_ptr running;
  };

  void on_fetched(const fetched_job& x);
  void on_assigned(const messaging::partitions_assigned& x);
  void on_revoked(const messaging::partitions_revoked& x);
  void on_consumer_failed(const error& reason);
  void on_slot_up(uint32_t index, inference_actor actor);
  void on_published(const published& x);
  void on_breaker(const std::optional<supervision::circuit_breaker::transition>& x);
  void on_breaker_input(const breaker_input& x);
  void on_breaker_command(const breaker_command& x);
  void on_memory(double share);
  void hold_credit(); ///< As breaker and drain want it.
  void set_reachable();

  /// Starts queued jobs on free slots as far as the breaker admits.
  void dispatch();
  void start(uint32_t index, entry_ptr x);
  void on_outcome(uint32_t index, const entry_ptr& x, const attempt_outcome& outcome);
  void try_again(const entry_ptr& x);
  void publish_result(const entry_ptr& x, const attempt_outcome& outcome);
  void dead_letter(const entry_ptr& x, const error& reason);
  void publish(publication_kind kind, const entry_ptr& x, messaging::outgoing content);
  void release(const entry_ptr& x);

  void begin_drain(uint64_t limit_ms);
  void finish_drain_if_idle(bool timed_out);
  void resume();
  void update_gauges();
  dispatcher_status status() const;

  dispatcher_actor::pointer self = nullptr;
  dispatcher_settings settings;
  publisher_actor publisher;
  messaging::offset_ledger ledger;
  std::optional<supervision::circuit_breaker> breaker;
  std::optional<supervision::memory_pressure> pressure;
  std::deque<entry_ptr> queue;
  std::vector<slot> slots;
  /// At the publisher, by record and epoch: released on acknowledgement.
  std::map<std::pair<messaging::record_id, uint64_t>, entry_ptr> publishing;
  std::set<messaging::topic_partition> partitions; ///< Assigned now.
  recent_ids seen{65'536};
  bool assigned = false; ///< Joined the group at least once since the last trouble.
  std::string trouble;
  bool draining = false;
  std::chrono::steady_clock::time_point drain_until{};
  caf::typed_response_promise<bool> drained;
  uint64_t results = 0, dead_letters = 0;
  static inline const char* name = "dispatcher";
};

static_assert(!std::is_aggregate_v<dispatcher_state>);

/// Returns the behavior of the DISPATCHER actor. Sends itself a tick
/// each 250 ms.
dispatcher_actor::behavior_type dispatcher(
  dispatcher_actor::stateful_pointer<dispatcher_state> self, dispatcher_settings settings);

} // namespace ziyu::actors
