#pragma once

#include "messaging/delivery/offset_ledger.hpp"

#include <chrono>
#include <memory>
#include <optional>

namespace ziyu::messaging {

/// The promise of `delivery.guarantee`.
enum class guarantee : uint8_t {
  at_least_once, ///< Offsets are committed after their results.
  exactly_once,  ///< Offsets are committed in one transaction with their results.
};

/// What its owner has to do for a partition after it has told something to a strategy.
struct delivery_orders {
  /// To be stored at the source, which commits it. If that fails: `offset_ledger::progress_lost`.
  std::optional<commit_point> store;
  /// The publisher is to run a transaction soon, even without results.
  bool transaction = false;
};

/// How the progress of the ledger gets into commits: a strategy for each guarantee. Pure: no I/O,
/// no clock. Not thread-safe; lives in the dispatcher, as does the ledger, which outlives it.
class delivery_strategy {
public:
  virtual ~delivery_strategy() = default;

  /// Records of `where` were fetched, announced, or finished.
  virtual delivery_orders progressed(const topic_partition& where) = 0;

  /// Some time has passed: progress that was not urgent is due.
  virtual delivery_orders looked_after(const topic_partition& where) = 0;

  /// A commit was acknowledged. @param version As in its `commit_point`.
  virtual delivery_orders committed(const topic_partition& where, uint64_t epoch,
                                    uint64_t version) = 0;

  /// A commit has failed.
  virtual void failed(const topic_partition& where, uint64_t epoch) = 0;

  /// Whether a transaction is wanted as soon as partitions are about to go, in good order.
  virtual bool commits_before_departure() const = 0;

  /// Whether `where` may go as far as commits are concerned.
  virtual bool may_go(const topic_partition& where) const = 0;

  /// `where` goes now. @param in_order False: it is lost, and nothing can be committed any more.
  virtual delivery_orders gone(const topic_partition& where, bool in_order) = 0;

  /// `where` is assigned, perhaps anew.
  virtual delivery_orders assigned(const topic_partition& where) = 0;

  /// What the next transaction commits for `where`; nothing if its offsets are no part of
  /// transactions, or are committed already.
  /// @param finishing Offsets whose results are part of the transaction.
  /// @param leaving Whether `where` is about to go.
  virtual std::optional<commit_point> plan(const topic_partition& where,
                                           const std::set<int64_t>& finishing, bool leaving) = 0;

  /// Whether a result waits here until all results before it in its order are final. Transactions
  /// keep the order in which they get results, also when they are repeated.
  virtual bool keeps_order_here() const = 0;

  /// Time for a last commit at the end of a drain.
  virtual std::chrono::milliseconds farewell_limit() const = 0;

protected:
  explicit delivery_strategy(offset_ledger& ledger) : ledger_(ledger) {}

  offset_ledger& ledger_;
};

std::unique_ptr<delivery_strategy> make_at_least_once(offset_ledger& ledger);
std::unique_ptr<delivery_strategy> make_exactly_once(offset_ledger& ledger);

/// The strategy of a guarantee.
std::unique_ptr<delivery_strategy> make_strategy(guarantee x, offset_ledger& ledger);

} // namespace ziyu::messaging
