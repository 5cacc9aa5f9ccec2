#include "tests/support/dispatcher_stage.hpp"

namespace ziyu::test {

// -- results ------------------------------------------------------------------------------

TEST_F(Dispatcher, PublishesAResultAndStoresItsOffsetWhenAcknowledged) {
  start();
  fetch(make_record(5));
  ASSERT_EQ(requests(), 1u);
  EXPECT_EQ(slots[0]->requests[0].jobs.at(0).attempt, 1u);
  succeed();
  ASSERT_EQ(outbox().size(), 1u);
  const auto out = outbox()[0];
  EXPECT_EQ(out.kind, publication_kind::result);
  EXPECT_EQ(out.content->topic, "image.results");
  EXPECT_EQ(out.content->key, "job-0-5");
  auto parsed = messaging::result_from_json(nlohmann::json::parse(*out.content->value));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->top_k.at(0).label, "三");
  EXPECT_EQ(parsed->model.sha256, "abc");
  EXPECT_EQ(parsed->generation, 7u);
  EXPECT_EQ(parsed->delta_bytes, 4392);
  EXPECT_EQ(parsed->source.offset, 5);
  EXPECT_EQ(parsed->attempt, 1u);
  ASSERT_EQ(stored.size(), 1u);
  EXPECT_EQ(stored[0], (std::pair{p0, int64_t{5}})) << "nothing is done before its delivery report";
  EXPECT_EQ(credit->jobs(), 1u);
  acknowledge_last();
  ASSERT_EQ(stored.size(), 2u);
  EXPECT_EQ(stored[1], (std::pair{p0, int64_t{6}}));
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(ledger()["published"], 1);
  EXPECT_EQ(status().results, 1u);
}

TEST_F(Dispatcher, AResultHasTheKeyOfItsJobToTheByteAndAnIdForIt) {
  start();
  const std::string java_long{"\0\0\0\0\0\0\0\x80", 8};
  const std::pair<std::optional<std::string>, std::string> cases[] = {
    {java_long, "hex:0000000000000080"},
    {std::string{"\0\0\0\0\0\0\0\x81", 8}, "hex:0000000000000081"},
    {"hex:0000000000000080", "hex:6865783a30303030303030303030303030303830"},
    {"照片", "照片"},
    {"", "image.jobs-0-4"},
    {std::nullopt, "image.jobs-0-5"},
  };
  for (const auto& [key, id] : cases) {
    auto x = make_record(next_offset++);
    x.key = key;
    fetch(x);
    succeed();
    const auto& out = *outbox().back().content;
    EXPECT_EQ(out.key, key.value_or(id)) << id;
    const auto document = nlohmann::json::parse(*out.value);
    EXPECT_EQ(document.at("job_id").get<std::string>(), id);
    EXPECT_FALSE(document.at("duplicate_id").get<bool>()) << id;
    acknowledge_last();
  }
  auto again = make_record(next_offset++);
  again.key = java_long;
  fetch(again);
  succeed();
  EXPECT_TRUE(
    nlohmann::json::parse(*outbox().back().content->value).at("duplicate_id").get<bool>());
}

TEST_F(Dispatcher, AJsonJobHasAnIdOfItsOwnAndTheKeyOfItsRecord) {
  start();
  auto x = make_record(0);
  x.key = "键\xff";
  x.value = std::make_shared<const std::string>(R"({"job_id": "猫", "image": "aGk="})");
  fetch(x);
  succeed();
  EXPECT_EQ(outbox()[0].content->key, x.key);
  EXPECT_EQ(nlohmann::json::parse(*outbox()[0].content->value).at("job_id"), "猫");
  x.id.offset = 1;
  fetch(x);
  refuse_input(errc::undecodable_image, "not an image");
  EXPECT_EQ(outbox()[1].content->key, x.key);
  EXPECT_EQ(header(outbox()[1], "ziyu-job-id"), "猫");
}

