#include "messaging/delivery/offset_ledger.hpp"

#include "tests/support/wrong_books.hpp"

#include <gtest/gtest.h>

using namespace ziyu::messaging;

namespace {

const topic_partition jobs0{"image.jobs", 0};
const topic_partition jobs1{"image.jobs", 1};

record_id at(int64_t offset, const topic_partition& where = jobs0) {
  return {where.topic, where.partition, offset};
}

/// A ledger with `jobs0` under epoch 1 and the records `offsets` fetched.
offset_ledger ledger_with(std::initializer_list<int64_t> offsets) {
  offset_ledger x;
  x.assign(jobs0, 1);
  for (auto offset : offsets)
    EXPECT_EQ(x.fetched(at(offset), 1), arrival::fresh);
  return x;
}

void finish(offset_ledger& x, int64_t offset, record_state to = record_state::done) {
  EXPECT_TRUE(x.advance(at(offset), 1, record_state::running));
  EXPECT_TRUE(x.advance(at(offset), 1, record_state::publishing));
  EXPECT_TRUE(x.advance(at(offset), 1, to));
}

/// What the next commit says.
struct said {
  int64_t next = -1;
  offset_map map;
};

said taken(offset_ledger& x, const topic_partition& where = jobs0) {
  const auto point = x.take_progress(where);
  if (!point)
    return {};
  auto decoded = decode_offset_map(point->metadata, point->next);
  EXPECT_EQ(decoded.ignored, "");
  return {point->next, std::move(decoded.map)};
}

int64_t next_of(offset_ledger& x, const topic_partition& where = jobs0) {
  return taken(x, where).next;
}

/// Takes what there is to commit, and acknowledges it.
void commit(offset_ledger& x, uint64_t epoch = 1) {
  while (const auto point = x.take_progress(jobs0))
    x.committed(jobs0, epoch, point->version);
}

/// A ledger that goes on from a commit.
offset_ledger restored(int64_t next, offset_map map) {
  offset_ledger x;
  x.assign(jobs0, 1, committed_state{next, std::move(map), ""});
  return x;
}

TEST(OffsetLedger, CommitsTheLeaderOfTheLastRecordBelow) {
  offset_ledger x;
  committed_state found;
  found.next = 10;
  found.leader_epoch = 2;
  x.assign(jobs0, 1, found);
  auto point = x.take_progress(jobs0);
  ASSERT_TRUE(point);
  EXPECT_EQ(point->leader_epoch, 2) << "as it was found";
  x.committed(jobs0, 1, point->version);
  for (int64_t offset = 10; offset < 14; ++offset)
    ASSERT_EQ(x.fetched(at(offset), 1, offset < 12 ? 2 : 5), arrival::fresh);
  const auto leader_after = [&](int64_t offset) {
    EXPECT_TRUE(x.advance(at(offset), 1, record_state::done));
    const auto next = x.take_progress(jobs0);
    EXPECT_TRUE(next);
    x.committed(jobs0, 1, next->version);
    return std::pair{next->next, next->leader_epoch};
  };
  using pair = std::pair<int64_t, int32_t>;
  EXPECT_EQ(leader_after(10), (pair{11, 2}));
  EXPECT_EQ(leader_after(12), (pair{11, 2})) << "what is finished beyond does not count";
  EXPECT_EQ(leader_after(11), (pair{13, 5}));
  EXPECT_EQ(leader_after(13), (pair{14, 5}));
  const auto leaving = x.farewell(jobs0);
  EXPECT_TRUE(!leaving || leaving->leader_epoch == 5);
}

TEST(OffsetLedger, KnowsNoLeaderOfALogThatWasReset) {
  offset_ledger x;
  committed_state found;
  found.next = 10;
  found.leader_epoch = 2;
  x.assign(jobs0, 1, found);
  ASSERT_EQ(x.fetched(at(4), 1), arrival::fresh);
  x.advance(at(4), 1, record_state::done);
  const auto point = x.take_progress(jobs0);
  ASSERT_TRUE(point);
  EXPECT_EQ(point->next, 5);
  EXPECT_EQ(point->leader_epoch, -1);
}

} // namespace

// -- what is committed --------------------------------------------------------------

