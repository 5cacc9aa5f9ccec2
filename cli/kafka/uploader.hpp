#pragma once

#include "messaging/producer.hpp"

#include <condition_variable>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace ziyu::cli {

/// Hands jobs to a producer, with a bound on those in flight, and keeps account of each job's
/// outcome. One thread calls all members except `report`.
class uploader {
public:
  struct settings {
    size_t max_in_flight_records = 2'000;
    size_t max_in_flight_bytes = size_t{64} << 20;
    /// Gives up after so long without any acknowledgement.
    std::chrono::milliseconds patience{30'000};
  };

  /// The outcome of a job; without a failure it is acknowledged, at `where`.
  struct outcome {
    std::string job_id;
    std::optional<error> failure;
    messaging::record_id where;
  };

  explicit uploader(settings x);

  /// The producer calls this on its own thread.
  void report(std::vector<messaging::delivery_report> reports);

  /// Must be called once before `submit`; `out` must outlive the last `submit` and
  /// `finish`.
  void connect(messaging::producer& out);

  /// Queues one job, waiting for room. `timeout`: nothing has been acknowledged for `patience`.
  /// Every job that was accepted or refused has one outcome.
  expected<void> submit(const std::string& job_id, messaging::outgoing x);

  /// Waits up to `limit` until all jobs have an outcome; true when they have. `timeout` when
  /// nothing has been acknowledged for `patience`.
  expected<bool> settle(std::chrono::milliseconds limit);

  /// Gives up: jobs without an outcome count as not acknowledged.
  void abandon(const std::string& why);

  /// The outcomes since the last call.
  std::vector<outcome> take();

private:
  struct pending {
    std::string job_id;
    size_t bytes = 0;
  };

  bool patient() const; ///< Something was acknowledged not too long ago.
  error out_of_patience() const;

  settings settings_;
  messaging::producer* out_ = nullptr;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<uint64_t, pending> pending_;
  std::vector<outcome> outcomes_;
  size_t bytes_ = 0;
  uint64_t next_token_ = 1, moves_ = 0;
  std::chrono::steady_clock::time_point last_move_ = std::chrono::steady_clock::now();
};

} // namespace ziyu::cli