TEST_F(Dispatcher, CarriesHeadersToTheByte) {
  start();
  auto x = make_record(0);
  x.headers = {{"kafka_partition", std::string{"\0\0\0\x80", 4}}, {"null", std::nullopt}};
  fetch(x);
  succeed();
  auto carried = x.headers;
  carried.emplace_back("content-type", "application/json");
  EXPECT_EQ(outbox()[0].content->headers, carried);
}

TEST_F(Dispatcher, AResultNamesTheModelOfTheWorkerThatMadeIt) {
  start();
  for (const auto* version : {"1", "2", "1"}) {
    fetch(make_record(next_offset++));
    auto r = std::make_shared<wire::result>();
    r->answers.resize(1);
    r->answers[0].top_k = {{3, 0.9f, "三"}};
    attempt_outcome x;
    x.answer = r;
    x.model = std::make_shared<const events::model_version>(
      events::model_version{"digits", version, std::string{"sum of "} + version, "fp32"});
    answer(0, x);
    const auto model = nlohmann::json::parse(*outbox().back().content->value).at("model");
    EXPECT_EQ(model.at("version").get<std::string>(), version);
    EXPECT_EQ(model.at("sha256").get<std::string>(), std::string{"sum of "} + version);
  }
}

TEST_F(Dispatcher, CarriesHeadersButThoseOfThePayload) {
  start();
  auto x = make_record(0);
  x.headers = {{"traceparent", "00-1"}, {"content-type", "image/png"}, {"ce_id", "7"}, {"x", "1"}};
  fetch(x);
  succeed();
  EXPECT_EQ(header(outbox()[0], "traceparent"), "00-1");
  EXPECT_EQ(header(outbox()[0], "ce_id"), "7");
  EXPECT_EQ(header(outbox()[0], "content-type"), "application/json");
}

TEST_F(Dispatcher, StoresTheContiguousAcknowledgedPrefixAndTheMapOfTheRest) {
  start(3);
  for (auto offset : {10, 11, 12})
    fetch(make_record(offset));
  for (auto slot : {2u, 1u, 0u})
    succeed(slot);
  const auto out = outbox(); // in the order 12, 11, 10
  ASSERT_EQ(out.size(), 3u);
  acknowledge(out[0]);
  acknowledge(out[1]);
  EXPECT_EQ(stored.back().second, 10) << "10 is not done";
  EXPECT_EQ(stored_map().finished, (std::vector<messaging::offset_range>{{11, 13}}));
  acknowledge(out[2]);
  EXPECT_EQ(stored.back().second, 13);
  EXPECT_TRUE(stored_map().finished.empty());
}

TEST_F(Dispatcher, KeepsOneJobPerSlotAndTheRestInOrder) {
  start(2);
  for (auto offset : {0, 1, 2, 3})
    fetch(make_record(offset));
  EXPECT_EQ(requests(0), 1u);
  EXPECT_EQ(requests(1), 1u);
  EXPECT_EQ(status().queued, 2u);
  EXPECT_EQ(status().running, 2u);
  succeed(1);
  ASSERT_EQ(requests(1), 2u);
  EXPECT_EQ(slots[1]->requests[1].jobs.at(0).job->source.id.offset, 2);
}

TEST_F(Dispatcher, IgnoresAnAcknowledgementThatComesTwice) {
  start();
  fetch(make_record(0));
  succeed();
  acknowledge_last();
  acknowledge_last();
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(status().results, 1u);
  EXPECT_EQ(stored.back().second, 1);
}

TEST_F(Dispatcher, MakesADeadLetterOfAResultThatTheBrokerWillNeverTake) {
  start();
  fetch(make_record(0));
  succeed();
  const auto out = outbox()[0];
  tell({out.kind, out.source, out.epoch, false, error{errc::job_too_large, "2 MB"}});
  ASSERT_EQ(outbox().size(), 2u);
  EXPECT_EQ(outbox()[1].kind, publication_kind::dead_letter);
  EXPECT_EQ(header(outbox()[1], "__connect.errors.exception.class.name"), "result_too_large");
  acknowledge_last();
  EXPECT_EQ(stored.back().second, 1);
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(ledger()["dead_lettered"], 1);
}

