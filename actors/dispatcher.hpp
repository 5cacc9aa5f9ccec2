#pragma once

#include "actors/intake.hpp"
#include "actors/job_queue.hpp"
#include "actors/protocol.hpp"
#include "actors/recent_ids.hpp"
#include "actors/reporter.hpp"
#include "messaging/dead_letter.hpp"
#include "messaging/delivery/delivery_strategy.hpp"
#include "supervision/batch_former.hpp"
#include "supervision/memory_pressure.hpp"

#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <functional>
#include <map>
#include <set>
#include <type_traits>

namespace ziyu::actors {

/// The actors that the dispatcher sends to, besides those of the slots.
struct dispatcher_neighbours {
  publisher_actor publisher;   ///< Of results and dead letters.
  supervisor_actor supervisor; ///< Is told who caused a death.
  decoder_actor decoder;       ///< Reads JSON jobs and claim checks.
};

struct dispatcher_settings {
  std::string results_topic, dead_letters_topic;
  uint32_t slots = 1;
  uint32_t max_attempts = 3;
  /// The most jobs that run together in one attempt, 1 to `wire::max_batch`, and the most bytes of
  /// their images.
  uint32_t max_batch = 1;
  uint64_t max_batch_bytes = uint64_t{16} << 20;
  /// How long a free slot waits for a batch to fill, from the time when its oldest job was fetched.
  std::chrono::milliseconds max_batch_delay{0};
  /// Bounds for records that are set aside, in number and bytes. Above a bound their partitions are
  /// not fetched from.
  uint64_t max_aside = 1'024, max_aside_bytes = uint64_t{64} << 20;
  std::chrono::milliseconds job_timeout{30'000};
  /// The pause between two attempts at a job: doubles from the first to the second value, with
  /// jitter. 0: no pause.
  std::chrono::milliseconds retry_backoff{0}, retry_backoff_max{0};
  ordering order = ordering::unordered;
  supervision::circuit_breaker::settings breaker;
  supervision::memory_pressure::settings pressure;
  messaging::dead_letter_style dead_letter_style = messaging::dead_letter_style::connect;
  std::shared_ptr<intake> credit;
  std::shared_ptr<reporter> report;
  /// Takes over what is to be committed (the job source's `store`). An `offsets_committed` answers
  /// each commit.
  std::function<expected<void>(const messaging::topic_partition&, const messaging::commit_point&)>
    store;
  messaging::guarantee guarantee = messaging::guarantee::at_least_once;
  /// Our membership for a transaction (the job source's `membership`). Only with exactly once,
  /// where the publisher commits offsets with its transactions, and nothing is stored.
  std::function<std::shared_ptr<const messaging::group_membership>(
    const std::map<messaging::topic_partition, uint64_t>&)>
    membership;
  messaging::job_limits limits;
  /// Makes the neighbours of the dispatcher that is being spawned. They may send to it at once.
  std::function<dispatcher_neighbours(const dispatcher_actor&)> make_neighbours;
};

/// What an attempt means for one of its jobs.
struct job_outcome {
  const attempt_outcome& attempt;
  const wire::answer* answer = nullptr; ///< Null after a failure.
  size_t batch = 1;                     ///< Jobs of the attempt.
  bool is_first = true;                 ///< Of the attempt's jobs.
  /// Jobs of the attempt that have not been cleared of its failure yet.
  std::shared_ptr<uint32_t> accused;

  bool failed() const { return attempt.failure.has_value(); }
  /// The worker ended with several jobs: any of them may be the cause, or none.
  bool is_shared_failure() const { return failed() && batch > 1 && attempt.generation > 0; }
};

/// Tracks each fetched record from the source until its result or dead letter is
/// acknowledged.
struct dispatcher_state {
  dispatcher_state() = default;

  using entry_ptr = job_queue::entry_ptr;

  struct slot {
    inference_actor actor;
    bool up = false;
    uint32_t most_jobs = 1;         ///< That it takes together.
    std::vector<entry_ptr> running; ///< The jobs of its attempt; empty: it is idle.
    bool is_free() const { return up && running.empty(); }
  };