TEST(OffsetLedger, CommitsTheContiguousPrefixAndMapsWhatIsBeyond) {
  auto x = ledger_with({10, 11, 12, 13});
  finish(x, 12);
  finish(x, 11);
  const auto first = taken(x);
  EXPECT_EQ(first.next, 10) << "10 is open";
  EXPECT_EQ(first.map.finished, (std::vector<offset_range>{{11, 13}}));
  EXPECT_EQ(next_of(x), -1) << "nothing new";
  finish(x, 10);
  const auto second = taken(x);
  EXPECT_EQ(second.next, 13);
  EXPECT_TRUE(second.map.finished.empty());
  finish(x, 13, record_state::dead_lettered);
  EXPECT_EQ(next_of(x), 14) << "a dead letter is finished, too";
}

TEST(OffsetLedger, FetchingIsNoProgress) {
  auto x = ledger_with({10});
  EXPECT_EQ(next_of(x), 10);
  x.advance(at(10), 1, record_state::publishing);
  EXPECT_EQ(next_of(x), -1) << "published, but without a report";
}

TEST(OffsetLedger, GapsInTheOffsetsDoNotHoldItUp) {
  auto x = ledger_with({0, 5, 6, 100});
  finish(x, 0);
  EXPECT_EQ(next_of(x), 5);
  finish(x, 6);
  const auto gap = taken(x);
  EXPECT_EQ(gap.next, 5);
  EXPECT_EQ(gap.map.finished, (std::vector<offset_range>{{6, 100}})) << "7 to 99 do not exist";
  finish(x, 5);
  EXPECT_EQ(next_of(x), 100);
  finish(x, 100);
  EXPECT_EQ(next_of(x), 101);
}

TEST(OffsetLedger, ARecordFetchedTwiceCountsOnce) {
  auto x = ledger_with({3, 4});
  EXPECT_EQ(x.fetched(at(4), 1), arrival::refused);
  EXPECT_EQ(x.fetched(at(3), 1), arrival::refused);
  finish(x, 3);
  EXPECT_EQ(x.fetched(at(3), 1), arrival::refused);
  EXPECT_EQ(x.total().fetched, 2u);
}

TEST(OffsetLedger, WhatIsFinalStaysSo) {
  auto x = ledger_with({0, 1});
  finish(x, 1);
  for (auto to : {record_state::queued, record_state::running, record_state::done,
                  record_state::dead_lettered, record_state::handed_back})
    EXPECT_FALSE(x.advance(at(1), 1, to)) << to_string(to);
  EXPECT_FALSE(x.advance(at(7), 1, record_state::done)) << "never fetched";
  finish(x, 0);
  EXPECT_FALSE(x.advance(at(0), 1, record_state::done)) << "below the prefix";
  EXPECT_EQ(x.total().published, 2u);
}

TEST(OffsetLedger, AnotherAttemptMovesARecordBack) {
  auto x = ledger_with({0});
  EXPECT_TRUE(x.advance(at(0), 1, record_state::running));
  EXPECT_TRUE(x.advance(at(0), 1, record_state::queued));
  EXPECT_EQ(x.total().in_flight, 1u);
  finish(x, 0);
  EXPECT_EQ(next_of(x), 1);
}

TEST(OffsetLedger, AHandedBackRecordIsNeverPassedByACommit) {
  auto x = ledger_with({0, 1, 2});
  finish(x, 0);
  EXPECT_TRUE(x.advance(at(1), 1, record_state::handed_back));
  finish(x, 2);
  const auto point = taken(x);
  EXPECT_EQ(point.next, 1);
  EXPECT_EQ(point.map.finished, (std::vector<offset_range>{{2, 3}}));
  EXPECT_EQ(x.total().handed_back, 1u);
  EXPECT_EQ(x.total().in_flight, 0u);
  EXPECT_EQ(x.audit(), "");
}

TEST(OffsetLedger, OffersAgainWhatWasLost) {
  auto x = ledger_with({0, 1});
  finish(x, 0);
  EXPECT_EQ(next_of(x), 1);
  EXPECT_EQ(next_of(x), -1);
  x.progress_lost(jobs0);
  EXPECT_EQ(next_of(x), 1) << "the client could not take it";
}

