#pragma once

#include "actors/intake.hpp"
#include "actors/protocol.hpp"
#include "actors/reporter.hpp"
#include "base/clock.hpp"
#include "messaging/stall_watchdog.hpp"

#include <atomic>
#include <future>
#include <memory>
#include <thread>

namespace ziyu::actors {

/// A remedy is due after so long without a record, if the partition has records and there is
/// credit. Longer than a change of leader takes.
constexpr std::chrono::milliseconds stall_patience{30'000};

/// One turn of the JOB SOURCE: polls `from` once (gated without credit) and hands its event to
/// `to`, unread. Called in a loop by `job_source` or by a simulation. Applies remedies to a
/// consumer that brings nothing although it should.
class source_loop {
public:
  /// @param watchdog Outlives the loop, since the next loop goes on with it; null: no remedies.
  /// Requires `report`.
  source_loop(messaging::consumer& from, intake& credit, dispatcher_actor to, environment& env,
              messaging::stall_watchdog* watchdog = nullptr,
              std::shared_ptr<reporter> report = nullptr);

  /// @param limit How long to wait for the next event.
  /// @returns False after a fatal error of the consumer, or when a fresh consumer may help.
  bool turn(std::chrono::milliseconds limit);

  /// Partitions are going, and the dispatcher has not released them yet.
  bool handing_over() const { return handing_over_.has_value(); }

private:
  struct departure {
    std::future<void> handled;
    int64_t until_us = 0;
    bool reopen = false; ///< A fresh consumer is to be made.
  };
  void on_record(messaging::record x);
  void on_records_lost(const messaging::records_lost& x);
  void hand_over(messaging::partitions_revoked x, bool reopen);
  bool finish_hand_over(std::chrono::milliseconds limit);
  bool watch(bool open);
  bool remedy(const messaging::stall_watchdog::finding& x,
              const std::vector<messaging::partition_view>& views);

  messaging::consumer& from_;
  intake& credit_;
  dispatcher_actor to_;
  environment& env_;
  std::optional<std::set<messaging::topic_partition>> held_; ///< As told to the consumer.
  bool paused_ = false;                                      ///< As told to the consumer.
  std::optional<departure> handing_over_;
  messaging::stall_watchdog* watchdog_;
  std::shared_ptr<reporter> report_;
  int64_t last_turn_us_ = 0, next_watch_us_ = 0;
  int64_t open_us_ = 0; ///< How long records could have come.
};

/// Runs a `source_loop` on its own thread, the only one that polls Kafka.
class job_source {
public:
  /// Makes a consumer; called again (with a pause) after a fatal error.
  using factory = std::function<expected<std::unique_ptr<messaging::consumer>>()>;

  job_source(factory make, std::shared_ptr<intake> credit, dispatcher_actor to, environment& env,
             std::shared_ptr<reporter> report = nullptr);
  ~job_source();

  /// Stores what is to be committed at the present consumer; `errc::revoked` without one.
  /// Thread-safe.
  expected<void> store(const messaging::topic_partition& where, messaging::commit_point point);

  /// As `consumer::membership`; null without a consumer. Thread-safe.
  std::shared_ptr<const messaging::group_membership> membership(
    const std::map<messaging::topic_partition, uint64_t>& epochs);

  /// Commits what has been stored, on the poll thread and within `limit`. `done` is called once,
  /// at once with `errc::revoked` when there is no consumer or another commit is asked for
  /// already. Thread-safe.
  void commit(std::chrono::milliseconds limit, std::function<void(expected<void>)> done);

  /// Commits, leaves the group and ends the thread, within about `limit`.
  void stop(std::chrono::milliseconds limit);

private:
  struct commit_request {
    std::chrono::milliseconds limit{0};
    std::function<void(expected<void>)> done;
  };
  void run();
  void commit_if_asked();

  factory make_;
  std::shared_ptr<intake> credit_;
  dispatcher_actor to_;
  environment& env_;
  std::shared_ptr<reporter> report_;
  /// Guards `consumer_`, which the poll thread changes and others use, and `asked_`.
  std::mutex mutex_;
  std::unique_ptr<messaging::consumer> consumer_;
  std::optional<commit_request> asked_; ///< Only while there is a consumer.
  std::atomic<bool> stopping_{false};
  std::atomic<int64_t> close_limit_ms_{5000};
  std::thread thread_;
};

} // namespace ziyu::actors
