// Offsets are stored at the consumer after their results, and committed by it.

#include "messaging/delivery/delivery_strategy.hpp"

namespace ziyu::messaging {

namespace {

class at_least_once : public delivery_strategy {
public:
  explicit at_least_once(offset_ledger& ledger) : delivery_strategy(ledger) {}

  /// Progress that nobody waits for is stored from time to time: its map may have many records.
  delivery_orders progressed(const topic_partition& where) override {
    return {ledger_.is_urgent(where) ? ledger_.take_progress(where) : std::nullopt, false};
  }

  delivery_orders looked_after(const topic_partition& where) override {
    return {ledger_.take_progress(where), false};
  }

  delivery_orders committed(const topic_partition& where, uint64_t epoch,
                            uint64_t version) override {
    ledger_.committed(where, epoch, version);
    return progressed(where);
  }

  void failed(const topic_partition&, uint64_t) override {
    // The consumer tries again while the partition is ours.
  }

  bool commits_before_departure() const override { return false; }

  bool may_go(const topic_partition&) const override { return true; }

  delivery_orders gone(const topic_partition& where, bool in_order) override {
    return {in_order ? ledger_.farewell(where) : std::nullopt, false};
  }

  delivery_orders assigned(const topic_partition& where) override { return progressed(where); }

  std::optional<commit_point> plan(const topic_partition&, const std::set<int64_t>&,
                                   bool) override {
    return std::nullopt;
  }

  bool keeps_order_here() const override { return true; }

  std::chrono::milliseconds farewell_limit() const override { return std::chrono::milliseconds{0}; }
};

} // namespace

std::unique_ptr<delivery_strategy> make_at_least_once(offset_ledger& ledger) {
  return std::make_unique<at_least_once>(ledger);
}

} // namespace ziyu::messaging
