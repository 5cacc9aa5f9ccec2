#include "tests/support/dispatcher_stage.hpp"

namespace ziyu::test {

// -- attempts -------------------------------------------------------------------------------

TEST_F(Dispatcher, TriesAFailedAttemptAgainAndGivesUpWithTheReason) {
  start();
  fetch(make_record(0));
  fail_attempt(errc::worker_died);
  ASSERT_EQ(requests(), 2u);
  EXPECT_EQ(slots[0]->requests[1].jobs.at(0).attempt, 2u);
  fail_attempt(errc::worker_died);
  ASSERT_EQ(requests(), 3u);
  EXPECT_TRUE(outbox().empty());
  fail_attempt(errc::deadline_exceeded);
  EXPECT_EQ(requests(), 3u);
  ASSERT_EQ(outbox().size(), 1u);
  const auto out = outbox()[0];
  EXPECT_EQ(out.kind, publication_kind::dead_letter);
  std::string all;
  for (const auto& [name, value] : out.content->headers)
    all += name + "=" + value.value_or("(null)") + "\n";
  EXPECT_NE(all.find("max_attempts"), std::string::npos) << all;
  EXPECT_NE(all.find("deadline_exceeded: as the test says"), std::string::npos) << all;
  EXPECT_EQ(metric("ziyu_failed_attempts_total{code=\"worker_died\"}"), 2);
  acknowledge_last();
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(metric("ziyu_dead_letters_total{code=\"max_attempts\"}"), 1);
}

TEST_F(Dispatcher, ASuspectRunsWhenNobodyElseWaitsOrAfterFiveSeconds) {
  start();
  for (auto offset : {0, 1, 2, 3, 4})
    fetch(make_record(offset));
  fail_attempt(errc::worker_died);
  EXPECT_EQ(slots[0]->requests.at(1).jobs.at(0).job->source.id.offset, 1);
  succeed();
  EXPECT_EQ(slots[0]->requests.at(2).jobs.at(0).job->source.id.offset, 2) << "others wait";
  advance(5s);
  succeed();
  EXPECT_EQ(slots[0]->requests.at(3).jobs.at(0).job->source.id.offset, 3)
    << "while its retry is announced";
  succeed();
  EXPECT_EQ(slots[0]->requests.at(4).jobs.at(0).job->source.id.offset, 0)
    << "it has waited long enough";
  EXPECT_EQ(slots[0]->requests.at(4).jobs.at(0).attempt, 2u);
}

TEST_F(Dispatcher, TwoSuspectsNeverRunBesideEachOther) {
  start(3);
  for (auto offset : {0, 1})
    fetch(make_record(offset));
  fail_attempt(errc::worker_died, 0);
  fail_attempt(errc::worker_died, 1);
  EXPECT_EQ(status().running, 1u);
  fetch(make_record(2));
  EXPECT_EQ(status().running, 2u) << "others go on";
}

// -- batches --------------------------------------------------------------------------------

namespace {

/// The offsets of a request's jobs.
std::vector<int64_t> offsets_of(const attempt_request& x) {
  std::vector<int64_t> offsets;
  for (const auto& each : x.jobs)
    offsets.push_back(each.job->source.id.offset);
  return offsets;
}

} // namespace

TEST_F(Dispatcher, JobsThatWaitRunTogetherUpToTheLargestBatch) {
  start(1, [](dispatcher_settings& s) { s.max_batch = 3; });
  for (auto offset : {0, 1, 2, 3, 4})
    fetch(make_record(offset));
  EXPECT_EQ(offsets_of(slots[0]->requests.at(0)), (std::vector<int64_t>{0})) << "nobody waits";
  succeed();
  EXPECT_EQ(offsets_of(slots[0]->requests.at(1)), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(status().running, 3u);
  succeed();
  EXPECT_EQ(offsets_of(slots[0]->requests.at(2)), (std::vector<int64_t>{4}));
  ASSERT_EQ(outbox().size(), 4u);
  EXPECT_EQ(outbox()[3].source.offset, 3);
  EXPECT_EQ(outbox()[3].kind, publication_kind::result);
}

TEST_F(Dispatcher, FreeSlotsShareWhatWaits) {
  start(2, [](dispatcher_settings& s) { s.max_batch = 8; });
  for (auto offset : {0, 1, 2, 3, 4, 5, 6, 7})
    fetch(make_record(offset)); // 0 and 1 have begun
  succeed(0);
  EXPECT_EQ(offsets_of(slots[0]->requests.at(1)), (std::vector<int64_t>{2, 3, 4, 5, 6, 7}))
    << "the other slot is busy";
  succeed(1);
  for (auto offset = 8; offset < 14; ++offset)
    fetch(make_record(offset)); // 8 has begun on slot 1
  slots_take = 4;
  succeed(0);
  EXPECT_EQ(offsets_of(slots[0]->requests.at(2)), (std::vector<int64_t>{9, 10, 11, 12}))
    << "as many as the slot takes";
}

TEST_F(Dispatcher, TheImagesOfABatchHaveABound) {
  start(1, [](dispatcher_settings& s) {
    s.max_batch = 8;
    s.max_batch_bytes = 16; // "image 1" has 7
  });
  for (auto offset : {0, 1, 2, 3})
    fetch(make_record(offset));
  succeed();
  EXPECT_EQ(offsets_of(slots[0]->requests.at(1)), (std::vector<int64_t>{1, 2}));
  succeed();
  EXPECT_EQ(offsets_of(slots[0]->requests.at(2)), (std::vector<int64_t>{3}));
}

TEST_F(Dispatcher, ASlotWaitsForABatchToFillIfItIsTold) {
  start(1, [](dispatcher_settings& s) {
    s.max_batch = 3;
    s.max_batch_delay = 50ms;
  });
  fetch(make_record(0));
  EXPECT_EQ(requests(), 0u);
  advance(20ms);
  fetch(make_record(1));
  EXPECT_EQ(requests(), 0u);
  advance(40ms); // since the first one was fetched
  ASSERT_EQ(requests(), 1u);
  EXPECT_EQ(offsets_of(slots[0]->requests.at(0)), (std::vector<int64_t>{0, 1}));
  for (auto offset : {2, 3, 4})
    fetch(make_record(offset));
  succeed();
  ASSERT_EQ(requests(), 2u) << "it is full";
  EXPECT_EQ(offsets_of(slots[0]->requests.at(1)), (std::vector<int64_t>{2, 3, 4}));
  succeed();
  fetch(make_record(5));
  EXPECT_EQ(requests(), 2u);
  advance(60ms);
  EXPECT_EQ(requests(), 3u) << "each batch is looked at again";
}

TEST_F(Dispatcher, ABadImageOfABatchIsADeadLetterAlone) {
  start(1, [](dispatcher_settings& s) { s.max_batch = 3; });
  for (auto offset : {0, 1, 2})
    fetch(make_record(offset));
  succeed();
  auto r = std::make_shared<wire::result>();
  r->answers.resize(2);
  r->answers[0].error_code = to_string(errc::undecodable_image);
  attempt_outcome x;
  x.answer = r;
  answer(0, x);
  ASSERT_EQ(outbox().size(), 3u);
  EXPECT_EQ(outbox()[1].kind, publication_kind::dead_letter);
  EXPECT_EQ(outbox()[2].kind, publication_kind::result);
  EXPECT_EQ(outbox()[2].source.offset, 2);
}

TEST_F(Dispatcher, AWorkerThatEndsWithSeveralJobsChargesNoneAndEachRunsAloneNext) {
  start(1, [](dispatcher_settings& s) { s.max_batch = 4; });
  for (auto offset : {0, 1, 2, 3})
    fetch(make_record(offset));
  succeed();
  fail_attempt(errc::worker_died); // with 1, 2 and 3
  fetch(make_record(4));
  for (size_t i = 2; i < 6; ++i) {
    ASSERT_EQ(requests(), i + 1);
    EXPECT_EQ(slots[0]->requests.at(i).jobs.size(), 1u);
    EXPECT_EQ(slots[0]->requests.at(i).jobs[0].attempt, 1u) << "nothing is charged";
    succeed();
  }
  EXPECT_EQ(outbox().size(), 5u);
  EXPECT_EQ(metric("ziyu_failed_attempts_total{code=\"worker_died\"}"), 3);
}

TEST_F(Dispatcher, OnlyWhoEndsWorkersAloneIsGivenUp) {
  start(1, [](dispatcher_settings& s) { s.max_batch = 3; });
  for (auto offset : {0, 1, 2})
    fetch(make_record(offset));
  succeed();
  fail_attempt(errc::worker_died); // with 1 and 2
  const auto guilty = slots[0]->requests.at(2).jobs.at(0).job->source.id.offset;
  for (auto attempt = 0; attempt < 3; ++attempt) {
    while (slots[0]->requests.back().jobs.at(0).job->source.id.offset != guilty)
      succeed();
    fail_attempt(errc::worker_died);
    advance(6s);
  }
  if (!slots[0]->open.empty())
    succeed();
  const auto all = outbox();
  EXPECT_EQ(all.size(), 3u);
  for (const auto& x : all)
    EXPECT_EQ(x.kind == publication_kind::dead_letter, x.source.offset == guilty);
  const auto letter = std::find_if(
    all.begin(), all.end(), [](const auto& x) { return x.kind == publication_kind::dead_letter; });
  ASSERT_NE(letter, all.end());
  EXPECT_NE(header(*letter, "__connect.errors.exception.message").find("it ended 3 workers"),
            std::string::npos)
    << "the one that it ended with another is no proof";
}

TEST_F(Dispatcher, ADeathIsTheServicesWhenAllOfItsJobsHaveSucceeded) {
  start(1, [](dispatcher_settings& s) { s.max_batch = 2; });
  for (auto offset : {0, 1, 2})
    fetch(make_record(offset));
  succeed();
  fail_attempt(errc::worker_died);
  auto& verdicts = to_supervisor->verdicts;
  ASSERT_EQ(verdicts.size(), 1u) << "one death";
  EXPECT_TRUE(verdicts[0].of_job);
  succeed();
  EXPECT_EQ(verdicts.size(), 1u) << "the other may be the cause";
  succeed();
  ASSERT_EQ(verdicts.size(), 2u);
  EXPECT_FALSE(verdicts[1].of_job);
}

// -- whose fault a death is -----------------------------------------------------------------

TEST_F(Dispatcher, ADeathIsTheJobsUntilTheJobHasSucceededElsewhere) {
  start(2);
  fetch(make_record(0));
  fail_attempt(errc::worker_died, 0, false);
  auto& verdicts = to_supervisor->verdicts;
  ASSERT_EQ(verdicts.size(), 1u);
  EXPECT_EQ(verdicts[0].slot, 0u);
  EXPECT_EQ(verdicts[0].generation, 1u);
  EXPECT_TRUE(verdicts[0].of_job);
  succeed(1);
  ASSERT_EQ(verdicts.size(), 2u);
  EXPECT_EQ(verdicts[1].generation, 1u);
  EXPECT_FALSE(verdicts[1].of_job) << "it was the worker's own";
}

// Else a job that ends workers counts against the service when its partition goes meanwhile.
TEST_F(Dispatcher, ADeathIsTheJobsAlsoWhenItsPartitionHasGoneMeanwhile) {
  start();
  fetch(make_record(0));
  revoke({{"image.jobs", 0}}, 1, true);
  fail_attempt(errc::worker_died);
  ASSERT_EQ(to_supervisor->verdicts.size(), 1u);
  EXPECT_TRUE(to_supervisor->verdicts[0].of_job);
}

TEST_F(Dispatcher, AnAnswerThatRefusesTheInputClearsAJobAsWell) {
  start();
  fetch(make_record(0));
  fail_attempt(errc::worker_died);
  refuse_input(errc::undecodable_image, "not an image");
  ASSERT_EQ(to_supervisor->verdicts.size(), 2u);
  EXPECT_FALSE(to_supervisor->verdicts[1].of_job);
}

TEST_F(Dispatcher, ADeathThatFollowsTheJobStaysTheJobsAndItsDeadLetterSaysSo) {
  start();
  fetch(make_record(0));
  for (auto i = 0; i < 3; ++i) {
    env.us += 1'500'000;
    attempt_outcome x;
    x.failure = error{errc::hard_limit, "private memory is 537 MB"};
    x.generation = 10 + static_cast<uint64_t>(i);
    x.private_bytes = 537'000'000;
    answer(0, x);
  }
  EXPECT_EQ(to_supervisor->verdicts.size(), 3u);
  for (const auto& x : to_supervisor->verdicts)
    EXPECT_TRUE(x.of_job);
  EXPECT_EQ(header(outbox().at(0), "__connect.errors.exception.message"),
            "3 attempts failed, the last with hard_limit: private memory is 537 MB; the image is "
            "the cause: it ended 3 workers (slot 0, generation 10: hard_limit after 1500 ms at "
            "512.1 MiB; slot 0, generation 11: hard_limit after 1500 ms at 512.1 MiB; slot 0, "
            "generation 12: hard_limit after 1500 ms at 512.1 MiB)");
}

TEST_F(Dispatcher, OneDeathIsNoProofAgainstAnImage) {
  start(1, [](dispatcher_settings& s) { s.max_attempts = 1; });
  fetch(make_record(0));
  fail_attempt(errc::worker_died);
  EXPECT_EQ(header(outbox().at(0), "__connect.errors.exception.message"),
            "1 attempts failed, the last with worker_died: as the test says");
}

TEST_F(Dispatcher, SpendsNoAttemptWhenTheSlotWasUnavailable) {
  start();
  fetch(make_record(0));
  for (auto i = 0; i < 10; ++i) {
    fail_attempt(errc::unavailable, 0, false);
    EXPECT_EQ(status().queued, 1u);
    slot_up(0);
  }
  ASSERT_EQ(requests(), 11u);
  EXPECT_EQ(slots[0]->requests.back().jobs.at(0).attempt, 1u);
  succeed();
  EXPECT_EQ(outbox().at(0).kind, publication_kind::result);
}

TEST_F(Dispatcher, UsesASlotAgainOnlyWhenItIsUp) {
  start(2);
  fetch(make_record(0));
  fail_attempt(errc::worker_died, 0, false);
  EXPECT_EQ(requests(0), 1u);
  EXPECT_EQ(requests(1), 1u) << "the other slot takes it over";
  EXPECT_EQ(status().slots_up, 1u);
  fetch(make_record(1));
  EXPECT_EQ(requests(0), 1u);
  slot_up(0);
  EXPECT_EQ(requests(0), 2u);
}

TEST_F(Dispatcher, CountsAnInferenceActorThatNeverAnswersAsAFailedAttempt) {
  start(2);
  fetch(make_record(0));
  advance(36s); // the job's deadline and the margin
  EXPECT_EQ(requests(1), 1u);
  EXPECT_EQ(slots[1]->requests.at(0).jobs.at(0).attempt, 2u);
  EXPECT_EQ(status().slots_up, 1u);
}

TEST_F(Dispatcher, ARetryWaitsItsBackoffWithoutHoldingUpOthers) {
  start(1, [](dispatcher_settings& s) {
    s.retry_backoff = 400ms;
    s.retry_backoff_max = 10s;
  });
  fetch(make_record(0));
  fail_attempt(errc::worker_died);
  EXPECT_EQ(requests(), 1u);
  fetch(make_record(1));
  ASSERT_EQ(requests(), 2u);
  EXPECT_EQ(slots[0]->requests[1].jobs.at(0).job->source.id.offset, 1);
  succeed();
  advance(150ms);
  EXPECT_EQ(requests(), 2u) << "200 to 400 ms";
  advance(300ms);
  ASSERT_EQ(requests(), 3u);
  EXPECT_EQ(slots[0]->requests[2].jobs.at(0).attempt, 2u);
  fail_attempt(errc::worker_died);
  advance(350ms);
  EXPECT_EQ(requests(), 3u) << "twice as long";
  advance(500ms);
  EXPECT_EQ(requests(), 4u);
}

// -- attempts on record ---------------------------------------------------------------------

TEST_F(Dispatcher, BeginsNoAttemptThatIsNotOnRecord) {
  acknowledging = false;
  start();
  fetch(make_record(7));
  EXPECT_EQ(requests(), 0u);
  EXPECT_TRUE(points.at(p0).urgent);
  EXPECT_GT(stored_map().begun_below.value_or(0), 7);
  acknowledge_commit();
  EXPECT_EQ(requests(), 1u);
  fetch(make_record(8));
  succeed();
  EXPECT_EQ(requests(), 2u) << "the mark runs ahead: nobody waits";
  fail_attempt(errc::worker_died);
  EXPECT_EQ(requests(), 2u) << "a second attempt is announced first";
  EXPECT_TRUE(points.at(p0).urgent);
  EXPECT_EQ(stored_map().attempts, (std::map<int64_t, uint32_t>{{8, 2}}));
  acknowledge_commit();
  ASSERT_EQ(requests(), 3u);
  EXPECT_EQ(slots[0]->requests[2].jobs.at(0).attempt, 2u);
}

TEST_F(Dispatcher, GoesOnUnrecordedWhenNoCommitIsAcknowledgedForLong) {
  acknowledging = false;
  start();
  fetch(make_record(0));
  advance(4s);
  EXPECT_EQ(requests(), 0u);
  advance(2s);
  EXPECT_EQ(requests(), 1u);
  EXPECT_EQ(metric("ziyu_unrecorded_attempts_total"), 1);
}

TEST_F(Dispatcher, StoresAgainWhatTheClientCouldNotTake) {
  start();
  fetch(make_record(0));
  succeed();
  store_failures.push_back({errc::kafka, "as the test says"});
  acknowledge_last();
  EXPECT_EQ(stored.back().second, 0);
  advance(250ms);
  EXPECT_EQ(stored.back().second, 1);
}

TEST_F(Dispatcher, ACommitThatFailedAcknowledgesNothing) {
  acknowledging = false;
  start();
  fetch(make_record(0));
  auto news = committed(p0, points.at(p0));
  news.items[0].failure = error{errc::kafka, "as the test says"};
  send(aut, news);
  EXPECT_EQ(requests(), 0u);
  EXPECT_EQ(metric("ziyu_commit_failures_total"), 1);
}

TEST_F(Dispatcher, RestoresWhatADeadOwnerLeft) {
  start();
  messaging::offset_map map;
  map.finished = {{3, 5}};
  map.attempts = {{2, 2}};
  map.begun_below = 6;
  assign_from(p0, 2, 2, map);
  fetch(make_record(2, 2));
  ASSERT_EQ(requests(), 1u);
  EXPECT_EQ(slots[0]->requests[0].jobs.at(0).attempt, 3u) << "the third of three";
  fetch(make_record(3, 2));
  EXPECT_EQ(ledger()["already_done"], 1);
  EXPECT_EQ(metric("ziyu_jobs_already_done_total"), 1);
  EXPECT_EQ(credit->jobs(), 1u);
  fail_attempt(errc::worker_died);
  ASSERT_EQ(outbox().size(), 1u);
  EXPECT_EQ(header(outbox()[0], "__connect.errors.exception.class.name"), "max_attempts");
}

TEST_F(Dispatcher, DeadLettersWhatHasKilledItsOwnersTooOften) {
  start();
  messaging::offset_map map;
  map.attempts = {{2, 3}};
  map.begun_below = 6;
  assign_from(p0, 2, 2, map);
  fetch(make_record(2, 2));
  EXPECT_EQ(requests(), 0u) << "it does not get another service to kill";
  ASSERT_EQ(outbox().size(), 1u);
  EXPECT_EQ(header(outbox()[0], "__connect.errors.exception.class.name"), "max_attempts");
  EXPECT_EQ(header(outbox()[0], "ziyu-attempts"), "3");
}

TEST_F(Dispatcher, RunsJobsThatKilledAnOwnerOneByOne) {
  start(3);
  messaging::offset_map map;
  map.attempts = {{2, 1}, {3, 1}};
  map.begun_below = 6;
  assign_from(p0, 2, 2, map);
  for (auto offset : {2, 3, 4})
    fetch(make_record(offset, 2));
  EXPECT_EQ(status().running, 2u) << "one of the two, and the suspect that nobody has tried";
  EXPECT_EQ(slots[0]->requests.at(0).jobs.at(0).job->source.id.offset, 2);
  EXPECT_EQ(slots[1]->requests.at(0).jobs.at(0).job->source.id.offset, 4);
  EXPECT_EQ(stored_map().attempts, (std::map<int64_t, uint32_t>{{2, 2}, {3, 1}, {4, 1}}));
  succeed(0);
  EXPECT_EQ(slots[0]->requests.at(1).jobs.at(0).job->source.id.offset, 3);
}

TEST_F(Dispatcher, AnnouncesNoMoreThanItCanBegin) {
  acknowledging = false;
  start(2);
  messaging::offset_map map;
  map.begun_below = 10;
  assign_from(p0, 2, 0, map);
  for (auto offset : {0, 1, 2, 3})
    fetch(make_record(offset, 2));
  EXPECT_EQ(stored_map().attempts, (std::map<int64_t, uint32_t>{{0, 1}, {1, 1}}));
  acknowledge_commit();
  EXPECT_EQ(status().running, 2u);
}

} // namespace ziyu::test
