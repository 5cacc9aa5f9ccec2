#include "tests/support/dispatcher_stage.hpp"

namespace ziyu::test {

TEST_F(Dispatcher, HasItsNeighboursBeforeItsFirstMessage) {
  start(1, [this](dispatcher_settings& s) {
    s.make_neighbours = [this](const dispatcher_actor& self) {
      aut = self;
      assign({p1}, 4);
      auto bad = make_record(0, 4, 1);
      bad.value.reset();
      fetch(std::move(bad));
      return fake_neighbours();
    };
  });
  ASSERT_EQ(outbox().size(), 1u);
  EXPECT_EQ(outbox()[0].kind, publication_kind::dead_letter);
}

// -- revocation -----------------------------------------------------------------------------

TEST_F(Dispatcher, DropsQueuedWorkOfARevokedPartition) {
  start();
  assign({p1}, 1);
  fetch(make_record(0, 1, 0)); // runs
  fetch(make_record(1, 1, 0));
  fetch(make_record(0, 1, 1));
  revoke({p0}, 1);
  EXPECT_EQ(status().queued, 1u);
  EXPECT_EQ(credit->jobs(), 2u) << "the running one and the other partition's";
  EXPECT_EQ(ledger()["handed_back"], 2);
  succeed();
  EXPECT_EQ(slots[0]->requests.at(1).jobs.at(0).job->source.id.partition, 1);
}

TEST_F(Dispatcher, NeverPublishesNorStoresAnOutcomeOfARevokedPartition) {
  start();
  fetch(make_record(0));
  revoke({p0}, 1);
  succeed();
  EXPECT_TRUE(outbox().empty());
  EXPECT_EQ(stored.back().second, 0);
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(metric("ziyu_stale_outcomes_total"), 1);
}

TEST_F(Dispatcher, TellsAnAssignmentFromItsPredecessor) {
  start(2);
  fetch(make_record(0, 1));
  revoke({p0}, 1);
  assign({p0}, 2);
  fetch(make_record(0, 2)); // fetched again by the new assignment
  succeed(0);               // of the old one
  EXPECT_TRUE(outbox().empty());
  succeed(1);
  ASSERT_EQ(outbox().size(), 1u);
  EXPECT_EQ(outbox()[0].epoch, 2u);
  acknowledge_last();
  EXPECT_EQ(stored.back().second, 1);
  EXPECT_EQ(credit->jobs(), 0u);
}

TEST_F(Dispatcher, StoresNoOffsetForADeliveryReportAfterTheRevocation) {
  start();
  fetch(make_record(0));
  succeed();
  revoke({p0}, 1);
  EXPECT_EQ(credit->jobs(), 1u) << "held until the report";
  acknowledge_last();
  EXPECT_EQ(stored.back().second, 0);
  EXPECT_EQ(credit->jobs(), 0u);
}

TEST_F(Dispatcher, SaysGoodbyeWithAMapAndWithoutSuspectsUnlessThePartitionIsLost) {
  start(2);
  fetch(make_record(0));
  fetch(make_record(1));
  EXPECT_TRUE(stored_map().begun_below);
  succeed(1);
  acknowledge_last();
  revoke({p0}, 1);
  EXPECT_EQ(points.at(p0).next, 0);
  EXPECT_TRUE(points.at(p0).urgent);
  EXPECT_EQ(stored_map().finished, (std::vector<messaging::offset_range>{{1, 2}}));
  EXPECT_FALSE(stored_map().begun_below);
  assign_from(p1, 2, 5, {});
  const auto before = points.at(p1).version;
  revoke({p1}, 2, true);
  EXPECT_EQ(points.at(p1).version, before) << "nothing of it is ours to commit";
}

TEST_F(Dispatcher, LetsAPartitionGoOnlyWhenItsResultsAreAcknowledged) {
  start(2);
  assign({p1}, 1);
  fetch(make_record(0));
  fetch(make_record(0, 1, 1));
  succeed(0);
  succeed(1);
  const auto out = outbox();
  const auto done = begin_revoke({p0}, 1);
  EXPECT_NE(done.wait_for(0s), std::future_status::ready);
  fetch(make_record(1)); // comes too late to be begun
  EXPECT_EQ(requests(0) + requests(1), 2u);
  acknowledge(out[0]);
  EXPECT_EQ(done.wait_for(0s), std::future_status::ready) << "the other partition has time";
  EXPECT_EQ(points.at(p0).next, 1) << "nobody does it again";
  EXPECT_EQ(ledger()["handed_back"], 0);
}

TEST_F(Dispatcher, DoesNotLetTheGroupWaitForALostReport) {
  start();
  fetch(make_record(0));
  succeed();
  const auto done = begin_revoke({p0}, 1);
  advance(1'900ms);
  EXPECT_NE(done.wait_for(0s), std::future_status::ready);
  advance(400ms);
  EXPECT_EQ(done.wait_for(0s), std::future_status::ready);
  EXPECT_EQ(stored.back().second, 0);
  EXPECT_EQ(ledger()["handed_back"], 1);
}

TEST_F(Dispatcher, TakesRecordsOfAPartitionThatCameBackBeforeItsFarewellWasOver) {
  start();
  fetch(make_record(0));
  succeed();
  const auto done = begin_revoke({p0}, 1);
  assign({p0}, 2); // the source did not wait any longer
  fetch(make_record(0, 2));
  fetch(make_record(1, 2));
  succeed();
  acknowledge_last();
  advance(3s);
  EXPECT_EQ(done.wait_for(0s), std::future_status::ready);
  succeed();
  acknowledge_last();
  advance(1s);
  EXPECT_EQ(points.at(p0).next, 2);
  EXPECT_EQ(ledger()["published"], 2) << "none was taken for an offset that does not exist";
}

TEST_F(Dispatcher, TakesNoPartitionAnyMoreWhenItDrains) {
  start();
  const auto drained = ask<bool>(aut, atom::drain{}, uint64_t{5'000});
  assign_from(p1, 2, 7, {}); // it had been on its way
  ASSERT_TRUE(*drained);
  EXPECT_TRUE(**ask<bool>(aut, atom::resume{}));
  advance(1s);
  EXPECT_FALSE(points.contains(p1)) << "nobody would take it back from us";
}

TEST_F(Dispatcher, ForgetsWhatItKnowsOfALogThatWentBack) {
  start();
  for (auto i = 0; i < 3; ++i)
    fetch(make_record(i));
  succeed();
  acknowledge_last();
  advance(1s);
  EXPECT_EQ(points.at(p0).next, 1);
  assign_from(p0, 2, 1, {}); // the consumer begins anew behind what is committed
  fetch(make_record(1, 2));  // another record than that of offset 1 before
  succeed();                 // which this is of
  EXPECT_EQ(outbox().size(), 1u) << "its result is nobody's";
  succeed();
  ASSERT_EQ(outbox().size(), 2u);
  EXPECT_EQ(outbox().back().epoch, 2u);
  acknowledge_last();
  advance(1s);
  EXPECT_EQ(points.at(p0).next, 2);
  EXPECT_EQ(ledger()["handed_back"], 2);
  EXPECT_TRUE(ledger()["balanced"]);
}

TEST_F(Dispatcher, NeverTakesBackAPartitionThatWasAssignedAnewMeanwhile) {
  start();
  fetch(make_record(0));
  succeed();
  const auto done = begin_revoke({p0}, 1);
  assign({p0}, 2); // the source did not wait any longer
  advance(3s);
  EXPECT_EQ(done.wait_for(0s), std::future_status::ready);
  fetch(make_record(0, 2));
  EXPECT_EQ(requests(), 2u) << "it is still ours";
}

TEST_F(Dispatcher, LosesAtOnceWhatItWasAboutToLetGo) {
  start();
  fetch(make_record(0));
  succeed();
  const auto done = begin_revoke({p0}, 1);
  revoke({p0}, 1, true);
  EXPECT_EQ(done.wait_for(0s), std::future_status::ready);
}

TEST_F(Dispatcher, CountsTheInferencesThatARevocationSaved) {
  start();
  for (auto i = 0; i < 3; ++i)
    fetch(make_record(i));
  revoke({p0}, 1);
  fetch(make_record(3));
  EXPECT_EQ(metric("ziyu_inference_saved_total"), 3) << "two that waited, one that came late";
}

TEST_F(Dispatcher, TakesBackTheCreditOfAWithdrawnResult) {
  start();
  fetch(make_record(0));
  succeed();
  const auto out = outbox()[0];
  revoke({p0}, 1);
  tell({out.kind, out.source, out.epoch, true, {}, {}});
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(status().results, 0u);
  EXPECT_EQ(metric("ziyu_publications_withdrawn_total"), 1);
}

TEST_F(Dispatcher, RefusesARecordOfAStaleEpoch) {
  start();
  revoke({p0}, 1);
  fetch(make_record(0, 1));
  EXPECT_EQ(requests(), 0u);
  EXPECT_EQ(credit->jobs(), 0u);
}

TEST_F(Dispatcher, HandsEverythingBackWhenTheConsumerIsLost) {
  start();
  fetch(make_record(0));
  fetch(make_record(1));
  send(aut, messaging::consumer_failed{{errc::kafka_fatal, "fenced"}});
  EXPECT_EQ(status().queued, 0u);
  EXPECT_EQ(ledger()["handed_back"], 2);
  EXPECT_FALSE(status().consuming);
  EXPECT_EQ(status().trouble, "fenced");
  succeed();
  EXPECT_TRUE(outbox().empty());
  EXPECT_EQ(credit->jobs(), 0u);
  assign({p0}, 2);
  EXPECT_TRUE(status().consuming);
}

TEST_F(Dispatcher, SaysOnceThatTheBrokerIsAwayAndOnceThatItIsBack) {
  start();
  send(aut, messaging::consumer_failed{{errc::kafka, "all brokers are down"}});
  send(aut, messaging::consumer_failed{{errc::kafka, "all brokers are down"}});
  EXPECT_FALSE(status().consuming);
  EXPECT_EQ(events("broker_unavailable"), 1);
  fetch(make_record(0)); // prefetched: no sign of life
  EXPECT_FALSE(status().consuming);
  send(aut, atom::reachable{});
  EXPECT_TRUE(status().consuming);
  EXPECT_EQ(events("broker_available"), 1);
}

// -- drain ----------------------------------------------------------------------------------

TEST_F(Dispatcher, DrainsToTrueWhenWhatRunsIsPublished) {
  start();
  fetch(make_record(0));
  fetch(make_record(1));
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{1'000});
  EXPECT_FALSE(*drained);
  EXPECT_EQ(credit->jobs(), 1u) << "what waits is handed back at once";
  EXPECT_FALSE(credit->open());
  succeed();
  EXPECT_EQ(requests(), 1u);
  EXPECT_FALSE(*drained);
  acknowledge_last();
  ASSERT_TRUE(*drained);
  EXPECT_TRUE(**drained);
  EXPECT_EQ(stored.back().second, 1);
  EXPECT_FALSE(stored_map().begun_below) << "whoever comes next has no suspects";
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(ledger()["handed_back"], 1);
  EXPECT_EQ(ledger()["in_flight"], 0);
}

TEST_F(Dispatcher, DrainsToFalseAtItsDeadlineAndHandsTheRestBack) {
  start();
  fetch(make_record(0));
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{1'000});
  advance(900ms);
  EXPECT_FALSE(*drained);
  advance(200ms);
  ASSERT_TRUE(*drained);
  EXPECT_FALSE(**drained);
  EXPECT_EQ(ledger()["handed_back"], 1);
  succeed(); // too late
  EXPECT_TRUE(outbox().empty());
  EXPECT_EQ(credit->jobs(), 0u);
}

TEST_F(Dispatcher, DrainsAtOnceWhenIdleAndIsThenDrained) {
  start();
  auto first = ask<bool>(aut, atom::drain{}, uint64_t{1'000});
  ASSERT_TRUE(*first);
  EXPECT_TRUE(**first);
  auto second = ask<bool>(aut, atom::drain{}, uint64_t{1'000});
  ASSERT_TRUE(*second);
  EXPECT_TRUE(**second);
  fetch(make_record(0));
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(requests(), 0u);
}

TEST_F(Dispatcher, HandsBackAnAttemptThatFailsDuringTheDrain) {
  start();
  fetch(make_record(0));
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{1'000});
  fail_attempt(errc::worker_died);
  EXPECT_EQ(credit->jobs(), 0u);
  ASSERT_TRUE(*drained);
  EXPECT_EQ(status().queued, 0u);
  EXPECT_EQ(ledger()["handed_back"], 1);
  EXPECT_TRUE(ledger()["balanced"].get<bool>());
}

TEST_F(Dispatcher, ResumesAfterADrainForMaintenance) {
  start();
  fetch(make_record(0));
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{1'000});
  succeed();
  acknowledge_last();
  ASSERT_TRUE(*drained);
  EXPECT_TRUE(status().maintenance);
  EXPECT_TRUE(**ask<bool>(aut, atom::resume{}));
  EXPECT_FALSE(status().draining);
  EXPECT_FALSE(status().consuming) << "not before the group is joined again";
  EXPECT_TRUE(credit->open());
  assign({p0}, 2);
  EXPECT_TRUE(status().consuming);
  auto x = make_record(1);
  x.epoch = 2;
  fetch(x);
  EXPECT_EQ(requests(), 2u);
  advance(2s); // the first drain's deadline
  auto again = ask<bool>(aut, atom::drain{}, uint64_t{60'000});
  EXPECT_FALSE(*again);
  succeed();
  acknowledge_last();
  ASSERT_TRUE(*again);
  EXPECT_TRUE(**again);
  EXPECT_TRUE(ledger()["balanced"].get<bool>());
}

TEST_F(Dispatcher, ResumesWhenNoAttemptOfBeforeRunsAnyMore) {
  start();
  fetch(make_record(0));
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{1'000});
  advance(1'100ms);
  ASSERT_TRUE(*drained);
  ASSERT_FALSE(**drained) << "the attempt outlives the drain";
  auto resumed = ask<bool>(aut, atom::resume{});
  EXPECT_FALSE(*resumed) << "its record would be fetched and begun a second time";
  EXPECT_TRUE(status().draining);
  succeed();
  ASSERT_TRUE(*resumed);
  EXPECT_TRUE(**resumed);
  EXPECT_FALSE(status().draining);
}

TEST_F(Dispatcher, DoesNotResumeAfterAnotherDrain) {
  start();
  fetch(make_record(0));
  ask<bool>(aut, atom::drain{}, uint64_t{1'000});
  advance(1'100ms);
  auto resumed = ask<bool>(aut, atom::resume{});
  EXPECT_FALSE(*resumed);
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{1'000}); // a stop
  ASSERT_TRUE(*drained);
  EXPECT_TRUE(**drained);
  ASSERT_TRUE(*resumed);
  EXPECT_FALSE(**resumed);
  succeed();
  EXPECT_TRUE(status().draining) << "a stop has begun";
}

TEST_F(Dispatcher, TheDeadlineOfAnEarlierDrainDoesNotCutTheNextOneShort) {
  start();
  ASSERT_TRUE(**ask<bool>(aut, atom::drain{}, uint64_t{1'000}));
  EXPECT_TRUE(**ask<bool>(aut, atom::resume{}));
  assign({p0}, 2);
  auto x = make_record(1);
  x.epoch = 2;
  fetch(x);
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{10'000});
  advance(2s);
  EXPECT_FALSE(*drained);
  succeed();
  acknowledge_last();
  ASSERT_TRUE(*drained);
  EXPECT_TRUE(**drained);
}

} // namespace ziyu::test