// -- bad input ------------------------------------------------------------------------------

TEST_F(Dispatcher, SendsBadInputToTheDeadLettersAtOnce) {
  start();
  auto x = make_record(4);
  x.headers = {{"traceparent", "00-1"}};
  fetch(x, error{errc::bad_base64, "image: rubbish"});
  EXPECT_EQ(requests(), 0u);
  ASSERT_EQ(outbox().size(), 1u);
  const auto out = outbox()[0];
  EXPECT_EQ(out.kind, publication_kind::dead_letter);
  EXPECT_EQ(out.content->topic, "image.jobs-dlt");
  EXPECT_EQ(out.content->value, "image 4") << "the payload goes along intact";
  EXPECT_EQ(out.content->key, "job-0-4");
  EXPECT_EQ(header(out, "traceparent"), "00-1");
  EXPECT_EQ(header(out, "__connect.errors.offset"), "4");
  acknowledge_last();
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(stored.back().second, 5);
  EXPECT_EQ(ledger()["dead_lettered"], 1);
  EXPECT_EQ(metric("ziyu_dead_letters_total{code=\"bad_base64\"}"), 1);
  EXPECT_EQ(events("dead_lettered"), 1);
}

TEST_F(Dispatcher, DeadLettersATombstoneWithoutAValue) {
  start();
  auto x = make_record(0);
  x.value = nullptr;
  fetch(x, error{errc::tombstone, "the record has no value"});
  EXPECT_FALSE(outbox().at(0).content->value);
}

TEST_F(Dispatcher, DeadLettersWhatTheWorkerCannotDecodeWithoutAnotherAttempt) {
  start();
  fetch(make_record(0));
  refuse_input(errc::undecodable_image, "not an image");
  EXPECT_EQ(requests(), 1u);
  EXPECT_EQ(outbox().at(0).kind, publication_kind::dead_letter);
  acknowledge_last();
  EXPECT_EQ(metric("ziyu_dead_letters_total{code=\"undecodable_image\"}"), 1);
}

// -- duplicates -----------------------------------------------------------------------------

TEST_F(Dispatcher, FlagsAJobIdThatCameBefore) {
  start();
  fetch(make_record(0, 1, 0, "same"));
  succeed();
  fetch(make_record(1, 1, 0, "same"));
  succeed();
  const auto out = outbox();
  auto first = messaging::result_from_json(nlohmann::json::parse(*out.at(0).content->value));
  auto second = messaging::result_from_json(nlohmann::json::parse(*out.at(1).content->value));
  EXPECT_FALSE(first->duplicate_id);
  EXPECT_TRUE(second->duplicate_id);
  EXPECT_EQ(metric("ziyu_duplicate_job_ids_total"), 1);
}

TEST_F(Dispatcher, GivesBackTheCreditOfARecordFetchedTwice) {
  start();
  fetch(make_record(0));
  fetch(make_record(0));
  EXPECT_EQ(credit->jobs(), 1u);
  EXPECT_EQ(requests(), 1u);
}

// -- order ----------------------------------------------------------------------------------

namespace {

auto by(ordering x) {
  return [x](dispatcher_settings& s) { s.order = x; };
}

} // namespace

