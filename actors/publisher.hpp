#pragma once

#include "actors/protocol.hpp"
#include "actors/reporter.hpp"
#include "actors/set_aside.hpp"
#include "supervision/backoff.hpp"

#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <deque>
#include <functional>
#include <map>
#include <type_traits>

namespace ziyu::actors {

/// Makes a producer whose reports go to the handler.
using producer_factory = std::function<expected<std::unique_ptr<messaging::producer>>(
  messaging::producer::report_handler)>;

struct publisher_settings {
  producer_factory make;
  /// Ends a producer that is given up, which may take seconds: elsewhere than on this thread.
  /// Unset: here.
  std::function<void(std::unique_ptr<messaging::producer>)> end;
  dispatcher_actor dispatcher;
  std::shared_ptr<reporter> report;
  /// Events are dropped (and counted) when so many bytes of them are pending.
  /// Results and dead letters never are: the dispatcher's credit bounds them.
  uint64_t max_event_bytes = 8u << 20;
  /// No acknowledgement for so long while results or dead letters are pending raises
  /// the breaker, and so does a topic that takes no results. Events alone never do: without
  /// them the service is poorer, not stuck.
  std::chrono::milliseconds stall_limit{10'000};
  /// A topic that acknowledges nothing for so long while others do is set aside.
  std::chrono::milliseconds silence_limit{5'000};
};

struct publisher_state {
  publisher_state() = default;

  /// Hands as much as possible from the backlog to the producer.
  void pump();
  void accept(publication x);
  void on_report(const messaging::delivery_report& x);
  /// Drops what the producer does not have yet of partitions that have gone.
  void withdraw(const withdrawal& x);
  /// Time for retries, and to look for a stall.
  void on_tick();
  void finish_drain_if_empty(bool timed_out);

  struct pending_publication {
    publication what;
    std::chrono::steady_clock::time_point not_before{};
    uint32_t tries = 0;
    uint64_t producer = 0;                         ///< Number of the producer that has it.
    std::chrono::steady_clock::time_point given{}; ///< To that producer.
    bool set_aside = false;                        ///< The dispatcher has been told.
  };

  publisher_actor::pointer self = nullptr;
  publisher_settings settings;
  std::unique_ptr<messaging::producer> producer;
  uint64_t producers = 0; ///< Made so far; the number of the present one.
  uint64_t next_token = 1;
  std::map<uint64_t, pending_publication> in_flight; ///< By token.
  std::deque<pending_publication> backlog;
  uint64_t event_bytes = 0; ///< Of pending events.
  /// Results and dead letters in flight or in the backlog, but for those that are set aside.
  uint64_t pending_jobs = 0;
  actors::set_aside aside;
  /// When each topic last acknowledged a result or dead letter.
  std::map<std::string, std::chrono::steady_clock::time_point> acknowledged;
  std::optional<supervision::backoff> retry;
  std::chrono::steady_clock::time_point not_before{};    ///< No produce before this.
  std::chrono::steady_clock::time_point last_progress{}; ///< Of results and dead letters.
  bool failing = false;                                  ///< The breaker has been told.
  caf::typed_response_promise<bool> drained;
  static inline const char* name = "publisher";

private:
  bool ensure_producer();
  void give_up_producer();
  void on_delivered(const pending_publication& x);
  void forget(const pending_publication& x);
  /// Hands `x` to the producer; false when nothing more can be handed on for now.
  bool hand_on(pending_publication x);
  /// Until the broker, or its topic, takes it.
  void put_aside(pending_publication x, const error& why, bool whole_topic);
  void tell_set_aside(pending_publication& x, const error& why);
  void report_set_aside(const publication& x, const error& why, bool whole_topic);
  /// `x` has been delivered: what waited with it goes on.
  void take_up(const publication& x);
  void look_for_silent_topics();
  void look_for_a_stall();
  void set_failing(bool on, const std::string& reason,
                   supervision::circuit_breaker::numbers values = {});
  /// Of results and dead letters that wait, for the breaker's event: `silent_ms` (since the
  /// last delivery report), `pending_records`, `pending_bytes`.
  supervision::circuit_breaker::numbers pressure() const;
  /// What becomes of a result, dead letter or event that was not delivered.
  void on_failure(pending_publication x, const error& why, messaging::refusal refused);
  /// Plans another try.
  void put_off(pending_publication& x, const error& why);
  /// Makes a dead letter that is too large smaller; false for what cannot be.
  bool slim(pending_publication& x, const error& why);
  /// True for a result that no retry can deliver: the dispatcher makes a dead letter of it.
  bool hand_back(const pending_publication& x, const error& why);
  /// True (and it is counted) for an event that no retry can deliver.
  bool drop_hopeless(const pending_publication& x, const error& why);
};

static_assert(!std::is_aggregate_v<publisher_state>);

/// Returns the behavior of the PUBLISHER actor. Sends itself a tick each 100 ms.
publisher_actor::behavior_type publisher(publisher_actor::stateful_pointer<publisher_state> self,
                                         publisher_settings settings);

} // namespace ziyu::actors
