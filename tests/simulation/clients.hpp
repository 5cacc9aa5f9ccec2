#pragma once

#include "messaging/consumer.hpp"
#include "messaging/producer.hpp"
#include "tests/simulation/broker.hpp"

#include <deque>
#include <functional>

namespace ziyu::simulation {

inline constexpr uint64_t max_jobs_in_flight = 10;

/// Bound for a result or dead letter of a simulated job.
inline constexpr uint64_t largest_output_bytes = 4'096;

/// Bound for pending events: so low that an outage reaches it.
inline constexpr uint64_t max_event_bytes = 4'096;

/// The assignments of one service, over all of its consumers.
struct assignments {
  uint64_t latest = 0; ///< Epoch.
  /// The committed points that were found, by epoch and partition, as far as they are used.
  std::map<std::pair<uint64_t, int32_t>, messaging::committed_state> found;

  /// Whether the commit at the beginning of an assignment has the record as finished.
  bool was_finished(const messaging::record_id& x, uint64_t epoch) const;
};

/// A member of the group, behind the port of the job source.
class simulated_consumer : public messaging::consumer, public group_member {
public:
  /// @param known Outlives the consumer, as the next one of its service uses it, too.
  simulated_consumer(timeline& time, broker& where, std::shared_ptr<assignments> known);
  ~simulated_consumer() override;

  // -- the port ------------------------------------------------------------------------------

  /// Never waits.
  messaging::consumer_event poll(std::chrono::milliseconds) override;
  void wake() override {}
  void gate(bool closed) override { gated_ = closed; }
  void hold(const std::set<messaging::topic_partition>& partitions) override;
  std::vector<messaging::partition_view> view() override;
  expected<void> seek(const messaging::topic_partition& where, int64_t offset,
                      std::chrono::milliseconds) override;
  void pause(bool on) override;
  uint64_t refetched_bytes() const override { return refetched_bytes_; }
  expected<void> store(const messaging::topic_partition& where,
                       messaging::commit_point point) override;
  std::shared_ptr<const messaging::group_membership> membership(
    const std::map<messaging::topic_partition, uint64_t>& epochs) const override;
  void finish_revoke() override;
  expected<void> commit(std::chrono::milliseconds) override;
  void close(std::chrono::milliseconds) override;

  // -- the coordinator's word -------------------------------------------------------------------

  void on_granted(const std::vector<int32_t>& partitions) override;
  void on_wanted_back(const std::vector<int32_t>& partitions) override;
  void on_thrown_out() override;

  // -- what the simulation does to it -----------------------------------------------------------

  bool is_closed() const { return closed_; }
  int64_t polled_us() const { return polled_us_; } ///< Last.
  /// Evicted by the coordinator; the consumer learns it later.
  void evict() { broker_.throw_out(member_); }
  /// The next poll reports that it is unusable.
  void break_down() { fatal_ = true; }
  /// Goes back to the committed offset, as after a fetch that the broker reset.
  void refetch();
  /// One of its partitions brings nothing until a seek, or (`for_good`) until a new
  /// assignment.
  void get_stuck(uint64_t which, bool for_good);
  /// The client dies with its service, without leaving.
  void vanish();

private:
  struct assignment {
    uint64_t epoch = 0;
    bool announced = false;                        ///< It is known where to go on.
    int64_t position = 0;                          ///< Of the next record.
    int64_t prefetched_past = 0;                   ///< Records below wait in the client.
    uint32_t vain_polls = 0;                       ///< Brought nothing of it, but could have.
    std::optional<messaging::commit_point> stored; ///< To be committed.
    int64_t stored_next = -1;                      ///< The highest that was ever stored.
  };
  struct change {
    std::vector<int32_t> partitions;
    bool granted = false; ///< If false, revoked…
    bool lost = false;    ///< …or lost already.
  };

  messaging::consumer_event on_change(change x);
  std::optional<messaging::consumer_event> announce();
  bool can_fetch(int32_t partition, const assignment& x) const;
  void prefetch();
  void drop_prefetched(int32_t partition, assignment& x);
  messaging::consumer_event fetch();
  void commit_stored(int32_t partition);
  void rejoin();

  timeline& time_;
  broker& broker_;
  lifetime life_;
  uint64_t member_ = 0; ///< 0: none.
  std::deque<change> changes_;
  std::map<int32_t, assignment> mine_; ///< As far as it knows.
  std::set<int32_t> given_up_;         ///< Were its own, and are not any more.
  std::vector<int32_t> revoking_;
  bool revoking_lost_ = false;
  std::shared_ptr<assignments> known_;
  std::vector<messaging::offsets_committed::item> answers_; ///< To commits, not delivered yet.
  std::set<int32_t> held_;
  std::map<int32_t, bool> stuck_; ///< For good?
  int64_t next_commit_us_ = 0, polled_us_ = 0;
  bool gated_ = false, paused_ = false, closed_ = false, fatal_ = false, told_down_ = false;
  uint64_t refetched_bytes_ = 0;
  int64_t down_since_us_ = -1;
};

/// The identity of a member in the simulated group.
struct simulated_membership : messaging::group_membership {
  simulated_membership(uint64_t m, uint64_t g) : member(m), generation(g) {}
  uint64_t member, generation;
};

/// Behind the port of the transactional publisher: commits late, aborts, does not know for a while
/// how a transaction ended, or dies during one.
class simulated_transactional_producer : public messaging::transactional_producer {
public:
  /// @param id The id of its service, the same over all of its lives.
  simulated_transactional_producer(timeline& time, broker& where, report_handler report,
                                   uint64_t id, std::shared_ptr<const bool> dead);
  ~simulated_transactional_producer() override;

  expected<void> submit(messaging::transaction x) override;

private:
  enum class step : uint8_t { none, produce, offsets, commit };

  void later(int64_t most_us, void (simulated_transactional_producer::*next)());
  void produce();
  void send_offsets();
  void commit();
  void end(messaging::transaction_end how, const char* why, int64_t after_ms = 0);

  timeline& time_;
  broker& broker_;
  report_handler report_;
  uint64_t id_;
  std::shared_ptr<const bool> dead_; ///< Whether its service is dead.
  lifetime life_;
  messaging::transaction work_;
  step step_ = step::none;
  int64_t begun_us_ = 0;
};

/// Behind the port of the publisher: delivers in order, late, twice or not at all, but reports
/// once.
class simulated_producer : public messaging::producer {
public:
  /// @param max_jobs More results and dead letters in flight than it returns break P4.
  simulated_producer(timeline& time, broker& where, report_handler report,
                     std::function<uint64_t()> max_jobs, std::shared_ptr<const bool> dead);
  ~simulated_producer() override;

  expected<void> produce(const messaging::outgoing& x) override;

private:
  struct pending {
    messaging::outgoing content;
    int64_t since_us = 0;
  };

  void check_bounds();
  void pump();
  void deliver();
  void report(pending x, std::optional<error> failure, messaging::record_id where = {});
  void purge(errc code);

  timeline& time_;
  broker& broker_;
  report_handler report_;
  std::function<uint64_t()> max_jobs_;
  std::shared_ptr<const bool> dead_; ///< Whether its service is dead.
  lifetime life_;
  std::deque<pending> queue_;
  uint64_t jobs_ = 0, job_bytes_ = 0, event_bytes_ = 0;
  bool pumping_ = false, fatal_ = false;
};

} // namespace ziyu::simulation
