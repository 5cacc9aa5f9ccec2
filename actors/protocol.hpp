#pragma once

// The whole message protocol between the actors of the control process, on one
// page. All messages stay inside this process.

#include "base/error.hpp"
#include "messaging/consumer.hpp"
#include "messaging/dead_letter.hpp"
#include "messaging/delivery/ledger_report.hpp"
#include "messaging/events/evidence.hpp"
#include "messaging/job.hpp"
#include "messaging/producer.hpp"
#include "messaging/result.hpp"
#include "messaging/transactional_producer.hpp"
#include "supervision/circuit_breaker.hpp"
#include "supervision/leak_judge.hpp"
#include "supervision/memory_pressure.hpp"
#include "supervision/pool/served_version.hpp"
#include "supervision/pool/worker_life.hpp"
#include "supervision/pool/worker_memory.hpp"
#include "supervision/process.hpp"
#include "supervision/wire/frames.hpp"

#include <caf/actor.hpp>
#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/atom.hpp>
#include <caf/replies_to.hpp>
#include <caf/type_id.hpp>
#include <caf/typed_actor.hpp>

#include <atomic>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::actors {

class credit;

// -- job source -> dispatcher -----------------------------------------------------

/// A record that was fetched. Its content is read only after the ledger knows the record: if the
/// content kills this process, that must count as an attempt.
struct fetched_job {
  std::shared_ptr<const messaging::record> source; ///< Never null.
  std::shared_ptr<const messaging::job> job;       ///< Null before it is read, and for bad input.
  std::optional<error> reason;                     ///< Why the record is not a job.
  /// What it holds of the intake; never null. Shared because a message must be copyable.
  std::shared_ptr<actors::credit> credit;
  int64_t fetched_us = 0; ///< Monotonic.
};

/// Records that were fetched together, in their order.
struct fetched_jobs {
  std::vector<fetched_job> jobs;
};

/// Partitions are going; the source waits (with a deadline) for `handled`.
struct revocation {
  messaging::partitions_revoked what;
  std::shared_ptr<std::promise<void>> handled;
};

// -- dispatcher <-> decoder -----------------------------------------------------------

/// Asks the decoder to read this record.
struct decode_request {
  std::shared_ptr<const messaging::record> source;
};

/// A job, or the reason why a record is not a job.
struct decoded_job {
  std::shared_ptr<const messaging::job> job;
  std::optional<error> reason;
  uint64_t image_bytes = 0;  ///< Of the image, if the record's value is not the image itself.
  uint64_t pixels_bytes = 0; ///< Of a worker for the pixels, as the image's header says.
};

/// The DECODER actor: reads JSON jobs and claim checks on a thread of its own, as both may take
/// long.
using decoder_actor = caf::typed_actor<caf::replies_to<decode_request>::with<decoded_job>>;

// -- dispatcher <-> inference -------------------------------------------------------