// -- revocation ---------------------------------------------------------------------

TEST(OffsetLedger, RevokingHandsTheOpenRecordsBack) {
  auto x = ledger_with({0, 1, 2, 3});
  finish(x, 1);
  x.advance(at(2), 1, record_state::running);
  const std::vector<record_id> open{at(0), at(2), at(3)};
  EXPECT_EQ(x.revoke(jobs0), open);
  EXPECT_TRUE(x.revoke(jobs0).empty()) << "only once";
  EXPECT_FALSE(x.owns(jobs0, 1));
  EXPECT_EQ(next_of(x), -1);
  EXPECT_FALSE(x.farewell(jobs0));
  const auto sum = x.total();
  EXPECT_EQ(sum.fetched, 4u);
  EXPECT_EQ(sum.published, 1u);
  EXPECT_EQ(sum.handed_back, 3u);
  EXPECT_EQ(sum.in_flight, 0u);
  EXPECT_TRUE(sum.balanced());
}

TEST(OffsetLedger, RevokingWhatIsNotOursIsNothing) {
  offset_ledger x;
  EXPECT_TRUE(x.revoke(jobs0).empty());
  EXPECT_EQ(x.total().fetched, 0u);
}

TEST(OffsetLedger, NewsUnderAStaleEpochIsDropped) {
  auto x = ledger_with({0, 1});
  EXPECT_EQ(x.fetched(at(2), 2), arrival::refused) << "an epoch that has not come";
  x.revoke(jobs0);
  EXPECT_EQ(x.fetched(at(2), 1), arrival::refused);
  EXPECT_FALSE(x.advance(at(0), 1, record_state::done));
  x.assign(jobs0, 2);
  EXPECT_TRUE(x.owns(jobs0, 2));
  EXPECT_FALSE(x.owns(jobs0, 1));
  EXPECT_EQ(x.fetched(at(0), 2), arrival::fresh) << "the same record again, ours again";
  EXPECT_FALSE(x.advance(at(0), 1, record_state::done)) << "the result of the first attempt";
  EXPECT_TRUE(x.advance(at(0), 2, record_state::done));
  EXPECT_EQ(next_of(x), 1);
  EXPECT_EQ(x.total().fetched, 3u);
  EXPECT_TRUE(x.total().balanced());
}

TEST(OffsetLedger, AssigningAnewReplacesTheOldAssignment) {
  auto x = ledger_with({5, 6});
  finish(x, 5);
  x.assign(jobs0, 2);
  EXPECT_EQ(x.total().handed_back, 1u);
  EXPECT_EQ(next_of(x), -1) << "of the old assignment";
  EXPECT_EQ(x.fetched(at(2), 2), arrival::fresh) << "an earlier offset: it was reset";
  EXPECT_TRUE(x.advance(at(2), 2, record_state::done));
  EXPECT_EQ(next_of(x), 3);
}

TEST(OffsetLedger, PartitionsDoNotMix) {
  offset_ledger x;
  x.assign(jobs0, 1);
  x.assign(jobs1, 2);
  EXPECT_EQ(x.fetched(at(0), 1), arrival::fresh);
  EXPECT_EQ(x.fetched(at(0, jobs1), 2), arrival::fresh);
  EXPECT_EQ(x.fetched(at(1, jobs1), 1), arrival::refused);
  EXPECT_EQ(x.fetched({"other", 0, 0}, 1), arrival::refused);
  EXPECT_TRUE(x.advance(at(0, jobs1), 2, record_state::done));
  EXPECT_EQ(next_of(x), 0);
  EXPECT_EQ(next_of(x, jobs1), 1);
  EXPECT_EQ(x.revoke(jobs0).size(), 1u);
  EXPECT_TRUE(x.owns(jobs1, 2));
}

// -- going on from a commit -----------------------------------------------------------