  // arrivals.cpp
  void on_fetched(fetched_jobs& x);
  void take_in(fetched_job x);
  void on_assigned(const messaging::partitions_assigned& x);
  /// @param done Called when the partitions may go: at once when they are lost, else when the
  /// records at the producer are acknowledged or have timed out.
  void on_revoked(const messaging::partitions_revoked& x, std::function<void()> done);
  void on_consumer_failed(const error& reason);
  void set_reachable();
  /// The id of a job is known: notes whether another record had it.
  void note_id(job_entry& x, const std::string& id);

  // commits.cpp
  /// Hands new progress of `where` to the source.
  void store_progress(const messaging::topic_partition& where);
  void store(const messaging::topic_partition& where, const messaging::commit_point& point);
  void on_committed(const messaging::offsets_committed& x);
  transaction_plan plan(const plan_request& x);
  void obey(const messaging::topic_partition& where, const messaging::delivery_orders& x);
  void want_transaction();
  /// The work of a tick: progress, marks without acknowledgement, held partitions, the audit of the
  /// ledger.
  void look_after_commits();

  // attempts.cpp
  void on_slot_up(uint32_t index, inference_actor actor, uint32_t most_jobs);
  /// Starts queued jobs on free slots, as far as breaker, order and ledger allow it.
  void dispatch();
  void begin_and_announce();
  void begin_what_may();
  /// Whether a batch of `most` jobs may still fill up; then it is looked at again in time.
  bool waits_for_more(uint32_t most);
  size_t free_slots() const;
  bool is_on_record(const job_entry& x);
  bool suits(const job_entry& x, uint32_t index) const;
  bool has_room(const job_entry& x) const;
  bool runs_alone(const job_entry& x) const;
  /// Begins an attempt at `x`, which `start` sends.
  void begin(job_entry& x);
  void start(uint32_t index);
  void on_outcome(uint32_t index, const attempt_outcome& outcome);
  void settle(const entry_ptr& x, const job_outcome& outcome);
  void judge_outcome(const job_entry& x, const job_outcome& outcome);
  void on_failed_attempt(const entry_ptr& x, const job_outcome& outcome);
  std::chrono::milliseconds pause_after(uint32_t attempts);
  void try_again(const entry_ptr& x, std::chrono::milliseconds delay);

  // contents.cpp
  /// Has the next job read that could begin.
  void read_ahead();
  void on_read(const entry_ptr& x, decoded_job content);
  /// Takes over the content of a record.
  void take_content(job_entry& x, decoded_job content);

  // suspects.cpp
  /// Notes that a worker ended during `x`, and tells the supervisor.
  void suspect(job_entry& x, const job_outcome& outcome);
  /// The job did not end its workers.
  void clear(job_entry& x);
  /// Why a job is given up after its last attempt.
  std::string why_given_up(const job_entry& x, const error& last) const;

  // publications.cpp
  void publish_result(const entry_ptr& x, const job_outcome& outcome);
  void dead_letter(const entry_ptr& x, const error& reason);
  void publish(publication_kind kind, const entry_ptr& x, messaging::outgoing content);
  void on_published(const published_records& x);
  void settle_published(const published& x);
  /// Gives the publisher what is for it, when the handling of a message ends.
  void send_outbox();
  void put_aside(const entry_ptr& x, publication_kind kind);
  void take_back(const entry_ptr& x);
  void leave_lane(const entry_ptr& x);
  bool all_published() const; ///< Except for what is set aside.
  /// The job is final or no longer ours: releases its credit and its place.
  void release(const entry_ptr& x);

  // departures.cpp
  /// Begins no more jobs of `going`. Hands back what is left of them when the producer has reported
  /// on the rest, or after `limit`.
  void depart(std::vector<messaging::topic_partition> going, std::chrono::milliseconds limit,
              std::function<void(uint64_t handed_back)> done);
  bool departs(const messaging::topic_partition& where, uint64_t epoch) const;
  void drop_queued(const std::function<bool(const job_entry&)>& gone);
  void look_after_departures();
  /// Commits in good order and hands back what is left of `going`.
  uint64_t hand_back(const std::vector<messaging::topic_partition>& going, bool lost);

