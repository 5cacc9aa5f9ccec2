// Offsets are committed in one transaction with their results (KIP-98, KIP-447). Decision 0010.

#include "messaging/delivery/delivery_strategy.hpp"

#include <map>

namespace ziyu::messaging {

namespace {

class exactly_once : public delivery_strategy {
public:
  explicit exactly_once(offset_ledger& ledger) : delivery_strategy(ledger) {}

  /// Progress that nobody waits for is committed with the next results.
  delivery_orders progressed(const topic_partition& where) override {
    return {std::nullopt, ledger_.is_urgent(where)};
  }

  delivery_orders looked_after(const topic_partition& where) override {
    return {std::nullopt, ledger_.has_progress(where)};
  }

  delivery_orders committed(const topic_partition& where, uint64_t epoch,
                            uint64_t version) override {
    ledger_.committed(where, epoch, version);
    if (const auto i = farewells_.find(where);
        i != farewells_.end() && i->second.version == version)
      i->second.said = true;
    return progressed(where);
  }

  /// A transaction that has failed is planned anew.
  void failed(const topic_partition& where, uint64_t epoch) override {
    if (ledger_.owns(where, epoch))
      ledger_.progress_lost(where);
  }

  bool commits_before_departure() const override { return true; }

  bool may_go(const topic_partition& where) const override {
    const auto i = farewells_.find(where);
    return i != farewells_.end() && i->second.said;
  }

  delivery_orders gone(const topic_partition& where, bool) override {
    farewells_.erase(where);
    return {};
  }

  delivery_orders assigned(const topic_partition& where) override {
    farewells_.erase(where);
    return progressed(where);
  }

  std::optional<commit_point> plan(const topic_partition& where, const std::set<int64_t>& finishing,
                                   bool leaving) override {
    // Transactions run one at a time: if the last one had been committed, that would be known.
    ledger_.progress_lost(where);
    if (!leaving)
      return ledger_.take_progress(where, finishing);
    auto point = ledger_.farewell(where, finishing);
    farewells_[where] = {point ? point->version : 0, !point};
    return point;
  }

  bool keeps_order_here() const override { return false; }

  std::chrono::milliseconds farewell_limit() const override { return std::chrono::seconds{1}; }

private:
  /// The version of the last commit before a partition goes, and whether it is committed.
  struct farewell {
    uint64_t version = 0;
    bool said = false;
  };
  std::map<topic_partition, farewell> farewells_;
};

} // namespace

std::unique_ptr<delivery_strategy> make_exactly_once(offset_ledger& ledger) {
  return std::make_unique<exactly_once>(ledger);
}

} // namespace ziyu::messaging