TEST(OffsetLedger, DoesNothingTwiceThatACommitSaysIsFinished) {
  offset_map map;
  map.finished = {{12, 14}, {20, 21}};
  auto x = restored(10, map);
  EXPECT_EQ(x.fetched(at(10), 1), arrival::fresh);
  EXPECT_EQ(x.fetched(at(11), 1), arrival::fresh);
  EXPECT_EQ(x.fetched(at(12), 1), arrival::already_done);
  EXPECT_EQ(x.fetched(at(13), 1), arrival::already_done);
  EXPECT_EQ(x.fetched(at(14), 1), arrival::fresh);
  finish(x, 11);
  const auto point = taken(x);
  EXPECT_EQ(point.next, 10);
  EXPECT_EQ(point.map.finished, (std::vector<offset_range>{{11, 14}, {20, 21}}))
    << "what was not fetched again is not forgotten";
  finish(x, 10);
  EXPECT_EQ(next_of(x), 14);
  const auto sum = x.total();
  EXPECT_EQ(sum.fetched, 5u);
  EXPECT_EQ(sum.already_done, 2u);
  EXPECT_EQ(sum.in_flight, 1u);
  EXPECT_TRUE(sum.balanced());
}

TEST(OffsetLedger, PassesWhatWasFinishedWhenThePrefixReachesIt) {
  offset_map map;
  map.finished = {{11, 15}};
  auto x = restored(10, map);
  EXPECT_EQ(x.fetched(at(10), 1), arrival::fresh);
  finish(x, 10);
  EXPECT_EQ(next_of(x), 15);
  EXPECT_EQ(x.fetched(at(11), 1), arrival::already_done);
  EXPECT_EQ(x.fetched(at(15), 1), arrival::fresh);
}

TEST(OffsetLedger, ForgetsTheMapWhenTheLogWasReset) {
  offset_map map;
  map.finished = {{12, 14}};
  map.attempts = {{10, 2}};
  auto x = restored(10, map);
  EXPECT_EQ(x.fetched(at(3), 1), arrival::fresh) << "offset 10 is not there any more";
  EXPECT_EQ(x.fetched(at(10), 1), arrival::fresh);
  EXPECT_EQ(x.fetched(at(12), 1), arrival::fresh) << "another record than that of the map";
  EXPECT_EQ(x.spent_attempts(at(10)), 0u);
  EXPECT_EQ(next_of(x), 3);
}

// -- attempts on record -----------------------------------------------------------------

TEST(OffsetLedger, FirstAttemptsWaitForAnAcknowledgedMarkThatRunsAhead) {
  offset_ledger x{lookahead{8, 8}};
  x.assign(jobs0, 1);
  EXPECT_EQ(x.fetched(at(100), 1), arrival::fresh);
  EXPECT_FALSE(x.may_begin(at(100)));
  EXPECT_TRUE(x.awaits_mark(jobs0));
  EXPECT_FALSE(x.announce(at(100))) << "the mark is enough for it";
  const auto point = x.take_progress(jobs0);
  ASSERT_TRUE(point);
  EXPECT_TRUE(point->urgent);
  EXPECT_EQ(decode_offset_map(point->metadata, 100).map.begun_below, 109);
  x.committed(jobs0, 1, point->version);
  EXPECT_TRUE(x.may_begin(at(100)));
  EXPECT_FALSE(x.awaits_mark(jobs0));
  // Well before the mark is reached, it moves on: nobody waits for it.
  for (int64_t offset = 101; offset <= 104; ++offset) {
    EXPECT_EQ(x.fetched(at(offset), 1), arrival::fresh);
    EXPECT_TRUE(x.may_begin(at(offset))) << offset;
  }
  EXPECT_EQ(x.fetched(at(105), 1), arrival::fresh);
  const auto ahead = x.take_progress(jobs0);
  ASSERT_TRUE(ahead);
  EXPECT_TRUE(ahead->urgent);
  EXPECT_EQ(decode_offset_map(ahead->metadata, 100).map.begun_below, 113);
}

