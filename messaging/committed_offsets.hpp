#pragma once

#include "messaging/consumer.hpp"
#include "messaging/doorbell.hpp"
#include "messaging/kafka_client.hpp"

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

namespace ziyu::messaging {

/// What was found committed for partitions; nothing where the group has committed nothing.
using committed_states = std::map<topic_partition, std::optional<committed_state>>;

/// What the group of `client` has committed for the partitions of `list`, with the map of
/// what is finished beyond (decision 0009). Those are left out of which it is not known
/// within `limit`: also those with a map, but without the log's end that tells whether it is
/// of this log.
expected<committed_states> read_committed(rd_kafka_t* client,
                                          const rd_kafka_topic_partition_list_t& list,
                                          std::chrono::milliseconds limit);

/// The ends of the partitions of `list` (whose offsets it overwrites), as far as they can be
/// had within `limit`.
std::map<topic_partition, int64_t> log_ends(rd_kafka_t* client,
                                            rd_kafka_topic_partition_list_t& list,
                                            std::chrono::milliseconds limit);

/// Asks what is committed for partitions that are new here, again until it is told, on a
/// thread of its own: neither a coordinator nor a leader that is away holds up polling.
/// Everything is for the polling thread.
class committed_reader {
public:
  struct answer {
    uint64_t epoch = 0;
    committed_states found;
  };

  /// @param client Outlives this, as does `bell`, which rings when there is an answer.
  committed_reader(rd_kafka_t* client, doorbell& bell);
  /// Waits for the question under way: 3 s at most.
  ~committed_reader();

  void ask(const std::vector<topic_partition>& partitions, uint64_t epoch);
  void forget(const topic_partition& where);
  /// What has become known since, of one assignment; each partition once.
  std::optional<answer> next_answer();
  /// Nothing is asked any more.
  void stop();

private:
  void run();
  void pass_on(const std::map<topic_partition, uint64_t>& asked, committed_states found);

  rd_kafka_t* client_;
  doorbell& bell_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<topic_partition, uint64_t> wanted_; ///< With the epochs of the assignments.
  std::map<uint64_t, committed_states> known_; ///< By epoch.
  bool stopping_ = false;
  std::thread thread_; ///< Last: it uses the rest.
};

} // namespace ziyu::messaging