  // dispatcher.cpp
  void make_parts(); ///< As the settings say.
  void on_tick();
  void on_breaker(const std::optional<supervision::circuit_breaker::transition>& x);
  void on_breaker_input(const breaker_input& x);
  void on_breaker_command(const breaker_command& x);
  void on_memory(double share);
  void hold_credit(); ///< As breaker and drain require it.
  void begin_drain(uint64_t limit_ms);
  void finish_drain_if_idle(bool timed_out);
  bool is_idle() const; ///< No attempt runs.
  void finish_resume_if_idle();
  /// Records without a result or dead letter, by partition; empty where the log's end or our
  /// position is not known yet.
  std::map<messaging::topic_partition, std::optional<uint64_t>> lag() const;
  int64_t oldest_unfinished_us() const;
  void update_gauges();
  dispatcher_status status() const;

  /// Partitions that go, and under which epoch.
  struct departure {
    std::map<messaging::topic_partition, uint64_t> partitions;
    std::chrono::steady_clock::time_point deadline;
    std::function<void(uint64_t)> done;
  };
  bool is_settled(const departure& x) const;

  dispatcher_actor::pointer self = nullptr;
  dispatcher_settings settings;
  dispatcher_neighbours neighbours; ///< None is ever null.
  messaging::offset_ledger ledger;
  std::unique_ptr<messaging::delivery_strategy> delivery; ///< Never null.
  std::optional<supervision::circuit_breaker> breaker;
  std::optional<supervision::memory_pressure> pressure;
  std::optional<supervision::batch_former> former;
  job_queue queue;
  std::multiset<int64_t> unfinished; ///< When the jobs that hold credit were fetched.
  bool fills_up = false;             ///< A batch, which is looked at again in time.
  std::map<uint32_t, slot> slots;    ///< Those whose actors have said that they take jobs.
  bool reading = false;              ///< The decoder has a job.
  size_t unread = 0;                 ///< Jobs that wait for the decoder or are at it.
  uint64_t pixels_bytes = 0;         ///< Of all running jobs.
  /// Announced, but not begun: their commit is under way. At most one for each free slot.
  std::set<messaging::record_id> announced;
  /// The job that killed an owner and is announced or running now; there is one at a time.
  std::optional<messaging::record_id> isolated;
  /// The suspect that is announced but not begun. The other suspects wait, as one runs at a time.
  std::optional<messaging::record_id> next_suspect;
  /// Since when the commit that first attempts wait for is missing.
  std::map<messaging::topic_partition, job_entry::clock::time_point> unacknowledged;
  std::set<messaging::topic_partition> held;            ///< As told to the intake.
  std::map<messaging::topic_partition, uint64_t> aside; ///< Records that are set aside.
  uint64_t aside_bytes = 0;                             ///< Of the records that are set aside.
  std::vector<departure> departures;
  bool balanced = true;
  bool map_refused = false; ///< An event has reported it.
  publications outbox;      ///< For the publisher.
  /// At the publisher, by record and epoch; released when acknowledged.
  std::map<std::pair<messaging::record_id, uint64_t>, entry_ptr> publishing;
  std::set<messaging::topic_partition> partitions; ///< Assigned now.
  recent_ids seen{65'536};
  bool assigned = false; ///< Has joined the group since the last trouble.
  std::string trouble;
  bool draining = false;
  std::chrono::steady_clock::time_point drain_until{};
  caf::typed_response_promise<bool> drained;
  bool ending_drain = false; ///< All partitions depart.
  caf::typed_response_promise<bool> resumed;
  uint64_t results = 0, dead_letters = 0;
  uint32_t ticks = 0;
  static inline const char* name = "dispatcher";
};

static_assert(!std::is_aggregate_v<dispatcher_state>);

/// The DISPATCHER actor. Sends itself a tick each 250 ms.
class dispatcher final : public dispatcher_actor::stateful_base<dispatcher_state> {
public:
  /// Makes its neighbours, on the thread that spawns it: dispatcher and neighbours need each other,
  /// and no message is handled by an actor that lacks one of them.
  dispatcher(caf::actor_config& config, dispatcher_settings settings);

protected:
  behavior_type make_behavior() override;
};

} // namespace ziyu::actors