TEST_F(Dispatcher, RunsJobsOfOneKeyOneAfterTheOtherAndPublishesThemInOrder) {
  start(3, by(ordering::key));
  fetch(make_record(0, 1, 0, "a"));
  fetch(make_record(1, 1, 0, "a"));
  fetch(make_record(2, 1, 0, "b"));
  EXPECT_EQ(requests(0), 1u);
  EXPECT_EQ(requests(1), 1u) << "b goes past the second a";
  EXPECT_EQ(slots[1]->requests[0].jobs.at(0).job->source.id.offset, 2);
  EXPECT_EQ(requests(2), 0u);
  succeed(0);
  EXPECT_EQ(requests(0), 2u) << "it need not wait for the delivery report";
  succeed(0);
  ASSERT_EQ(outbox().size(), 1u) << "but its result does";
  EXPECT_EQ(outbox()[0].content->key, "a") << "in one partition, whatever the job id";
  acknowledge(outbox()[0]);
  ASSERT_EQ(outbox().size(), 2u);
  EXPECT_EQ(outbox()[1].source.offset, 1);
  acknowledge(outbox()[1]);
  succeed(1);
  acknowledge_last();
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(stored.back().second, 3);
}

TEST_F(Dispatcher, ARetryHoldsUpOnlyItsOwnKey) {
  start(1, [](dispatcher_settings& s) {
    s.order = ordering::key;
    s.retry_backoff = s.retry_backoff_max = 1s;
  });
  for (auto [offset, key] : {std::pair{0, "a"}, {1, "a"}, {2, "b"}})
    fetch(make_record(offset, 1, 0, key));
  fail_attempt(errc::worker_died);
  ASSERT_EQ(requests(), 2u);
  EXPECT_EQ(slots[0]->requests[1].jobs.at(0).job->source.id.offset, 2);
  advance(250ms); // a tick
  EXPECT_EQ(metric("ziyu_head_of_line_jobs"), 1);
  EXPECT_GT(metric("ziyu_head_of_line_seconds"), 0.2);
  succeed();
  advance(1s);
  ASSERT_EQ(requests(), 3u);
  EXPECT_EQ(slots[0]->requests[2].jobs.at(0).job->source.id.offset, 0) << "before the second a";
}

TEST_F(Dispatcher, ADeadLetterLetsTheNextOfItsPartitionGoOn) {
  start(2, by(ordering::partition));
  fetch(make_record(0));
  fetch(make_record(1));
  EXPECT_EQ(requests(1), 0u);
  refuse_input(errc::undecodable_image, "not an image");
  ASSERT_EQ(requests(0), 2u);
  succeed(0);
  ASSERT_EQ(outbox().size(), 1u) << "the dead letter is not final yet";
  acknowledge(outbox()[0]);
  ASSERT_EQ(outbox().size(), 2u);
  acknowledge(outbox()[1]);
  EXPECT_EQ(stored.back().second, 2);
}

TEST_F(Dispatcher, DropsResultsThatWaitForTheirTurnWhenTheirPartitionGoes) {
  start(1, by(ordering::partition));
  fetch(make_record(0));
  fetch(make_record(1));
  succeed();
  succeed();
  revoke({p0}, 1);
  acknowledge(outbox()[0]); // too late
  EXPECT_EQ(outbox().size(), 1u);
  EXPECT_EQ(credit->jobs(), 0u);
}

TEST_F(Dispatcher, AReplayedJobThatIsBadAgainCarriesOneReasonAndItsHistory) {
  start();
  auto x = make_record(4);
  x.headers = {{"x-own", "1"}, {"ziyu-replays", "2"}, {"ziyu-history", "[]"}};
  for (auto& h : messaging::dead_letter_headers(x, {errc::tombstone, "old"}, 9, 1))
    x.headers.push_back(std::move(h));
  fetch(x, error{errc::bad_base64, "new"});
  const auto out = outbox().at(0);
  EXPECT_EQ(header(out, "__connect.errors.exception.message"), "new");
  EXPECT_EQ(std::count_if(out.content->headers.begin(), out.content->headers.end(),
                          [](const auto& h) { return h.first.starts_with("__connect.errors."); }),
            5);
  EXPECT_EQ(header(out, "x-own"), "1");
  EXPECT_EQ(header(out, "ziyu-replays"), "2");
  EXPECT_EQ(header(out, "ziyu-history"), "[]");
  EXPECT_EQ(header(out, "ziyu-job-id"), "job-0-4");
}

