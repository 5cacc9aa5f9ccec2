#pragma once

#include "actors/delivery_watch.hpp"
#include "actors/protocol.hpp"
#include "actors/reporter.hpp"
#include "messaging/send_groups.hpp"
#include "supervision/backoff.hpp"

#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <deque>
#include <functional>
#include <map>
#include <type_traits>

namespace ziyu::actors {

/// Makes a producer that reports to the handler.
using producer_factory = std::function<expected<std::unique_ptr<messaging::producer>>(
  messaging::producer::report_handler)>;

struct publisher_settings {
  producer_factory make;
  /// Ends a producer that is given up, which may take seconds, on another thread. Unset: on this
  /// one.
  std::function<void(std::unique_ptr<messaging::producer>)> end;
  dispatcher_actor dispatcher;
  std::shared_ptr<reporter> report;
  /// Events are dropped (and counted) while so many bytes of them are pending. Results and dead
  /// letters are never dropped: the dispatcher's credit bounds them.
  uint64_t max_event_bytes = 8u << 20;
  /// The breaker opens when nothing is acknowledged for so long while results or dead letters are
  /// pending, and when a topic takes no results for so long. Events alone never open it: jobs can
  /// be worked on without them.
  std::chrono::milliseconds stall_limit{10'000};
  /// Groups of records on their way at once: `messaging::send_groups`. Two keep a broker busy; with
  /// more, requests would be smaller, and librdkafka polls without pause while five requests of a
  /// partition are unanswered.
  size_t max_groups = 2;
  /// A topic that acknowledges nothing for so long, while others do, is set aside.
  std::chrono::milliseconds silence_limit{5'000};
};

struct publisher_state {
  publisher_state() = default;

  /// Hands as much as possible from the backlog to the producer.
  void pump();
  void accept(const publications& x);
  void on_reports(const delivery_reports& x);
  /// Drops those records of departed partitions that the producer does not have yet.
  void withdraw(const withdrawal& x);
  /// Makes retries that are due, and looks for a stall.
  void on_tick();
  void finish_drain_if_empty(bool timed_out);

  struct pending_publication {
    publication what;
    std::chrono::steady_clock::time_point not_before{};
    uint32_t tries = 0;
    uint64_t producer = 0;                         ///< Number of the producer that has it.
    uint64_t group = 0;                            ///< With which it went to that producer.
    std::chrono::steady_clock::time_point given{}; ///< When it was given to that producer.
    bool set_aside = false;                        ///< The dispatcher has been told.
  };

  publisher_actor::pointer self = nullptr;
  publisher_settings settings;
  std::unique_ptr<messaging::producer> producer;
  uint64_t producers = 0; ///< Number made so far, which is the number of the present one.
  uint64_t next_token = 1;
  std::map<uint64_t, pending_publication> in_flight; ///< By token.
  std::deque<pending_publication> backlog;
  std::optional<messaging::send_groups> groups; ///< Those on their way.
  uint64_t event_bytes = 0;                     ///< Of pending events.
  /// Results and dead letters in flight or in the backlog, without those that are set aside.
  uint64_t pending_jobs = 0;
  actors::set_aside aside;
  /// When each topic last acknowledged a result or dead letter.
  std::map<std::string, std::chrono::steady_clock::time_point> acknowledged;
  std::optional<supervision::backoff> retry;
  std::chrono::steady_clock::time_point not_before{}; ///< Nothing is produced before this.
  std::optional<delivery_watch> watch;                ///< Of results and dead letters.
  published_records told;                             ///< Collected for the dispatcher.
  caf::typed_response_promise<bool> drained;
  static inline const char* name = "publisher";

private:
  /// Tells the dispatcher with the next `send_told`, which ends the handling of each message.
  void tell(published x);
  void send_told();
  void take(publication x);
  void on_report(const messaging::delivery_report& x);
  bool ensure_producer();
  void give_up_producer();
  void on_delivered(const pending_publication& x);
  void forget(const pending_publication& x);
  /// Hands `x` to the producer; false when it takes no more for now.
  bool hand_on(pending_publication x);
  /// Sets `x` aside until the broker, or its topic, takes it.
  void put_aside(pending_publication x, const error& why, bool whole_topic);
  void tell_set_aside(pending_publication& x, const error& why);
  /// `x` has been delivered: records that waited with it go on.
  void take_up(const publication& x);
  void look_for_silent_topics();
  void look_for_a_stall();
  delivery_watch::backlog waiting() const;
  /// Handles a result, dead letter or event that was not delivered.
  void on_failure(pending_publication x, const error& why, messaging::refusal refused);
  /// Plans a retry.
  void put_off(pending_publication& x, const error& why);
};

static_assert(!std::is_aggregate_v<publisher_state>);

/// Returns the behavior of the PUBLISHER actor. Sends itself a tick each 100 ms.
publisher_actor::behavior_type publisher(publisher_actor::stateful_pointer<publisher_state> self,
                                         publisher_settings settings);

} // namespace ziyu::actors
