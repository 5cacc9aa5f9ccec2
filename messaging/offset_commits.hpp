#pragma once

#include "base/one_thread.hpp"
#include "messaging/consumer.hpp"
#include "messaging/doorbell.hpp"
#include "messaging/kafka_client.hpp"

#include <atomic>
#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <optional>

namespace ziyu::messaging {

/// Which partitions are ours, and the commits of their offsets: explicit ones with metadata, one at
/// a time, so that an older commit cannot overtake a newer one. Any thread may call `store` and
/// `membership`, and only the thread that polls the rest.
class offset_commits {
public:
  using clock = std::chrono::steady_clock;

  /// @param client Outlives this object, as does `bell`, which rings when there is something to do.
  offset_commits(rd_kafka_t* client, doorbell& bell, std::chrono::milliseconds interval);
  ~offset_commits();

  // -- whose they are ---------------------------------------------------------------------

  void own(const std::vector<topic_partition>& partitions, uint64_t epoch);
  /// Drops what waits to be committed for the partitions, too.
  void disown(const std::vector<topic_partition>& partitions);
  void disown_all();
  bool owns(const topic_partition& where) const;
  /// From now on `membership` returns null: a closed group answers no request.
  void close();

  /// Our identity in the group while all of these partitions are ours; else null.
  std::shared_ptr<const group_membership> membership(
    const std::map<topic_partition, uint64_t>& epochs) const;

  // -- commits ------------------------------------------------------------------------------

  expected<void> store(const topic_partition& where, commit_point point);
  void send_if_due();
  /// When to look again; `bell` rings when a commit is answered earlier.
  clock::time_point due();
  /// An `offsets_committed`, if a commit was answered.
  std::optional<consumer_event> next_answer();
  /// Commits all that is stored, now.
  expected<void> commit(std::chrono::milliseconds limit);

private:
  struct pending {
    commit_point point;
    uint64_t epoch = 0;
    bool without_map = false; ///< The broker refuses metadata of this size.
  };

  bool any_without_map() const;
  bool await_answer(clock::time_point deadline);
  void send(bool without_map_only);
  void take_answers();
  void on_answer(rd_kafka_resp_err_t overall, rd_kafka_topic_partition_list_t* list);

  rd_kafka_t* client_;
  doorbell& bell_;
  queue_ptr answers_;

  one_thread poller_; ///< Has what follows for itself: the commit under way and its answers.
  const std::chrono::milliseconds interval_;
  clock::time_point next_, not_before_{};
  std::map<topic_partition, pending> in_flight_; ///< In the commit under way.
  std::optional<error> last_failure_;
  std::deque<consumer_event> news_; ///< For the next polls.

  mutable std::mutex mutex_;                   ///< Guards what `store` touches from other threads:
  std::map<topic_partition, uint64_t> epochs_; ///< Of the partitions that are ours.
  std::map<topic_partition, pending> pending_;
  bool urgent_ = false;
  bool closed_ = false;
};

} // namespace ziyu::messaging
