#pragma once

#include "actors/protocol.hpp"
#include "actors/reporter.hpp"
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
  dispatcher_actor dispatcher;
  std::shared_ptr<reporter> report;
  /// Events are dropped (and counted) when so many bytes of them are pending.
  /// Results and dead letters never are: the dispatcher's credit bounds them.
  uint64_t max_event_bytes = 8u << 20;
  /// No acknowledgement for so long while results or dead letters are pending raises
  /// the breaker. Events alone never do: without them the service is poorer, not stuck.
  std::chrono::milliseconds stall_limit{10'000};
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
    uint64_t producer = 0; ///< Number of the producer that has it.
  };

  publisher_actor::pointer self = nullptr;
  publisher_settings settings;
  std::unique_ptr<messaging::producer> producer;
  uint64_t producers = 0; ///< Made so far; the number of the present one.
  uint64_t next_token = 1;
  std::map<uint64_t, pending_publication> in_flight; ///< By token.
  std::deque<pending_publication> backlog;
  uint64_t event_bytes = 0;  ///< Of pending events.
  uint64_t pending_jobs = 0; ///< Results and dead letters in flight or in the backlog.
  std::optional<supervision::backoff> retry;
  std::chrono::steady_clock::time_point not_before{};    ///< No produce before this.
  std::chrono::steady_clock::time_point last_progress{}; ///< Of results and dead letters.
  bool failing = false;                                  ///< The breaker has been told.
  caf::typed_response_promise<bool> drained;
  static inline const char* name = "publisher";

private:
  bool ensure_producer();
  void forget(const pending_publication& x);
  void set_failing(bool on, const std::string& reason,
                   supervision::circuit_breaker::numbers values = {});
  /// Of results and dead letters that wait, for the breaker's event: `silent_ms` (since the
  /// last delivery report), `pending_records`, `pending_bytes`.
  supervision::circuit_breaker::numbers pressure() const;
  /// Plans another try; a dead letter that is too large goes without payload.
  void put_off(pending_publication& x, const error& why);
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
