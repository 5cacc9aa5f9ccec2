#pragma once

#include "actors/protocol.hpp"

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <string>
#include <vector>

namespace ziyu::actors {

/// The results and dead letters that wait for a transaction, in their order. A topic that takes
/// nothing fails whole transactions, and no broker says which topic it is. So each transaction is
/// of one topic only for a while, the topics in turn. Pure.
class transaction_queue {
public:
  using clock = std::chrono::steady_clock;

  void push(publication x);
  /// Goes before all others.
  void push_first(publication x);
  /// Records of a transaction that failed: go before all others, in their order.
  void put_back(std::vector<publication> xs);

  /// Takes the records of the next transaction: as long as so many records of so many bytes leave
  /// room for another one, but at least one.
  std::vector<publication> take(clock::time_point now,
                                const std::function<bool(size_t, uint64_t)>& has_room);

  /// Takes out the records for which `gone` is true.
  std::vector<publication> remove_if(const std::function<bool(const publication&)>& gone);

  /// Until this time, or a later one that was given before, each transaction is of one topic.
  void split_until(clock::time_point x) { apart_until_ = std::max(apart_until_, x); }
  /// The topic is found.
  void split_no_more() { apart_until_ = {}; }

  bool empty() const { return all_.empty(); }
  size_t size() const { return all_.size(); }
  uint64_t bytes() const { return bytes_; }

private:
  std::string next_topic() const;

  std::deque<publication> all_;
  uint64_t bytes_ = 0;
  clock::time_point apart_until_{};
  std::string last_apart_; ///< The topic of the last transaction of one topic.
};

/// A transaction on its way: what it was to contain, and what the dispatcher has planned. Pure.
struct planned_batch {
  std::vector<publication> records;
  transaction_plan plan;

  plan_request to_request() const;
  /// Drops the records that are not ours any more; the dispatcher has released them.
  void obey(transaction_plan x);
  messaging::transaction to_transaction(uint64_t id) const;
  bool is_empty() const { return records.empty() && plan.offsets.empty(); }
  bool is_all_of(const std::string& topic) const;
  uint64_t bytes() const;

  /// For the dispatcher, when it is committed.
  messaging::offsets_committed committed(bool without_maps) const;
  /// For the dispatcher, when it has failed: the offsets will be offered again.
  messaging::offsets_committed failed() const;
};

} // namespace ziyu::actors
