#pragma once

#include "base/error.hpp"
#include "messaging/offset_ledger.hpp"
#include "messaging/transactional_producer.hpp"
#include "tests/simulation/job_book.hpp"

#include <map>
#include <set>
#include <vector>

namespace ziyu::simulation {

/// max.poll.interval.ms: who is not polled for so long has to leave the group, and so has who
/// keeps a partition for so long that is wanted back.
inline constexpr int64_t max_poll_interval_ms = 10'000;

/// What a broker's group coordinator tells a member.
class group_member {
public:
  virtual ~group_member() = default;
  virtual void on_granted(const std::vector<int32_t>& partitions) = 0;
  /// To be answered with `broker::given_up`, or the member is thrown out.
  virtual void on_wanted_back(const std::vector<int32_t>& partitions) = 0;
  /// The group goes on without it, whether it knows or not.
  virtual void on_thrown_out() = 0;
};

/// Topics, a consumer group with its coordinator, and committed offsets. Survives the
/// services. Holds what they do against the promises.
class broker {
public:
  broker(timeline& time, job_book& jobs);

  // -- the group ----------------------------------------------------------------------------

  /// @returns The member's number.
  uint64_t join(group_member& x);
  void leave(uint64_t member);
  void given_up(uint64_t member, const std::vector<int32_t>& partitions);
  void throw_out(uint64_t member);
  /// It is gone without a word: thrown out when its session has ended.
  void forget(uint64_t member);
  /// Partitions change hands, as when a topic grows or a member comes.
  void rebalance();
  bool is_member(uint64_t number) const { return members_.count(number) > 0; }

  // -- offsets ---------------------------------------------------------------------------------

  /// What is done, says a member. Refused (`errc::kafka`) without a coordinator and from
  /// those who are no members.
  expected<void> commit(uint64_t member, int32_t partition, const messaging::commit_point& x);
  /// Nothing while there is no coordinator.
  std::optional<messaging::committed_state> committed(int32_t partition) const;
  bool all_committed() const;

  // -- transactions ----------------------------------------------------------------------------

  /// Changes whenever the group settles anew or partitions get another owner.
  uint64_t generation() const { return generation_ + changes_; }
  /// A producer begins: what an earlier one of its id left open is aborted.
  void begin_producer(uint64_t id) { open_.erase(id); }
  /// Refused (`errc::revoked`) from those who are no members of this generation.
  expected<void> add_offsets(uint64_t id, uint64_t member, uint64_t generation,
                             std::vector<messaging::offset_commit> offsets);
  /// What was added becomes visible, with `records`, or never was.
  void end_transaction(uint64_t id, bool committed,
                       const std::vector<messaging::outgoing>& records);
  /// Its producer is gone without a word: aborted when its time is over.
  void forget_transaction(uint64_t id);
  /// P1: neither below the offset nor in the map of `x` may anything be unfinished.
  /// Anybody, at any time.
  void check(const char* what, int32_t partition, const messaging::commit_point& x);

  // -- topics -------------------------------------------------------------------------------------

  job_book& jobs() { return jobs_; }
  /// Writes a result, dead letter or event.
  messaging::record_id write(const messaging::outgoing& x);

  // -- outages --------------------------------------------------------------------------------------

  bool reachable = true;        ///< Else nobody fetches, commits or produces.
  bool has_coordinator = true;  ///< Else nobody commits, and assignments wait.
  std::set<int32_t> leaderless; ///< Partitions of which nobody knows the end.
  int64_t extra_latency_us = 0;

  uint64_t rebalances = 0, commits = 0;
  uint64_t pauses = 0; ///< Of members, when memory was short.

private:
  struct member {
    group_member* who = nullptr; ///< Null: gone without a word.
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