/// One attempt at a job.
struct attempt_request {
  struct item {
    std::shared_ptr<const messaging::job> job;
    uint32_t attempt = 1; ///< Number of this attempt at the job.
  };
  std::vector<item> jobs; ///< They run together; 1 to `wire::max_batch`.
  /// The worker is killed when it has not answered after so long.
  std::chrono::milliseconds timeout{30'000};
};

/// How an attempt ended. Without `failure`, `answer` is set, with an answer for each job.
struct attempt_outcome {
  std::shared_ptr<const wire::result> answer;
  std::optional<error> failure; ///< A code of a worker's fault, or `unavailable`.
  bool slot_up = true;          ///< Whether the slot can take another job now.
  uint32_t most_jobs = 1;       ///< That the slot takes together now.
  uint32_t slot = 0;
  uint64_t generation = 0;
  int32_t pid = 0;
  uint64_t private_bytes = 0; ///< After the jobs; of a killed worker: when it was killed.
  std::shared_ptr<const events::model_version> model; ///< Of the worker.
};

/// The INFERENCE actor: one per slot, for the life of the service. It represents the worker process
/// that serves the slot at present.
struct worker_link;
struct kill_notice;
struct private_reading;
struct go_ahead;
struct lone_jobs_wish;
struct channel_frame;
struct channel_closed;

using inference_actor = caf::typed_actor<
  // Runs one attempt on the slot's worker. One at a time.
  caf::replies_to<attempt_request>::with<attempt_outcome>,
  // Take over this worker as soon as the running attempt (if any) is over.
  caf::reacts_to<worker_link>,
  // The supervisor is about to kill the worker: names the reason.
  caf::reacts_to<kill_notice>,
  // The supervisor has read the worker's private memory.
  caf::reacts_to<private_reading>,
  // The held worker may take jobs again.
  caf::reacts_to<go_ahead>,
  // Whether the worker gets batches.
  caf::reacts_to<lone_jobs_wish>,
  // INTERNAL: from the worker's channel.
  caf::reacts_to<channel_frame>, caf::reacts_to<channel_closed>,
  // INTERNAL: attempt `n` ran out of time.
  caf::reacts_to<caf::atom_constant<caf::atom("deadline")>, uint64_t>>;

// -- worker channels ---------------------------------------------------------------

/// Whether a worker has a job. The slot writes it, the supervisor reads it: what a running job
/// takes must not count as what the worker keeps. Any thread.
class worker_activity {
public:
  void begin_job() { ++moment_; }
  void end_job() { ++moment_; }

