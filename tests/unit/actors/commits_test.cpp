// The dispatcher's checks beside its commits: partitions whose map is full, and whether the ledger
// is balanced.

#include "tests/support/dispatcher_stage.hpp"
#include "tests/support/wrong_books.hpp"

namespace ziyu::test {

namespace {

using partition_set = std::set<topic_partition>;

/// The distance between two records: such distances take many bytes of a map.
constexpr int64_t gap = int64_t{1} << 49;
constexpr int64_t enough = 400; ///< So many records need more than 75 % of a commit's metadata.

constexpr size_t congested_bytes = messaging::max_offset_metadata_bytes * 3 / 4;

class DispatcherCommits : public Dispatcher {
protected:
  /// The oldest job is done, and its result acknowledged; a tick has passed.
  void finish_one() {
    succeed();
    acknowledge_last();
    advance(250ms);
  }

  /// Finishes jobs, oldest first, until no partition is held; returns how many that took.
  int64_t finish_until_released() {
    int64_t n = 0;
    for (; n < enough && !credit->held_partitions().empty(); ++n)
      finish_one();
    return n;
  }

  messaging::offset_ledger& books() {
    using real = dispatcher_actor::stateful_base<dispatcher_state>;
    return dynamic_cast<real&>(*caf::actor_cast<caf::abstract_actor*>(aut)).state.ledger;
  }

  /// The details of the events of this type that were published.
  std::vector<nlohmann::json> details(const std::string& type) const {
    std::vector<nlohmann::json> xs;
    for (const auto& x : *published_log)
      if (x.kind == publication_kind::event)
        if (const auto event = nlohmann::json::parse(*x.content->value); event["type"] == type)
          xs.push_back(event["detail"]);
    return xs;
  }
};

} // namespace

// -- room in the metadata -------------------------------------------------------------------

TEST_F(DispatcherCommits, HoldsAPartitionWhoseMapIsFullUntilThereIsRoomAgain) {
  start();
  assign({p1}, 1);
  int64_t fetched = 0;
  while (fetched < enough && credit->held_partitions().empty()) {
    for (const auto until = fetched + 16; fetched < until; ++fetched)
      fetch(make_record(gap * fetched)); // the first keeps the slot, all others wait
    advance(250ms);
  }
  EXPECT_EQ(credit->held_partitions(), partition_set{p0}) << "and no other";
  EXPECT_EQ(metric("ziyu_intake_held_partitions"), 1);
  EXPECT_GT(points.at(p0).metadata.size(), congested_bytes);
  EXPECT_LT(points.at(p0).metadata.size(), congested_bytes + 16 * 16) << "no earlier, no later";
  EXPECT_EQ(points.at(p0).next, 0);
  fetch(make_record(0, 1, 1));
  EXPECT_EQ(ledger()["fetched"], fetched + 1) << "the other partition goes on";
  const auto finished = finish_until_released();
  EXPECT_GT(finished, 0);
  EXPECT_LT(finished, 32) << "as soon as there is room";
  EXPECT_TRUE(credit->held_partitions().empty());
  EXPECT_EQ(metric("ziyu_intake_held_partitions"), 0);
  EXPECT_EQ(points.at(p0).next, gap * finished) << "nothing was held up that was here already";
}

TEST_F(DispatcherCommits, NeverHoldsARecordThatALeftMapHasOpen) {
  start();
  messaging::offset_map map;
  for (int64_t i = 0; i + 1 < enough; ++i)
    map.finished.push_back({gap * i + 1, gap * (i + 1)});
  ASSERT_GT(messaging::offset_map_bytes(map, 0), congested_bytes);
  assign_from(p0, 2, 0, map);
  fetch(make_record(0, 2));
  succeed();
  acknowledge_last();
  advance(250ms);
  EXPECT_GT(points.at(p0).metadata.size(), congested_bytes);
  EXPECT_EQ(points.at(p0).next, gap) << "the next that its owner had left open";
  EXPECT_TRUE(credit->held_partitions().empty()) << "it has to come, or nothing ever moves";
  for (int64_t i = 1; i < enough; ++i)
    fetch(make_record(gap * i, 2));
  advance(250ms);
  EXPECT_EQ(credit->held_partitions(), partition_set{p0}) << "all are here that make room";
  EXPECT_GT(finish_until_released(), 0);
  EXPECT_TRUE(credit->held_partitions().empty());
}

TEST_F(DispatcherCommits, APartitionThatGoesIsHeldNoLonger) {
  start();
  for (int64_t i = 0; i < enough; ++i)
    fetch(make_record(gap * i));
  advance(250ms);
  ASSERT_EQ(credit->held_partitions(), partition_set{p0});
  revoke({p0}, 1);
  advance(250ms);
  EXPECT_TRUE(credit->held_partitions().empty());
  EXPECT_EQ(metric("ziyu_intake_held_partitions"), 0);
}

// -- the audit --------------------------------------------------------------------------------

TEST_F(DispatcherCommits, ALedgerThatDoesNotAddUpIsToldOfOnceAndShownUntilItDoes) {
  start();
  report->connect(spawn(fake_publisher, published_log));
  fetch(make_record(0));
  advance(250ms);
  EXPECT_EQ(metric("ziyu_ledger_balanced"), 1);
  EXPECT_EQ(events("ledger_imbalance"), 0);
  miscount(books(), p0, 1);
  advance(1s);
  EXPECT_EQ(metric("ziyu_ledger_balanced"), 0);
  ASSERT_EQ(events("ledger_imbalance"), 1) << "once";
  const std::string reason = details("ledger_imbalance").at(0)["reason"];
  EXPECT_NE(reason.find("image.jobs-0 in epoch 1 does not add up"), std::string::npos) << reason;
  EXPECT_EQ(ledger()["balanced"], false);
  miscount(books(), p0, -1);
  advance(250ms);
  EXPECT_EQ(metric("ziyu_ledger_balanced"), 1);
  miscount_ended(books(), 1);
  advance(250ms);
  EXPECT_EQ(metric("ziyu_ledger_balanced"), 0);
  ASSERT_EQ(events("ledger_imbalance"), 2) << "another time";
  succeed();
  EXPECT_EQ(outbox().size(), 1u) << "the work goes on";
}

} // namespace ziyu::test