TEST(OffsetLedger, TheMarkRunsAheadByWhatIsFetchedDuringACommit) {
  offset_ledger x{lookahead{8, 100}};
  x.assign(jobs0, 1);
  int64_t offset = 0;
  const auto fetch = [&] { x.fetched(at(offset++), 1); };
  const auto mark_of = [](const std::optional<commit_point>& point) {
    return *decode_offset_map(point->metadata, point->next).map.begun_below;
  };
  fetch();
  auto point = x.take_progress(jobs0);
  for (const auto& [fetched, ahead] : {std::pair{20, 80}, {60, 100}, {100, 100}}) {
    for (auto n = 0; n < fetched; ++n)
      fetch();
    x.committed(jobs0, 1, point->version);
    point = x.take_progress(jobs0);
    EXPECT_EQ(mark_of(point), offset + ahead) << "at most four times as many, and 100";
  }
  // Nothing is fetched during a commit: fewer would be suspects if this instance died.
  const auto mark = mark_of(point);
  x.committed(jobs0, 1, point->version);
  while (!x.is_urgent(jobs0))
    fetch();
  EXPECT_EQ(offset, mark - 4);
  EXPECT_EQ(mark_of(x.take_progress(jobs0)), offset + 8);
}

TEST(OffsetLedger, AMarkFromAKnownCommitNeedsNoRecord) {
  auto x = restored(10, {});
  const auto point = x.take_progress(jobs0);
  ASSERT_TRUE(point);
  EXPECT_TRUE(point->urgent);
  EXPECT_EQ(point->next, 10);
  x.committed(jobs0, 1, point->version);
  EXPECT_EQ(x.fetched(at(10), 1), arrival::fresh);
  EXPECT_TRUE(x.may_begin(at(10)));
}

TEST(OffsetLedger, AnAcknowledgementOfAnotherEpochCountsForNothing) {
  auto x = ledger_with({0});
  const auto point = x.take_progress(jobs0);
  x.committed(jobs0, 7, point->version);
  EXPECT_FALSE(x.may_begin(at(0)));
}

TEST(OffsetLedger, AnAttemptAfterAFailedOneIsAnnouncedFirst) {
  auto x = ledger_with({0, 1});
  commit(x);
  ASSERT_TRUE(x.may_begin(at(0)));
  x.advance(at(0), 1, record_state::running);
  x.fail_attempt(at(0), 1);
  x.advance(at(0), 1, record_state::queued);
  EXPECT_EQ(x.spent_attempts(at(0)), 1u);
  EXPECT_FALSE(x.may_begin(at(0)));
  EXPECT_TRUE(x.may_begin(at(1))) << "it is its own affair";
  EXPECT_TRUE(x.announce(at(0)));
  EXPECT_FALSE(x.announce(at(0))) << "once";
  const auto point = x.take_progress(jobs0);
  ASSERT_TRUE(point);
  EXPECT_TRUE(point->urgent);
  EXPECT_EQ(decode_offset_map(point->metadata, 0).map.attempts,
            (std::map<int64_t, uint32_t>{{0, 2}}));
  EXPECT_FALSE(x.may_begin(at(0)));
  x.committed(jobs0, 1, point->version);
  EXPECT_TRUE(x.may_begin(at(0)));
}

TEST(OffsetLedger, SuspectsOfADeadOwnerAreAnnouncedEvenForTheirFirstAttempt) {
  offset_map map;
  map.begun_below = 12;
  map.attempts = {{10, 2}};
  auto x = restored(10, map);
  commit(x);
  for (auto offset : {10, 11, 12})
    EXPECT_EQ(x.fetched(at(offset), 1), arrival::fresh);
  EXPECT_EQ(x.spent_attempts(at(10)), 2u);
  EXPECT_TRUE(x.killed_an_owner(at(10)));
  EXPECT_EQ(x.spent_attempts(at(11)), 0u);
  EXPECT_FALSE(x.killed_an_owner(at(11)));
  EXPECT_FALSE(x.may_begin(at(10)));
  EXPECT_FALSE(x.may_begin(at(11))) << "it may be what killed it";
  EXPECT_TRUE(x.may_begin(at(12))) << "nobody had begun it";
  EXPECT_TRUE(x.announce(at(10)));
  EXPECT_TRUE(x.announce(at(11)));
  const auto point = taken(x);
  EXPECT_EQ(point.map.attempts, (std::map<int64_t, uint32_t>{{10, 3}, {11, 1}}));
}

