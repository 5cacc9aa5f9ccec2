#pragma once

#include "base/error.hpp"
#include "messaging/commit_point.hpp"
#include "messaging/transactional_producer.hpp"
#include "tests/simulation/job_book.hpp"

#include <map>
#include <set>
#include <vector>

namespace ziyu::simulation {

/// max.poll.interval.ms: a member that is not polled for so long must leave the group. So must a
/// member that keeps a revoked partition for so long.
inline constexpr int64_t max_poll_interval_ms = 10'000;

/// The messages of a broker's group coordinator to a member.
class group_member {
public:
  virtual ~group_member() = default;
  virtual void on_granted(const std::vector<int32_t>& partitions) = 0;
  /// Must be answered with `broker::given_up`; otherwise the member is evicted.
  virtual void on_wanted_back(const std::vector<int32_t>& partitions) = 0;
  /// The group goes on without the member, even if it does not know that yet.
  virtual void on_thrown_out() = 0;
};

/// Topics, a consumer group with its coordinator, and committed offsets. It outlives the services,
/// and checks what they do against the promises.
class broker {
public:
  broker(timeline& time, job_book& jobs);

  // -- the group ----------------------------------------------------------------------------

  /// @returns The member's number.
  uint64_t join(group_member& x);
  void leave(uint64_t member);
  void given_up(uint64_t member, const std::vector<int32_t>& partitions);
  void throw_out(uint64_t member);
  /// The member is gone without leaving: it is evicted when its session has ended.
  void forget(uint64_t member);
  /// Partitions change owners, as when a topic grows or a member joins.
  void rebalance();
  bool is_member(uint64_t number) const { return members_.count(number) > 0; }

  // -- offsets ---------------------------------------------------------------------------------

  /// A member commits. Refused (`errc::kafka`) without a coordinator, and from others than
  /// members.
  expected<void> commit(uint64_t member, int32_t partition, const messaging::commit_point& x);
  /// Empty while there is no coordinator.
  std::optional<messaging::committed_state> committed(int32_t partition) const;
  bool all_committed() const;

  // -- transactions ----------------------------------------------------------------------------

  /// Changes whenever the group settles anew or partitions change owners.
  uint64_t generation() const { return generation_ + changes_; }
  /// A producer begins: an open transaction of an earlier producer of its id is aborted.
  void begin_producer(uint64_t id) { open_.erase(id); }
  /// Refused (`errc::revoked`) from others than members of this generation.
  expected<void> add_offsets(uint64_t id, uint64_t member, uint64_t generation,
                             std::vector<messaging::offset_commit> offsets);
  /// The added offsets become visible, with `records`, or never.
  void end_transaction(uint64_t id, bool committed,
                       const std::vector<messaging::outgoing>& records);
  /// The producer of `id` has died: the transaction is aborted when its time is over.
  void forget_transaction(uint64_t id);
  /// P1: no record below the offset or in the map of `x` may be unfinished. Any caller, any
  /// time.
  void check(const char* what, int32_t partition, const messaging::commit_point& x);

  // -- topics -------------------------------------------------------------------------------------

  job_book& jobs() { return jobs_; }
  /// Writes a result, dead letter or event.
  messaging::record_id write(const messaging::outgoing& x);

  // -- outages --------------------------------------------------------------------------------

  bool reachable = true;        ///< If false, nobody fetches, commits or produces.
  bool has_coordinator = true;  ///< If false, nobody commits, and assignments wait.
  std::set<int32_t> leaderless; ///< Partitions whose log's end is not known.
  int64_t extra_latency_us = 0;

  uint64_t rebalances = 0, commits = 0;
  uint64_t pauses = 0; ///< Pauses of members while memory was short.

private:
  struct member {
    group_member* who = nullptr; ///< Null: gone without leaving.
    std::set<int32_t> wanted_back;
  };

  void settle();
  std::vector<int32_t> owned_by(uint64_t member) const;

  timeline& time_;
  job_book& jobs_;
  std::map<uint64_t, member> members_;
  uint64_t next_member_ = 1;
  uint64_t generation_ = 0, changes_ = 0;
  std::vector<uint64_t> owner_, target_; ///< By partition; 0: nobody.
  struct commit_on_record {
    int64_t next = 0;
    std::string metadata;
  };
  struct transaction_part {
    uint64_t member = 0;
    std::vector<messaging::offset_commit> offsets;
    uint64_t number = 0;
  };
  std::map<uint64_t, transaction_part> open_; ///< By producer; not visible yet.
  uint64_t transactions_ = 0;
  std::vector<commit_on_record> committed_;
  int64_t written_ = 0;
};

} // namespace ziyu::simulation