TEST_F(Dispatcher, WhatIsSetAsideHoldsNoCreditAndKeepsItsOffsetFromBeingCommitted) {
  start(1);
  fetch(make_record(0), error{errc::empty_image, "empty"});
  fetch(make_record(1));
  const auto letter = outbox().at(0);
  ASSERT_EQ(letter.kind, publication_kind::dead_letter);
  const error why{errc::kafka, "Broker: Unknown topic or partition"};
  tell({letter.kind, letter.source, letter.epoch, false, {}, why});
  EXPECT_EQ(credit->jobs(), 1u) << "that of the other one";
  tell({letter.kind, letter.source, letter.epoch, false, {}, why});
  EXPECT_EQ(credit->jobs(), 1u) << "given back once";
  succeed();
  acknowledge_last();
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(points.at(p0).next, 0);
  EXPECT_TRUE(stored_map().has_finished(1));
  EXPECT_EQ(ledger()["in_flight"], 1);
  acknowledge(letter);
  EXPECT_EQ(points.at(p0).next, 2);
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(ledger()["dead_lettered"], 1);
  EXPECT_TRUE(ledger()["balanced"]);
}

TEST_F(Dispatcher, NeitherADrainNorARebalanceWaitsForWhatIsSetAside) {
  start(1);
  fetch(make_record(0), error{errc::empty_image, "empty"});
  const auto letter = outbox().at(0);
  tell({letter.kind, letter.source, letter.epoch, false, {}, error{errc::kafka, "no such topic"}});
  const auto done = begin_revoke({p0}, 1);
  EXPECT_EQ(done.wait_for(0s), std::future_status::ready);
  EXPECT_EQ(ledger()["handed_back"], 1);
  tell({letter.kind, letter.source, letter.epoch, true, {}, {}});
  EXPECT_EQ(credit->jobs(), 0u);
  assign({p0}, 2);
  fetch(make_record(0, 2), error{errc::empty_image, "empty"});
  const auto again = outbox().back();
  tell({again.kind, again.source, again.epoch, false, {}, error{errc::kafka, "no such topic"}});
  const auto drained = ask<bool>(aut, atom::drain{}, uint64_t{5'000});
  ASSERT_TRUE(*drained);
  EXPECT_TRUE(**drained);
}

TEST_F(Dispatcher, TooMuchThatIsSetAsideHoldsTheIntakeOfItsPartitionOnly) {
  start(1, [](dispatcher_settings& s) { s.max_aside = 3; });
  assign({p1}, 1);
  for (int64_t offset : {0, 1, 2}) {
    fetch(make_record(offset), error{errc::empty_image, "empty"});
    const auto letter = outbox().back();
    tell(
      {letter.kind, letter.source, letter.epoch, false, {}, error{errc::kafka, "no such topic"}});
  }
  advance(300ms);
  EXPECT_EQ(credit->held_partitions(), std::set<topic_partition>{p0});
  EXPECT_EQ(metric("ziyu_set_aside_records"), 3);
  acknowledge(outbox().at(0));
  advance(300ms);
  EXPECT_TRUE(credit->held_partitions().empty());
  EXPECT_EQ(metric("ziyu_set_aside_records"), 2);
}

TEST_F(Dispatcher, NobodyWaitsInOrderBehindADeadLetterThatIsSetAside) {
  start(1, [](dispatcher_settings& s) { s.order = ordering::partition; });
  fetch(make_record(0), error{errc::empty_image, "empty"});
  const auto letter = outbox().at(0);
  fetch(make_record(1));
  tell({letter.kind, letter.source, letter.epoch, false, {}, error{errc::kafka, "no such topic"}});
  succeed();
  ASSERT_EQ(outbox().size(), 2u);
  EXPECT_EQ(outbox().back().kind, publication_kind::result);
}

} // namespace ziyu::test
