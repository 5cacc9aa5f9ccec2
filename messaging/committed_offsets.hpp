#pragma once

#include "messaging/consumer.hpp"
#include "messaging/doorbell.hpp"
#include "messaging/kafka_client.hpp"

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

namespace ziyu::messaging {

/// What was found committed for partitions; nothing where the group has committed nothing.
using committed_states = std::map<topic_partition, std::optional<committed_state>>;

/// What the group of `client` has committed for the partitions of `list`, with the map of
/// what is finished beyond (decision 0009). The coordinator is waited for up to `limit`, each
/// leader up to `leader_limit`. Those are left out of which it is not known then: also those
/// with a map, but without the log's end that tells whether it is of this log.
expected<committed_states> read_committed(rd_kafka_t* client,
                                          const rd_kafka_topic_partition_list_t& list,
                                          std::chrono::milliseconds limit,
                                          std::chrono::milliseconds leader_limit);

/// A commit as it is on record.
struct stable_commit {
  int64_t next = -1;
  std::string metadata;
};

/// What `group` has committed for `where`, asked through any client: waits until no
/// transaction on it is open.
expected<stable_commit> read_stable(rd_kafka_t* client, const std::string& group,
                                    const topic_partition& where, std::chrono::milliseconds limit);

/// The ends of `partitions`, as far as they can be had. Each leader is asked by itself, for
/// up to `limit`: none that is away keeps the ends of others from us.
std::map<topic_partition, int64_t> log_ends(rd_kafka_t* client,
                                            const std::set<topic_partition>& partitions,
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
  /// @param leader_limit What a question waits for a leader: longer than a fetch may wait at
  /// the broker (`fetch.wait.max.ms`), which it comes after.
  committed_reader(rd_kafka_t* client, doorbell& bell, std::chrono::milliseconds leader_limit);
  /// Waits for the question under way: 3 s, and `leader_limit` for each leader that is away.
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
  const std::chrono::milliseconds leader_limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<topic_partition, uint64_t> wanted_; ///< With the epochs of the assignments.
  std::map<uint64_t, committed_states> known_; ///< By epoch.
  bool stopping_ = false;
  std::thread thread_; ///< Last: it uses the rest.
};

} // namespace ziyu::messaging
