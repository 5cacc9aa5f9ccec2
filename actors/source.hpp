#pragma once

#include "actors/intake.hpp"
#include "actors/protocol.hpp"
#include "actors/record_source.hpp"
#include "actors/reporter.hpp"
#include "base/clock.hpp"
#include "messaging/stall_watchdog.hpp"
#include "supervision/backoff.hpp"

#include <atomic>
#include <future>
#include <memory>
#include <thread>

namespace ziyu::actors {

/// A remedy is due after so long without a record, if the partition has records and there is
/// credit. Longer than a change of leader takes.
constexpr std::chrono::milliseconds stall_patience{30'000};

/// One turn of the JOB SOURCE: polls `from` (gated without credit) for an event, or for the records
/// that are here already, and hands them to `to`, unread. Called in a loop by `job_source` or by a
/// simulation. Applies remedies to a consumer that brings nothing although it should.
class source_loop {
public:
  /// @param watchdog Outlives the loop, since the next loop goes on with it; null: no remedies.
  /// Requires `report`.
  source_loop(messaging::consumer& from, std::shared_ptr<intake> credit, dispatcher_actor to,
              environment& env, messaging::stall_watchdog* watchdog = nullptr,
              std::shared_ptr<reporter> report = nullptr);
  ~source_loop();
  source_loop(const source_loop&) = delete;
  source_loop& operator=(const source_loop&) = delete;

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
  bool on_event(messaging::consumer_event& event);
  fetched_job to_job(messaging::record x);
  void on_records_lost(const messaging::records_lost& x);
  void hand_over(messaging::partitions_revoked x, bool reopen);
  bool finish_hand_over(std::chrono::milliseconds limit);
  bool watch(bool open);
  bool remedy(const messaging::stall_watchdog::finding& x,
              const std::vector<messaging::partition_view>& views);

  messaging::consumer& from_;
  std::shared_ptr<intake> credit_;
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
class job_source : public record_source {
public:
  /// Makes a consumer; called again (with a pause) after a fatal error.
  using factory = std::function<expected<std::unique_ptr<messaging::consumer>>()>;

  job_source(factory make, std::shared_ptr<intake> credit, dispatcher_actor to, environment& env,
             std::shared_ptr<reporter> report = nullptr);
  /// Closes, if `close` was not called, and waits for the end of the thread.
  ~job_source() override;

  expected<void> store(const messaging::topic_partition& where,
                       messaging::commit_point point) override;
  std::shared_ptr<const messaging::group_membership> membership(
    const std::map<messaging::topic_partition, uint64_t>& epochs) override;
  /// On the poll thread. Fails while another commit is asked for.
  void commit(std::chrono::milliseconds limit, std::function<void(expected<void>)> done) override;
  /// On the poll thread.
  void close(std::chrono::milliseconds limit, std::function<void(bool)> done) override;

private:
  struct commit_request {
    std::chrono::milliseconds limit{0};
    std::function<void(expected<void>)> done;
  };
  void run();
  /// Polls with one consumer until it is unusable or the source is closed.
  void run_consumer(std::unique_ptr<messaging::consumer> made, supervision::backoff& pause,
                    messaging::stall_watchdog& watchdog);
  void commit_if_asked();

  factory make_;
  std::shared_ptr<intake> credit_;
  dispatcher_actor to_;
  environment& env_;
  std::shared_ptr<reporter> report_;
  /// Guards `consumer_`, which the poll thread changes and others use, and what they ask for.
  std::mutex mutex_;
  std::unique_ptr<messaging::consumer> consumer_;
  std::optional<commit_request> asked_;       ///< Only while there is a consumer.
  std::vector<std::function<void()>> on_end_; ///< Called at the end of the thread.
  bool ended_ = false;
  std::atomic<bool> stopping_{false};
  std::atomic<int64_t> close_limit_ms_{5000};
  std::thread thread_;
};

} // namespace ziyu::actors