  /// Grows by one with each begin and each end. Two equal even readings: no job ran between.
  uint64_t moment() const { return moment_; }
  static bool idle_at(uint64_t moment) { return moment % 2 == 0; }

private:
  std::atomic<uint64_t> moment_ = 0;
};

/// The bytes of a frame for a worker, shared, never copied between actors.
struct outgoing_frame {
  std::shared_ptr<const std::string> bytes;
};

/// A frame from a worker, to the channel's owner.
struct channel_frame {
  uint64_t worker = 0; ///< Unique per process start; pids are not.
  std::shared_ptr<const wire::frame> content;
};

/// The worker's socket is closed, or the worker sent invalid bytes (`reason` is set). Goes to the
/// supervisor, which tells the slot why.
struct channel_closed {
  uint64_t worker = 0;
  std::optional<error> reason;
};

/// A worker that is given to a slot.
struct worker_link {
  uint64_t worker = 0;
  int32_t pid = 0;
  uint64_t generation = 0;
  caf::actor channel;         ///< Takes `outgoing_frame`, (own, caf::actor) and (ending).
  std::string fault;          ///< For this slot, or empty.
  uint64_t private_bytes = 0; ///< At the last reading.
  int64_t private_offset = 0; ///< private − anonymous bytes at the last reading.
  uint64_t budget_bytes = 0;  ///< Held before a job that may reach it; 0: never held.
  std::shared_ptr<const events::model_version> model; ///< The model of its fork server.
  std::shared_ptr<worker_activity> activity;          ///< Never null.
  uint32_t max_batch = 1; ///< The most images that its model takes together.
  bool lone_jobs = false; ///< As in `lone_jobs_wish`.
};

/// Whether the judge wants to see the worker's jobs one by one.
struct lone_jobs_wish {
  uint64_t worker = 0;
  bool lone_jobs = false;
};

struct kill_notice {
  uint64_t worker = 0;
  error reason;
  uint64_t private_bytes = 0;
};

struct private_reading {
  uint64_t worker = 0;
  int64_t private_offset = 0;
  /// All recent readings fell into jobs: hold the worker after its job, for a reading without one.
  bool hold_once = false;
};

/// Ends the hold that a `job_done` reported: the supervisor does not replace the worker.
struct go_ahead {
  uint64_t worker = 0;
};

// -- inference -> supervisor --------------------------------------------------------

/// An attempt is over on a worker: the input of the judge.
struct job_done {
  uint64_t worker = 0;
  uint32_t slot = 0;
  supervision::memory_report memory;
  /// The next job may reach the budget: the slot takes no job before it gets another worker or a
  /// `go_ahead`.
  bool held = false;
};

/// The slot is served by `worker` from now on; `previous` (0: none) is idle.
struct slot_switched {
  uint32_t slot = 0;
  uint64_t worker = 0, previous = 0;
};

/// The worker did not answer before the job's deadline.
struct worker_hung {
  uint64_t worker = 0;
  std::string job_ids; ///< Of its batch, for people.
};

// -- dispatcher -> supervisor --------------------------------------------------------

/// Who caused the death of a worker that had a job. While the job may be the cause, the death does
/// not count for the restart intensity; it counts when the job has succeeded elsewhere.
struct death_verdict {
  uint32_t slot = 0;
  uint64_t generation = 0;
  bool of_job = true;
};

// -- worker host -> supervisor --------------------------------------------------------

/// A frame from fork server number `server`.
struct server_frame {
  uint64_t server = 0;
  std::shared_ptr<const wire::frame> content;
};

/// Fork server number `server` is gone.
struct server_closed {
  uint64_t server = 0;
  std::optional<error> reason;
};

// -- operators -> supervisor -----------------------------------------------------------

/// The order to serve the model version in `folder` from now on.
struct rollout_request {
  std::string folder; ///< `<name>/<version>`.
};

/// Whether the roll-out has begun. How it ends is told by events and by the status.
struct rollout_answer {
  std::optional<error> refused;
};

// -- publisher ------------------------------------------------------------------------

enum class publication_kind : uint8_t { result, dead_letter, event };

struct publication {
  publication_kind kind = publication_kind::event;
  std::shared_ptr<const messaging::outgoing> content;
  messaging::record_id source; ///< Not for events.
  uint64_t epoch = 0;
};

/// In their order.
struct publications {
  std::vector<publication> records;
};

/// Reports that have come together.
struct delivery_reports {
  std::vector<messaging::delivery_report> reports;
};

/// A result or dead letter has its delivery report, or will never have one.
struct published {
  publication_kind kind = publication_kind::result;
  messaging::record_id source;
  uint64_t epoch = 0;
  bool withdrawn = false;       ///< Its partition was taken away before the producer had it.
  std::optional<error> refused; ///< The broker will never take it.
  /// Its topic does not take it at present, while other topics take theirs: it is tried again from
  /// time to time. Another `published` reports how that ended.
  std::optional<error> set_aside = {};
};

/// What has become known together.
struct published_records {
  std::vector<published> records;
};

/// These partitions were taken away. Their results and dead letters that the producer does not have
/// yet are dropped, and reported as `published` with `withdrawn`.
struct withdrawal {
  std::vector<messaging::topic_partition> partitions;
};

/// What a transactional publisher would like to put into its next transaction.
struct plan_request {
  struct item {
    messaging::record_id source;
    uint64_t epoch = 0;
  };
  std::vector<item> records;
};

/// What the transaction may contain.
struct transaction_plan {
  /// For each record asked for: whether it is still ours. The dispatcher has released the others.
  std::vector<bool> ours;
  /// The offsets to commit with those records, as if they were finished.
  std::vector<messaging::offset_commit> offsets;
  messaging::offsets_committed points; ///< The same, for the dispatcher, when it is done.
  /// Our membership; null when the group has not settled: nothing can be committed then.
  std::shared_ptr<const messaging::group_membership> member;
};

// -- triggers of the circuit breaker -----------------------------------------------------

struct breaker_input {
  supervision::circuit_breaker::trigger which{};
  bool raised = false;
  std::string reason;
  std::optional<double> memory_share;                ///< Set: a reading; the rest is ignored.
  supervision::circuit_breaker::numbers values = {}; ///< Of the reason, for its event.
};

/// An operator's order to the breaker.
struct breaker_command {
  supervision::breaker_mode mode{};
  std::string why;
};

// -- status -------------------------------------------------------------------------------

/// The dispatcher's state, in answer to a request.
struct dispatcher_status {
  messaging::ledger_report ledger;
  bool consuming = false; ///< In the group, brokers reachable.
  bool draining = false;
  std::string trouble;  ///< Why not consuming, or empty.
  bool joining = false; ///< Not consuming only because the group is not joined yet.
  supervision::breaker_state breaker{};
  supervision::breaker_mode breaker_mode{};
  std::string breaker_reason;
  std::string breaker_trouble;  ///< The reasons of its raised triggers, in any state.
  bool intake_given_up = false; ///< Memory is so short that nothing is fetched.
  supervision::memory_pressure::level pressure{};
  uint64_t credit_jobs = 0, credit_bytes = 0; ///< Granted at present.
  bool maintenance = false;                   ///< Drained, and may be resumed.
  uint64_t queued = 0, running = 0, slots_up = 0;
  /// Records of all assigned partitions without a result or dead letter. Empty: not known.
  std::optional<uint64_t> lag_records;
  int64_t oldest_unfinished_us = 0; ///< Age of the oldest fetched job that is not finished.
  uint64_t results = 0, dead_letters = 0;
};

struct supervisor_status {
  struct worker {
    uint64_t id = 0;
    supervision::worker_life::phase phase{};
    bool held = false;
    events::evidence evidence; ///< Generation 0: it has no slot yet.
  };
  struct process {
    std::string name; ///< "control" or "fork_server"
    int32_t pid = 0;
    uint64_t private_bytes = 0;
    supervision::growth verdict{};
  };
  struct forks {
    int32_t pid = 0;
    bool up = false, ready = false;
    uint64_t number = 0; ///< Counted from 1.
  };
  struct version {
    std::string folder;
    supervision::served_version::phase phase{};
    std::optional<events::model_version> model; ///< Empty: not loaded yet.
    forks fork_server;
  };
  /// The latest roll-out.
  struct rollout {
    enum class phase : uint8_t { under_way, finished, rejected };
    std::string folder; ///< Of the new version.
    phase state{};
    std::string reason; ///< Of its rejection.
  };
  std::vector<worker> workers;
  std::vector<process> processes; ///< Our own.
  std::optional<rollout> latest_rollout;
  std::vector<version> versions; ///< Of the model; more than one during a roll-out.
  forks fork_server;             ///< Of the version that slots want.
  bool model_ready = false;
  std::string trouble;
  uint64_t slots = 0, slots_up = 0, standbys = 0, replacements = 0;
  uint64_t slots_held = 0; ///< Of `slots_up`: they are at their budget and wait for a standby.
  uint64_t container_used = 0, container_limit = 0;
  std::string container_source;
};

/// The PUBLISHER actor: hands records to the Kafka producer until each has been
/// acknowledged.
using publisher_actor =
  caf::typed_actor<caf::reacts_to<publications>, caf::reacts_to<withdrawal>,
                   // From the producer's thread.
                   caf::reacts_to<delivery_reports>,
                   // Offsets wait for a transaction. Is not sent without transactions.
                   caf::reacts_to<caf::atom_constant<caf::atom("commit")>>,
                   // Answers true when nothing is pending, false after so many milliseconds.
                   caf::replies_to<caf::atom_constant<caf::atom("drain")>, uint64_t>::with<bool>,
                   caf::reacts_to<caf::atom_constant<caf::atom("tick")>>,
                   // INTERNAL: the drain's deadline.
                   caf::reacts_to<caf::atom_constant<caf::atom("deadline")>>>;

/// The PUBLISHER actor of `delivery.guarantee` exactly_once. Takes no events.
using transactional_publisher_actor = publisher_actor::extend<
  // From the producer's thread.
  caf::reacts_to<messaging::transaction_report>>;

/// The SUPERVISOR actor: starts, judges, heals and ends workers.
using supervisor_actor = caf::typed_actor<
  caf::reacts_to<server_frame>, caf::reacts_to<server_closed>, caf::reacts_to<channel_frame>,
  caf::reacts_to<channel_closed>, caf::reacts_to<job_done>, caf::reacts_to<slot_switched>,
  caf::reacts_to<worker_hung>, caf::reacts_to<death_verdict>,
  caf::replies_to<caf::atom_constant<caf::atom("status")>>::with<supervisor_status>,
  // Ends all workers and the fork server; answers when they are gone.
  caf::replies_to<caf::atom_constant<caf::atom("drain")>, uint64_t>::with<bool>,
  caf::reacts_to<caf::atom_constant<caf::atom("tick")>>,
  // INTERNAL: standbys that were given to slots may be replaced.
  caf::reacts_to<caf::atom_constant<caf::atom("refill")>>,
  // Begins to replace the model by another version.
  caf::replies_to<rollout_request>::with<rollout_answer>,
  // INTERNAL: start the fork server of this version again.
  caf::reacts_to<caf::atom_constant<caf::atom("restart")>, uint64_t>,
  // INTERNAL: the time of worker `id` for this phase of its life is over.
  caf::reacts_to<caf::atom_constant<caf::atom("deadline")>, uint64_t>>;

/// The DISPATCHER actor: owns the ledger, the queue, the credit and the breaker.
using dispatcher_actor = caf::typed_actor<
  caf::reacts_to<fetched_jobs>, caf::reacts_to<messaging::partitions_assigned>,
  caf::reacts_to<revocation>, caf::reacts_to<messaging::offsets_committed>,
  caf::reacts_to<messaging::consumer_failed>,
  // A slot takes jobs (again), at most so many together.
  caf::reacts_to<caf::atom_constant<caf::atom("slot_up")>, uint32_t, inference_actor, uint32_t>,
  caf::reacts_to<published_records>, caf::replies_to<plan_request>::with<transaction_plan>,
  caf::reacts_to<breaker_input>,
  // The broker answers again.
  caf::reacts_to<caf::atom_constant<caf::atom("reachable")>>,
  caf::replies_to<caf::atom_constant<caf::atom("status")>>::with<dispatcher_status>,
  // Answers the status after the order.
  caf::replies_to<breaker_command>::with<dispatcher_status>,
  // Starts no more jobs; answers true when the running ones are published, false
  // when that took longer than so many milliseconds. Then all is handed back.
  caf::replies_to<caf::atom_constant<caf::atom("drain")>, uint64_t>::with<bool>,
  // Takes jobs again after a drain for maintenance, when no attempt runs any more. Answers
  // false, and stays drained, when another drain is asked for before.
  caf::replies_to<caf::atom_constant<caf::atom("resume")>>::with<bool>,
  caf::reacts_to<caf::atom_constant<caf::atom("tick")>>,
  // INTERNAL: a retry may be due.
  caf::reacts_to<caf::atom_constant<caf::atom("retry")>>,
  // INTERNAL: the drain's deadline.
  caf::reacts_to<caf::atom_constant<caf::atom("deadline")>>>;

namespace atom {

using commit = caf::atom_constant<caf::atom("commit")>;
using deadline = caf::atom_constant<caf::atom("deadline")>;
using drain = caf::atom_constant<caf::atom("drain")>;
using ending = caf::atom_constant<caf::atom("ending")>;
using own = caf::atom_constant<caf::atom("own")>;
using reachable = caf::atom_constant<caf::atom("reachable")>;
using resume = caf::atom_constant<caf::atom("resume")>;
using refill = caf::atom_constant<caf::atom("refill")>;
using restart = caf::atom_constant<caf::atom("restart")>;
using retry = caf::atom_constant<caf::atom("retry")>;
using slot_up = caf::atom_constant<caf::atom("slot_up")>;
using stage_ended = caf::atom_constant<caf::atom("stage_end")>;
using status = caf::atom_constant<caf::atom("status")>;
using tick = caf::atom_constant<caf::atom("tick")>;

} // namespace atom

} // namespace ziyu::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::fetched_jobs)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::decode_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::decoded_job)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::revocation)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::attempt_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::attempt_outcome)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::worker_link)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::kill_notice)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::private_reading)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::go_ahead)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::lone_jobs_wish)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::outgoing_frame)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::channel_frame)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::channel_closed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::job_done)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::slot_switched)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::worker_hung)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::death_verdict)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::server_frame)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::server_closed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::rollout_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::rollout_answer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::publications)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::published_records)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::withdrawal)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::plan_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::transaction_plan)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::breaker_input)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::breaker_command)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::dispatcher_status)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::supervisor_status)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::messaging::partitions_assigned)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::messaging::consumer_failed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::messaging::offsets_committed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::delivery_reports)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::messaging::transaction_report)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(ziyu::actors::inference_actor)