TEST(OffsetLedger, AnOwnerThatSaysGoodbyeLeavesFailuresButNoSuspects) {
  auto x = ledger_with({0, 1, 2});
  commit(x);
  x.advance(at(0), 1, record_state::running);
  x.fail_attempt(at(0), 1);
  x.announce(at(0));
  x.advance(at(1), 1, record_state::running);
  finish(x, 2);
  const auto point = x.farewell(jobs0);
  ASSERT_TRUE(point);
  EXPECT_TRUE(point->urgent);
  EXPECT_EQ(point->next, 0);
  const auto map = decode_offset_map(point->metadata, 0).map;
  EXPECT_EQ(map.begun_below, std::nullopt);
  EXPECT_EQ(map.finished, (std::vector<offset_range>{{2, 3}}));
  EXPECT_EQ(map.attempts, (std::map<int64_t, uint32_t>{{0, 1}})) << "what was begun only now: free";
}

TEST(OffsetLedger, SuspectsThatWereNotClearedStaySuspects) {
  offset_map map;
  map.begun_below = 12;
  auto x = restored(10, map);
  EXPECT_EQ(x.fetched(at(10), 1), arrival::fresh);
  const auto early = x.farewell(jobs0);
  EXPECT_EQ(decode_offset_map(early->metadata, 10).map.begun_below, 12);
  finish(x, 10);
  EXPECT_EQ(x.fetched(at(11), 1), arrival::fresh);
  finish(x, 11);
  const auto late = x.farewell(jobs0);
  EXPECT_EQ(late->next, 12);
  EXPECT_EQ(late->metadata, "");
}

TEST(OffsetLedger, BeginsUnrecordedWhenTold) {
  auto x = ledger_with({0});
  EXPECT_FALSE(x.may_begin(at(0)));
  EXPECT_TRUE(x.begin_unrecorded(jobs0));
  EXPECT_TRUE(x.may_begin(at(0)));
  EXPECT_FALSE(x.begin_unrecorded(jobs0)) << "nobody waits";
  EXPECT_FALSE(x.begin_unrecorded(jobs1)) << "not ours";
}

// -- room in the metadata -----------------------------------------------------------------

TEST(OffsetLedger, IsCongestedWhenTheMapTakesThreeQuartersOfTheMetadata) {
  offset_ledger x;
  x.assign(jobs0, 1);
  int64_t offset = 0;
  while (!x.congested(jobs0) && offset < 1'000'000) {
    // Every other one stays open, at distances that no bit set can keep short.
    EXPECT_EQ(x.fetched(at(offset), 1), arrival::fresh);
    EXPECT_EQ(x.fetched(at(offset + 1), 1), arrival::fresh);
    finish(x, offset + 1);
    offset += 200;
    const auto point = x.take_progress(jobs0);
    ASSERT_TRUE(point);
    ASSERT_LE(point->metadata.size(), max_offset_metadata_bytes * 3 / 4 + 16);
  }
  EXPECT_GT(offset, 200 * 700) << "three bytes a pair";
  EXPECT_LT(offset, 200 * 800);
  const auto until = offset;
  for (offset = 0; offset < until; offset += 200)
    finish(x, offset);
  taken(x);
  EXPECT_FALSE(x.congested(jobs0));
}

TEST(OffsetLedger, RecordsThatARestoredMapLeavesOpenAreNeverHeldUp) {
  offset_map map;
  for (int64_t i = 0; i < 1'200; ++i)
    map.finished.push_back({200 * i + 1, 200 * i + 2});
  ASSERT_GT(offset_map_bytes(map, 0), max_offset_metadata_bytes * 3 / 4);
  auto x = restored(0, map);
  taken(x);
  EXPECT_FALSE(x.congested(jobs0)) << "0 has to be fetched, or nothing ever moves";
  EXPECT_EQ(x.fetched(at(0), 1), arrival::fresh);
  finish(x, 0);
  EXPECT_EQ(next_of(x), 2);
}

// -- the account ------------------------------------------------------------------------

TEST(OffsetLedger, ShowsItsAccountPerPartitionAndEpochAsJson) {
  auto x = ledger_with({10, 11, 12});
  finish(x, 10);
  finish(x, 11, record_state::dead_lettered);
  commit(x);
  x.assign(jobs1, 1);
  EXPECT_EQ(x.fetched(at(5, jobs1), 1), arrival::fresh);
  x.revoke(jobs1);
  const nlohmann::json wanted = nlohmann::json::parse(R"({
    "total": {"fetched": 4, "published": 1, "dead_lettered": 1, "handed_back": 1,
              "already_done": 0, "in_flight": 1, "balanced": true},
    "partitions": [
      {"topic": "image.jobs", "partition": 0, "epoch": 1, "assigned": true,
       "fetched": 3, "published": 1, "dead_lettered": 1, "handed_back": 0, "already_done": 0,
       "in_flight": 1, "balanced": true, "next_offset": 12, "highest_fetched": 12,
       "committed_offset": 12, "map_bytes": 18,
       "commit_pending": false},
      {"topic": "image.jobs", "partition": 1, "epoch": 1, "assigned": false,
       "fetched": 1, "published": 0, "dead_lettered": 0, "handed_back": 1, "already_done": 0,
       "in_flight": 0, "balanced": true}]
  })");
  EXPECT_EQ(to_json(x.report()), wanted) << to_json(x.report());
}

