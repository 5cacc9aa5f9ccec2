// How progress gets into commits, for each guarantee.

#include "messaging/delivery/delivery_strategy.hpp"

#include <gtest/gtest.h>

namespace ziyu::messaging {

namespace {

const topic_partition jobs0{"image.jobs", 0};

class Delivery : public ::testing::Test {
protected:
  explicit Delivery(guarantee x) : aut(make_strategy(x, ledger)) { ledger.assign(jobs0, 1); }

  /// Fetches the record at `offset` and finishes it.
  void finish(int64_t offset) {
    const record_id id{jobs0.topic, jobs0.partition, offset};
    ASSERT_EQ(ledger.fetched(id, 1), arrival::fresh);
    ASSERT_TRUE(ledger.advance(id, 1, record_state::publishing));
    ASSERT_TRUE(ledger.advance(id, 1, record_state::done));
  }

  offset_ledger ledger;
  std::unique_ptr<delivery_strategy> aut;
};

class AtLeastOnce : public Delivery {
protected:
  AtLeastOnce() : Delivery(guarantee::at_least_once) {}
};

class ExactlyOnce : public Delivery {
protected:
  ExactlyOnce() : Delivery(guarantee::exactly_once) {}
};

} // namespace

TEST_F(AtLeastOnce, StoresEachProgressOnce) {
  finish(0);
  const auto first = aut->progressed(jobs0);
  ASSERT_TRUE(first.store);
  EXPECT_EQ(first.store->next, 1);
  EXPECT_FALSE(first.transaction);
  EXPECT_FALSE(aut->looked_after(jobs0).store) << "it is on its way";
}

TEST_F(AtLeastOnce, GivesNoOffsetsToATransaction) {
  finish(0);
  EXPECT_FALSE(aut->plan(jobs0, {}, false));
  EXPECT_TRUE(aut->progressed(jobs0).store) << "nothing was taken";
}

TEST_F(AtLeastOnce, SaysFarewellOnlyInGoodOrder) {
  finish(0);
  EXPECT_FALSE(aut->commits_before_departure());
  EXPECT_TRUE(aut->may_go(jobs0)) << "what is stored is committed when it goes";
  EXPECT_FALSE(aut->gone(jobs0, false).store);
  const auto last = aut->gone(jobs0, true);
  ASSERT_TRUE(last.store);
  EXPECT_EQ(last.store->next, 1);
  EXPECT_EQ(aut->farewell_limit().count(), 0);
}

TEST_F(AtLeastOnce, AFailedCommitIsTheConsumersToTryAgain) {
  finish(0);
  aut->progressed(jobs0);
  aut->failed(jobs0, 1);
  EXPECT_FALSE(aut->progressed(jobs0).store);
}

TEST_F(ExactlyOnce, StoresNothingAndWantsATransactionLater) {
  ledger.fetched({jobs0.topic, jobs0.partition, 0}, 1);
  ledger.advance({jobs0.topic, jobs0.partition, 0}, 1, record_state::publishing);
  ledger.advance({jobs0.topic, jobs0.partition, 0}, 1, record_state::done);
  EXPECT_FALSE(aut->progressed(jobs0).store);
  const auto later = aut->looked_after(jobs0);
  EXPECT_FALSE(later.store);
  EXPECT_TRUE(later.transaction);
}

TEST_F(ExactlyOnce, PlansOffsetsWithTheResultsThatFinishThem) {
  const record_id id{jobs0.topic, jobs0.partition, 0};
  ledger.fetched(id, 1);
  ledger.advance(id, 1, record_state::publishing);
  const auto point = aut->plan(jobs0, {0}, false);
  ASSERT_TRUE(point);
  EXPECT_EQ(point->next, 1);
  // The transaction did not come about, and is planned again.
  const auto again = aut->plan(jobs0, {0}, false);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->next, 1);
}

TEST_F(ExactlyOnce, APartitionGoesWhenItsFarewellIsCommitted) {
  finish(0);
  EXPECT_TRUE(aut->commits_before_departure());
  EXPECT_FALSE(aut->may_go(jobs0));
  const auto last = aut->plan(jobs0, {}, true);
  ASSERT_TRUE(last);
  EXPECT_FALSE(aut->may_go(jobs0)) << "under way";
  aut->committed(jobs0, 1, last->version - 1);
  EXPECT_FALSE(aut->may_go(jobs0)) << "another commit";
  aut->committed(jobs0, 1, last->version);
  EXPECT_TRUE(aut->may_go(jobs0));
  aut->gone(jobs0, true);
  EXPECT_FALSE(aut->may_go(jobs0)) << "of its next assignment nothing is known";
}

TEST_F(ExactlyOnce, APartitionWithoutProgressGoesAfterAnEmptyFarewell) {
  finish(0);
  const auto point = aut->plan(jobs0, {}, true);
  ASSERT_TRUE(point);
  aut->committed(jobs0, 1, point->version);
  EXPECT_FALSE(aut->plan(jobs0, {}, true)) << "it is committed already";
  EXPECT_TRUE(aut->may_go(jobs0));
}

TEST_F(ExactlyOnce, AFailedTransactionIsPlannedAnew) {
  finish(0);
  ASSERT_TRUE(aut->plan(jobs0, {}, false));
  EXPECT_FALSE(aut->looked_after(jobs0).transaction) << "on its way";
  aut->failed(jobs0, 2);
  EXPECT_FALSE(aut->looked_after(jobs0).transaction) << "of another epoch";
  aut->failed(jobs0, 1);
  EXPECT_TRUE(aut->looked_after(jobs0).transaction);
}

TEST(DeliveryStrategy, ResultsWaitForTheirOrderWhereNoTransactionKeepsIt) {
  offset_ledger ledger;
  EXPECT_TRUE(make_strategy(guarantee::at_least_once, ledger)->keeps_order_here());
  EXPECT_FALSE(make_strategy(guarantee::exactly_once, ledger)->keeps_order_here());
}

} // namespace ziyu::messaging
