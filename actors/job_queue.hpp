#pragma once

#include "actors/protocol.hpp"

#include <chrono>
#include <deque>
#include <functional>
#include <unordered_map>

namespace ziyu::actors {

/// In which order the results of an instance appear (`delivery.ordering`).
enum class ordering : uint8_t {
  unordered, ///< As they are ready.
  key,       ///< Those of one record key as their records; records without a key in any order.
  partition, ///< Those of one partition as their records.
};

std::string_view to_string(ordering x) noexcept;

/// False when `name` is none.
bool from_string(std::string_view name, ordering& x) noexcept;

/// A fetched job on its way through the dispatcher.
struct job_entry {
  using clock = std::chrono::steady_clock;

  fetched_job job;
  uint32_t attempts = 0; ///< Begun or spent, also by former owners.
  bool duplicate_id = false;
  int64_t started_us = 0; ///< Of the latest attempt.
  error last_failure;
  /// A worker that ended while it had this job.
  struct death {
    uint32_t slot = 0;
    uint64_t generation = 0;
    errc code{};
    uint64_t ms = 0;            ///< After the attempt began.
    uint64_t private_bytes = 0; ///< 0: nobody read it.
  };
  std::vector<death> deaths;
  std::optional<uint32_t> failed_slot;         ///< Of the latest attempt that failed.
  supervision::circuit_breaker::ticket ticket; ///< Of the latest attempt.
  std::optional<publication> held;             ///< Ready, but waits for its turn.
  bool unread = false;                         ///< Waits for the decoder.
  uint64_t image_bytes = 0;                    ///< Of the image that the decoder made.
  uint32_t vain_reads = 0;                     ///< So often the decoder did not answer in time.
  uint64_t pixels_bytes = 0;                   ///< That an attempt takes in its worker.
  bool set_aside = false; ///< Its topic does not take it at present: holds no credit.
  bool off_lane = false;  ///< Those behind it in its lane do not wait for it any more.

  // The queue's own:
  std::string lane;               ///< Empty: none.
  bool decided = false;           ///< No attempt will follow.
  clock::time_point not_before{}; ///< Of a retry.
  clock::time_point overdue{};    ///< Of a suspect: waits no longer for fresh jobs.

  /// Whether workers have ended with it, so that it may be what ends them.
  bool is_suspect() const { return !deaths.empty(); }
};

/// Decides which job may start next, and whose result may be published. Jobs with an order
/// among them share a lane: the next one starts when all attempts at the one before are
/// over, and is published when that one is final. A retry that waits for its time blocks
/// nobody but its lane. A suspect waits until no other job does, but not for ever, and only
/// one suspect is out at a time. Pure: the caller brings the time.
class job_queue {
public:
  using entry_ptr = std::shared_ptr<job_entry>;
  using time_point = job_entry::clock::time_point;

  explicit job_queue(ordering x = ordering::unordered) : ordering_(x) {}

  /// Adds a fresh job behind all others.
  void push(entry_ptr x);

  /// Takes back a job that could not begin: it goes ahead of the fresh ones.
  void push_again(entry_ptr x);

  /// Takes a suspect back. It may start from `not_before` on, behind the fresh ones, and ahead
  /// of them from `overdue` on.
  void push_suspect(entry_ptr x, time_point not_before, time_point overdue);

  /// The next job that may start at `now` and that `admit` lets through; null if there is
  /// none. A job that is not admitted keeps its place.
  entry_ptr pop(time_point now, const std::function<bool(job_entry&)>& admit);

  /// The same, left where it is.
  entry_ptr find(time_point now, const std::function<bool(job_entry&)>& pick);

  /// An attempt at this job, which was popped, is over.
  void came_back(const job_entry& x);

  /// No attempt at this job will follow: the next of its lane may start.
  void decide(job_entry& x);

  /// Whether all before it in its lane are final.
  bool may_publish(const job_entry& x) const;

  /// A started job is final, or no longer ours. Returns the job whose held result is to be
  /// published now, or null.
  entry_ptr finish(const job_entry& x);

  /// Takes out those waiting jobs for which `pick` says so.
  std::vector<entry_ptr> remove_if(const std::function<bool(const job_entry&)>& pick);

  size_t size() const { return fresh_.size() + retries_.size() + suspects_.size(); }

  /// Waiting jobs that only wait for one before them, and since when the one that has
  /// waited longest was fetched (monotonic µs; 0: none).
  struct head_of_line {
    size_t blocked = 0;
    int64_t oldest_us = 0;
  };
  head_of_line blocked() const;

private:
  struct lane {
    std::deque<entry_ptr> order; ///< Not yet final.
    size_t decided = 0;          ///< So many of its front are decided.
  };
  using queue = std::deque<entry_ptr>;
  bool first_in_lane(const job_entry& x) const;
  std::optional<std::pair<queue*, queue::iterator>> next(
    time_point now, const std::function<bool(job_entry&)>& admit);

  ordering ordering_;
  queue fresh_, retries_, suspects_;
  const job_entry* suspect_out_ = nullptr; ///< Popped, and not back yet.
  std::unordered_map<std::string, lane> lanes_;
};

} // namespace ziyu::actors