TEST(OffsetLedger, EpochsThatAreLongOverAreStillInTheTotal) {
  offset_ledger x;
  for (uint64_t epoch = 1; epoch <= 200; ++epoch) {
    x.assign(jobs0, epoch);
    EXPECT_EQ(x.fetched(at(0), epoch), arrival::fresh);
  }
  EXPECT_EQ(x.total().fetched, 200u);
  EXPECT_EQ(x.total().handed_back, 199u);
  EXPECT_EQ(x.audit(), "");
  EXPECT_EQ(to_json(x.report())["partitions"].size(), 65u) << "bounded";
}

TEST(OffsetLedger, ACommitHoldsOnlyUpToWhereItsLogWasCutOff) {
  committed_state x{10, {{{12, 15}, {18, 30}}, {{11, 1}, {25, 2}}, 90}, {}};
  EXPECT_EQ(within(x, 9), std::nullopt) << "it is of records that are not there any more";
  const auto cut = within(x, 20);
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->next, 10);
  EXPECT_EQ(cut->map.finished, (std::vector<offset_range>{{12, 15}, {18, 20}}));
  EXPECT_EQ(cut->map.attempts, (std::map<int64_t, uint32_t>{{11, 1}}));
  EXPECT_EQ(within(x, 18)->map.finished, (std::vector<offset_range>{{12, 15}}));
  EXPECT_EQ(within(x, 10)->map.finished, std::vector<offset_range>{});
}

TEST(OffsetLedger, ItsAuditNamesWhatDoesNotAddUp) {
  auto x = ledger_with({0, 1});
  x.assign(jobs1, 7);
  EXPECT_EQ(x.audit(), "");
  ziyu::test::miscount(x, jobs1, 3);
  EXPECT_NE(x.audit().find("image.jobs-1 in epoch 7 does not add up"), std::string::npos)
    << x.audit();
  EXPECT_NE(x.audit().find("with 0 open records"), std::string::npos) << x.audit();
  x.revoke(jobs1);
  EXPECT_NE(x.audit().find("the sum of the ended epochs"), std::string::npos) << x.audit();
  auto y = ledger_with({0});
  ziyu::test::miscount_ended(y, 1);
  EXPECT_NE(y.audit().find("the sum of the ended epochs"), std::string::npos) << y.audit();
}

TEST(OffsetLedger, ABalanceThatDoesNotAddUpIsNoBalance) {
  offset_ledger::balance x;
  EXPECT_TRUE(x.balanced());
  x.fetched = 5;
  x.published = x.dead_lettered = x.handed_back = x.already_done = 1;
  EXPECT_FALSE(x.balanced());
  x.in_flight = 1;
  EXPECT_TRUE(x.balanced());
}

TEST(RecordState, HasStableNames) {
  EXPECT_EQ(to_string(record_state::queued), "queued");
  EXPECT_EQ(to_string(record_state::running), "running");
  EXPECT_EQ(to_string(record_state::publishing), "publishing");
  EXPECT_EQ(to_string(record_state::done), "done");
  EXPECT_EQ(to_string(record_state::dead_lettered), "dead_lettered");
  EXPECT_EQ(to_string(record_state::handed_back), "handed_back");
}
