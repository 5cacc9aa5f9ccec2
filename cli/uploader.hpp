#pragma once

#include "messaging/producer.hpp"

#include <condition_variable>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace ziyu::cli {

/// Hands jobs to a producer, with a bound on what is in flight, and keeps account
/// of what became of each. All members from one thread, but `report`.
class uploader {
public:
  struct settings {
    size_t max_in_flight_records = 2'000;
    size_t max_in_flight_bytes = size_t{64} << 20;
    /// How long nothing at all may be acknowledged before it gives up.
    std::chrono::milliseconds patience{30'000};
  };

  /// What became of a job; without a failure it is acknowledged, at `where`.
  struct outcome {
    std::string job_id;
    std::optional<error> failure;
    messaging::record_id where;
  };

  explicit uploader(settings x);

  /// What the producer calls, on its own thread.
  void report(messaging::delivery_report x);

  /// Must be called once before `submit`; `out` must outlive the last `submit` and
  /// `finish`.
  void connect(messaging::producer& out);

  /// Queues one job, waiting for room. `timeout`: nothing has been acknowledged
  /// for `patience`. Every job that was taken or refused has one outcome.
  expected<void> submit(const std::string& job_id, messaging::outgoing x);

  /// Waits up to `limit` for all jobs to have their outcome; true when they have.
  /// False with `timeout` when nothing has been acknowledged for `patience`.
  expected<bool> settle(std::chrono::milliseconds limit);

  /// Gives up: what has no outcome yet is not acknowledged.
  void abandon(const std::string& why);

  /// The outcomes since the last call.
  std::vector<outcome> take();

private:
  struct pending {
    std::string job_id;
    size_t bytes = 0;
  };

  bool patient() const; ///< Something has moved not too long ago.
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
