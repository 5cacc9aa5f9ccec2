#pragma once

#include "actors/delivery_watch.hpp"
#include "actors/protocol.hpp"
#include "actors/reporter.hpp"
#include "actors/transaction_queue.hpp"
#include "messaging/transaction_pace.hpp"
#include "supervision/backoff.hpp"

#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <functional>
#include <type_traits>

namespace ziyu::actors {

/// Makes a transactional producer that reports to the handler.
using transactional_producer_factory =
  std::function<expected<std::unique_ptr<messaging::transactional_producer>>(
    messaging::transactional_producer::report_handler)>;

struct transactional_publisher_settings {
  transactional_producer_factory make;
  dispatcher_actor dispatcher;
  std::shared_ptr<reporter> report;
  messaging::transaction_pace::settings pace;
  /// The breaker opens when nothing is committed for so long while results or dead letters are
  /// pending, and when a topic takes no results for so long.
  std::chrono::milliseconds stall_limit{10'000};
};

/// Runs one transaction after the other. The dispatcher plans each: it knows which of the records
/// are still ours and which offsets belong to them.
struct transactional_publisher_state {
  transactional_publisher_state() = default;

  enum class phase : uint8_t {
    idle,
    planning, ///< The dispatcher has been asked.
    running,  ///< The producer has it.
  };

  void accept(const publications& x);
  void withdraw(const withdrawal& x);
  /// Begins the next transaction if it is time for one.
  void pump();
  void on_plan(transaction_plan x);
  void on_plan_failed(const std::string& why);
  void on_report(const messaging::transaction_report& x);
  void on_tick();
  void answer_waiting();

  transactional_publisher_actor::pointer self = nullptr;
  transactional_publisher_settings settings;
  std::unique_ptr<messaging::transactional_producer> producer;
  phase state = phase::idle;
  transaction_queue pending;
  actors::set_aside aside;
  planned_batch batch; ///< The transaction under way.
  uint64_t number = 0; ///< Of the transaction under way.
  bool wanted = false; ///< The dispatcher has offsets to commit.
  std::optional<messaging::transaction_pace> pace;
  std::optional<supervision::backoff> retry;
  std::chrono::steady_clock::time_point ended{};      ///< The last one that was committed.
  std::chrono::steady_clock::time_point not_before{}; ///< No transaction before this.
  std::chrono::steady_clock::time_point begun{};      ///< The one under way.
  std::optional<delivery_watch> watch;
  std::string last_trouble; ///< Why the next transaction waits.

  /// Waits until all pending records and their offsets are committed.
  struct waiter {
    caf::typed_response_promise<bool> answer;
    std::chrono::steady_clock::time_point deadline;
  };
  std::vector<waiter> waiting;
  static inline const char* name = "transactional_publisher";

  bool ensure_producer();

private:
  void take(publication x);
  bool due(std::chrono::steady_clock::time_point now) const;
  void look_again();
  void on_committed(const messaging::transaction_report& x);
  void put_back();
  /// `x` was refused, by itself or (`whole_topic`) with its whole topic.
  void refuse(publication x, const error& why, bool whole_topic);
  void refuse_topic(const std::string& topic, const error& why);
  void put_aside(publication x, const error& why, bool whole_topic);
  void tell_set_aside(const publication& x, const error& why);
  void take_up();
  void put_off(const error& why);
  std::string trouble() const; ///< Why nothing is committed, for people.
  delivery_watch::backlog backlog() const;
  bool waits() const; ///< Something is to be committed, or is being committed.
};

static_assert(!std::is_aggregate_v<transactional_publisher_state>);

/// Returns the behavior of the PUBLISHER actor for `delivery.guarantee` exactly_once. Sends
/// itself a tick each 100 ms.
transactional_publisher_actor::behavior_type transactional_publisher(
  transactional_publisher_actor::stateful_pointer<transactional_publisher_state> self,
  transactional_publisher_settings settings);

} // namespace ziyu::actors
