#pragma once

#include "messaging/committed_offsets.hpp"
#include "messaging/doorbell.hpp"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace ziyu::messaging {

/// Asks brokers on a thread of its own, so that polling does not wait for the answers: what is
/// committed for newly assigned partitions (repeated until a broker answers) and where logs end. A
/// coordinator or leader that is away holds up nothing else. All functions are for the polling
/// thread.
class offset_reader {
public:
  struct answer {
    uint64_t epoch = 0;
    committed_states found;
  };

  /// @param client Outlives this object, as does `bell`, which rings when there is an answer.
  /// @param leader_limit How long to wait for one leader: longer than a fetch may wait at the
  /// broker (`fetch.wait.max.ms`), since the request queues behind it.
  offset_reader(rd_kafka_t* client, doorbell& bell, std::chrono::milliseconds leader_limit);
  /// Waits for the request under way: 3 s, and `leader_limit` for each leader that is away.
  ~offset_reader();

  void ask_committed(const std::vector<topic_partition>& partitions, uint64_t epoch);
  /// The committed states that have become known since the last call, of one assignment. Returns
  /// each partition once.
  std::optional<answer> next_committed();

  /// Replaces the partitions asked for before.
  void ask_ends(std::set<topic_partition> partitions);
  /// The ends told in answer to the latest request, as far as they were told.
  std::map<topic_partition, int64_t> ends();

  /// No record came at the offsets [from, past): asks whether retention deleted them.
  void ask_start(const topic_partition& where, int64_t from, int64_t past);
  /// The next such gap that retention made.
  std::optional<records_lost> next_lost();

  /// @param mark Is returned with the answer.
  void ask_topic_ids(std::set<std::string> topics, uint64_t mark);
  struct ids {
    uint64_t mark = 0;
    std::map<std::string, std::string> by_topic;
  };
  /// The ids told in answer to the latest request.
  ids topic_ids();

  /// The partition is not ours any more.
  void forget(const topic_partition& where);
  /// Asks nothing any more.
  void stop();

private:
  using partitions_by_epoch = std::map<topic_partition, uint64_t>;

  void run();
  void read_wanted(std::unique_lock<std::mutex>& lock);
  void read_view(std::unique_lock<std::mutex>& lock);
  void read_starts(std::unique_lock<std::mutex>& lock);
  void pass_on(const partitions_by_epoch& asked, committed_states found);
  size_t still_open(const partitions_by_epoch& asked) const;

  rd_kafka_t* client_;
  doorbell& bell_;
  const std::chrono::milliseconds leader_limit_;
  std::chrono::milliseconds limit_; ///< For the coordinator.
  std::chrono::milliseconds pause_; ///< Before a request that got no answer is repeated.
  std::chrono::steady_clock::time_point told_{};

  std::mutex mutex_; ///< Guards the rest.
  std::condition_variable changed_;
  partitions_by_epoch wanted_;                   ///< Committed offsets that are wanted, and…
  std::chrono::steady_clock::time_point next_{}; ///< …when to ask for them.
  std::map<uint64_t, committed_states> known_;   ///< By epoch.
  std::optional<std::set<topic_partition>> ends_wanted_;
  std::map<topic_partition, int64_t> ends_;
  /// By partition: the gaps since the last request.
  std::map<topic_partition, std::vector<offset_range>> gaps_;
  std::chrono::steady_clock::time_point next_starts_{}; ///< When to ask for them.
  std::set<topic_partition> starts_asked_;              ///< Of the request under way.
  std::vector<records_lost> lost_;
  std::optional<std::set<std::string>> ids_wanted_;
  uint64_t ids_mark_ = 0; ///< Of the request.
  ids ids_;
  bool stopping_ = false;
  std::thread thread_; ///< Last: it uses the rest.
};

} // namespace ziyu::messaging
