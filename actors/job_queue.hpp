#pragma once

#include "actors/protocol.hpp"

#include <chrono>
#include <deque>
#include <functional>
#include <unordered_map>

namespace ziyu::actors {

/// In which order the results of an instance appear (`delivery.ordering`).
enum class ordering : uint8_t {
  unordered, ///< In the order in which they are ready.
  key,       ///< Results of one key in their records' order; those without a key in any order.
  partition, ///< Results of one partition in their records' order.
};

std::string_view to_string(ordering x) noexcept;

/// False when `name` is not an ordering.
bool from_string(std::string_view name, ordering& x) noexcept;

/// A fetched job on its way through the dispatcher.
struct job_entry {
  using clock = std::chrono::steady_clock;

  fetched_job job;
  uint32_t attempts = 0; ///< Attempts begun or used up, also by earlier owners.
  bool duplicate_id = false;
  int64_t started_us = 0; ///< Of the latest attempt.
  error last_failure;
  /// The death of a worker during this job.
  struct death {
    uint32_t slot = 0;
    uint64_t generation = 0;
    errc code{};
    uint64_t ms = 0;            ///< From the attempt's beginning.
    uint64_t private_bytes = 0; ///< 0: not read.
    bool alone = true;          ///< No other job ran in the worker.
    /// Jobs that ran in the worker and have not been cleared of its death; shared by them.
    std::shared_ptr<uint32_t> accused;
  };
  std::vector<death> deaths;
  std::optional<uint32_t> failed_slot;         ///< Of the latest attempt that failed.
  supervision::circuit_breaker::ticket ticket; ///< Of the latest attempt.
  std::optional<publication> held;             ///< Ready, but waits for its turn.
  bool unread = false;                         ///< Waits for the decoder.
  uint64_t image_bytes = 0;                    ///< Bytes of the image that the decoder made.
  uint32_t vain_reads = 0;                     ///< How often the decoder did not answer in time.
  uint64_t pixels_bytes = 0;                   ///< What an attempt takes in its worker.
  /// Set while its topic takes no records: the bytes of credit that it has given back meanwhile.
  std::optional<uint64_t> set_aside;
  bool off_lane = false; ///< Later jobs of its lane do not wait for it any more.

  // Used by the queue only:
  std::string lane;               ///< Empty: none.
  bool decided = false;           ///< No attempt will follow.
  clock::time_point not_before{}; ///< For a retry.
  clock::time_point overdue{};    ///< For a suspect: it waits for fresh jobs no longer than this.

  /// Whether workers ended during it, so that it may be the cause: it runs alone.
  bool is_suspect() const { return !deaths.empty(); }
};

/// Decides which job may start next, and whose result may be published. Jobs with an order among
/// them share a lane. The next job of a lane starts when all attempts at the job before it are
/// over, and is published when that job is final. A retry that waits for its time blocks only its
/// lane. A suspect waits until no other job waits, but for a bounded time, and not while others
/// wait behind it in its lane. Only one suspect runs at a time. Pure: the caller passes the time.
class job_queue {
public:
  using entry_ptr = std::shared_ptr<job_entry>;
  using time_point = job_entry::clock::time_point;

  explicit job_queue(ordering x = ordering::unordered) : ordering_(x) {}

  /// Adds a fresh job behind all others.
  void push(entry_ptr x);

  /// Takes back a job that could not begin; it goes before the fresh ones.
  void push_again(entry_ptr x);

  /// Takes a suspect back. It may start from `not_before` on, behind the fresh jobs. From `overdue`
  /// on, or when another job waits behind it in its lane, it goes before them.
  void push_suspect(entry_ptr x, time_point not_before, time_point overdue);

  /// The next job that may start at `now` and that `admit` lets through; null if there is
  /// none. A job that is not admitted keeps its place.
  entry_ptr pop(time_point now, const std::function<bool(job_entry&)>& admit);

  /// The same, but the job stays in the queue.
  entry_ptr find(time_point now, const std::function<bool(job_entry&)>& pick);

  /// An attempt at this popped job is over.
  void came_back(const job_entry& x);

  /// No further attempt at this job will follow: the next of its lane may start.
  void decide(job_entry& x);

  /// Whether all jobs before it in its lane are final.
  bool may_publish(const job_entry& x) const;

  /// A started job is final, or no longer ours. Returns the job whose held result may be published
  /// now, or null.
  entry_ptr finish(const job_entry& x);

  /// Takes out the waiting jobs for which `pick` is true.
  std::vector<entry_ptr> remove_if(const std::function<bool(const job_entry&)>& pick);

  size_t size() const { return fresh_.size() + retries_.size() + suspects_.size(); }

  /// When the oldest of the fresh jobs was fetched (monotonic µs).
  std::optional<int64_t> oldest_us() const;

  /// How many waiting jobs wait only for a job before them, and when the oldest of those was
  /// fetched (monotonic µs; 0: none).
  struct head_of_line {
    size_t blocked = 0;
    int64_t oldest_us = 0;
  };
  head_of_line blocked() const;

private:
  struct lane {
    std::deque<entry_ptr> order; ///< Jobs that are not final.
    size_t decided = 0;          ///< How many at its front are decided.
  };
  using queue = std::deque<entry_ptr>;
  bool first_in_lane(const job_entry& x) const;
  bool is_waited_for(const job_entry& x) const;
  std::optional<std::pair<queue*, queue::iterator>> next(
    time_point now, const std::function<bool(job_entry&)>& admit);

  ordering ordering_;
  queue fresh_, retries_, suspects_;
  const job_entry* suspect_out_ = nullptr; ///< Popped, and not yet back.
  std::unordered_map<std::string, lane> lanes_;
};

} // namespace ziyu::actors
