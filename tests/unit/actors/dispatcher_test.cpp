#include "actors/dispatcher.hpp"

#include "tests/support/actor_stage.hpp"
#include "tests/support/fake_actors.hpp"
#include "tests/support/fake_kafka.hpp"

#include <nlohmann/json.hpp>

namespace ziyu::actors {

namespace {

using namespace ziyu::test;
using messaging::topic_partition;
using supervision::breaker_state;
using trigger = supervision::circuit_breaker::trigger;

const topic_partition p0{"image.jobs", 0}, p1{"image.jobs", 1};

class Dispatcher : public actor_fixture {
protected:
  ~Dispatcher() override {
    for (auto& x : slots)
      x->open.clear();
  }

  void start(uint32_t slot_count = 1) {
    dispatcher_settings s;
    s.results_topic = "image.results";
    s.dead_letters_topic = "image.jobs-dlt";
    s.slots = slot_count;
    s.max_attempts = 3;
    s.breaker = breaker_settings;
    s.breaker.probe_jobs = 2;
    s.credit = credit;
    s.report = report;
    s.store = [this](const topic_partition& where, int64_t next) -> expected<void> {
      stored.emplace_back(where, next);
      return {};
    };
    s.model = [] { return messaging::model_identity{"digits", "1", "abc", "fp32"}; };
    aut = spawn(dispatcher, s);
    send(aut, spawn(fake_publisher, published_log));
    assign({p0}, 1);
    for (uint32_t i = 0; i < slot_count; ++i) {
      slots.push_back(std::make_shared<inference_log>());
      actors_of_slots.push_back(spawn(fake_inference, slots[i]));
      slot_up(i);
    }
  }

  void slot_up(uint32_t i) { send(aut, atom::slot_up{}, i, actors_of_slots[i]); }

  void assign(std::vector<topic_partition> what, uint64_t epoch) {
    send(aut, messaging::partitions_assigned{epoch, std::move(what)});
  }

  void revoke(std::vector<topic_partition> what, uint64_t epoch) {
    auto handled = std::make_shared<std::promise<void>>();
    auto done = handled->get_future();
    send(aut, revocation{{epoch, std::move(what), false}, handled});
    ASSERT_EQ(done.wait_for(0s), std::future_status::ready);
  }

  void fetch(messaging::record x, std::optional<error> reason = {}) {
    fetched_job msg;
    msg.source = std::make_shared<const messaging::record>(x);
    msg.cost = 100;
    msg.fetched_us = env.us;
    if (reason)
      msg.reason = *reason;
    else
      msg.job = std::make_shared<const messaging::job>(
        *messaging::decode_job(std::move(x), messaging::job_limits{}));
    credit->take(msg.cost);
    send(aut, msg);
  }

  /// Answers the oldest request of a slot.
  void answer(uint32_t slot, attempt_outcome x) {
    x.slot = slot;
    ASSERT_FALSE(slots.at(slot)->open.empty());
    slots[slot]->answers.push_back(std::move(x));
    send(actors_of_slots[slot], atom::deadline{}, uint64_t{0});
  }

  void succeed(uint32_t slot = 0) {
    auto r = std::make_shared<wire::result>();
    r->top_k = {{3, 0.9f, "三"}};
    r->width = 12;
    r->height = 10;
    r->delta_live = 4392;
    attempt_outcome x;
    x.answer = r;
    x.generation = 7;
    x.pid = 1234;
    answer(slot, x);
  }

  void refuse_input(errc code, const char* message) {
    auto r = std::make_shared<wire::result>();
    r->error_code = to_string(code);
    r->error_message = message;
    attempt_outcome x;
    x.answer = r;
    answer(0, x);
  }

  void fail_attempt(errc code, uint32_t slot = 0, bool slot_up = true) {
    attempt_outcome x;
    x.failure = error{code, "as the test says"};
    x.slot_up = slot_up;
    x.generation = 7;
    answer(slot, x);
  }

  void acknowledge(const publication& x) { send(aut, published{x.kind, x.source, x.epoch}); }
  void acknowledge_last() { acknowledge(outbox().back()); }

  /// What was published, but events.
  std::vector<publication> outbox() const {
    std::vector<publication> xs;
    for (const auto& x : *published_log)
      if (x.kind != publication_kind::event)
        xs.push_back(x);
    return xs;
  }

  std::string header(const publication& x, const std::string& name) {
    return messaging::find_header(x.content->headers, name).value_or("");
  }

  dispatcher_status status() { return **ask<dispatcher_status>(aut, atom::status{}); }
  nlohmann::json ledger() { return nlohmann::json::parse(status().ledger)["total"]; }
  size_t requests(uint32_t slot = 0) const { return slots.at(slot)->requests.size(); }

  void breaker(trigger which, bool raised) {
    send(aut, breaker_input{which, raised, "as the test says", {}});
  }

  supervision::circuit_breaker::settings breaker_settings;
  std::shared_ptr<intake> credit = std::make_shared<intake>(intake::limits{});
  std::shared_ptr<std::vector<publication>> published_log =
    std::make_shared<std::vector<publication>>();
  std::vector<std::pair<topic_partition, int64_t>> stored;
  std::vector<std::shared_ptr<inference_log>> slots;
  std::vector<inference_actor> actors_of_slots;
  dispatcher_actor aut;
};

} // namespace

// -- results ------------------------------------------------------------------------------

TEST_F(Dispatcher, PublishesAResultAndStoresItsOffsetWhenAcknowledged) {
  start();
  fetch(make_record(5));
  ASSERT_EQ(requests(), 1u);
  EXPECT_EQ(slots[0]->requests[0].attempt, 1u);
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
  EXPECT_TRUE(stored.empty()) << "nothing is done before its delivery report";
  EXPECT_EQ(credit->jobs(), 1u);
  acknowledge_last();
  ASSERT_EQ(stored.size(), 1u);
  EXPECT_EQ(stored[0], (std::pair{p0, int64_t{6}}));
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(ledger()["published"], 1);
  EXPECT_EQ(status().results, 1u);
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

TEST_F(Dispatcher, StoresOnlyTheContiguousAcknowledgedPrefix) {
  start(3);
  for (auto offset : {10, 11, 12})
    fetch(make_record(offset));
  for (auto slot : {2u, 1u, 0u})
    succeed(slot);
  const auto out = outbox(); // in the order 12, 11, 10
  ASSERT_EQ(out.size(), 3u);
  acknowledge(out[0]);
  acknowledge(out[1]);
  EXPECT_TRUE(stored.empty()) << "10 is not done";
  acknowledge(out[2]);
  ASSERT_EQ(stored.size(), 1u);
  EXPECT_EQ(stored[0].second, 13);
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
  EXPECT_EQ(slots[1]->requests[1].job->source.id.offset, 2);
}

TEST_F(Dispatcher, IgnoresAnAcknowledgementThatComesTwice) {
  start();
  fetch(make_record(0));
  succeed();
  acknowledge_last();
  acknowledge_last();
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(status().results, 1u);
  EXPECT_EQ(stored.size(), 1u);
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

// -- attempts -------------------------------------------------------------------------------

TEST_F(Dispatcher, TriesAFailedAttemptAgainAndGivesUpWithTheReason) {
  start();
  fetch(make_record(0));
  fail_attempt(errc::worker_died);
  ASSERT_EQ(requests(), 2u);
  EXPECT_EQ(slots[0]->requests[1].attempt, 2u);
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
    all += name + "=" + value + "\n";
  EXPECT_NE(all.find("max_attempts"), std::string::npos) << all;
  EXPECT_NE(all.find("deadline_exceeded: as the test says"), std::string::npos) << all;
  EXPECT_EQ(metric("ziyu_failed_attempts_total{code=\"worker_died\"}"), 2);
  acknowledge_last();
  EXPECT_EQ(credit->jobs(), 0u);
  EXPECT_EQ(metric("ziyu_dead_letters_total{code=\"max_attempts\"}"), 1);
}

TEST_F(Dispatcher, RetriesAheadOfWhatWaits) {
  start();
  fetch(make_record(0));
  fetch(make_record(1));
  fail_attempt(errc::worker_died);
  EXPECT_EQ(slots[0]->requests.at(1).job->source.id.offset, 0);
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
  EXPECT_EQ(slots[0]->requests.back().attempt, 1u);
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
  EXPECT_EQ(slots[1]->requests.at(0).attempt, 2u);
  EXPECT_EQ(status().slots_up, 1u);
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
  EXPECT_EQ(slots[0]->requests.at(1).job->source.id.partition, 1);
}

TEST_F(Dispatcher, NeverPublishesNorStoresAnOutcomeOfARevokedPartition) {
  start();
  fetch(make_record(0));
  revoke({p0}, 1);
  succeed();
  EXPECT_TRUE(outbox().empty());
  EXPECT_TRUE(stored.empty());
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
  EXPECT_EQ(stored.size(), 1u);
  EXPECT_EQ(credit->jobs(), 0u);
}

TEST_F(Dispatcher, StoresNoOffsetForADeliveryReportAfterTheRevocation) {
  start();
  fetch(make_record(0));
  succeed();
  revoke({p0}, 1);
  EXPECT_EQ(credit->jobs(), 1u) << "held until the report";
  acknowledge_last();
  EXPECT_TRUE(stored.empty());
  EXPECT_EQ(credit->jobs(), 0u);
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

// -- breaker --------------------------------------------------------------------------------

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

TEST_F(Dispatcher, StartsNothingWhileTheBreakerIsOpen) {
  start();
  breaker(trigger::memory, true);
  EXPECT_FALSE(credit->open());
  fetch(make_record(0));
  EXPECT_EQ(requests(), 0u);
  EXPECT_EQ(status().breaker, breaker_state::open);
  EXPECT_EQ(events("breaker_opened"), 1);
}

TEST_F(Dispatcher, LetsRunningJobsFinishWhileTheBreakerIsOpen) {
  start();
  fetch(make_record(0));
  breaker(trigger::fork_server, true);
  succeed();
  EXPECT_EQ(outbox().size(), 1u);
}

TEST_F(Dispatcher, AdmitsOnlyProbesHalfOpenAndClosesWhenTheySucceed) {
  start(4);
  breaker(trigger::memory, true);
  for (auto i = 0; i < 5; ++i)
    fetch(make_record(i));
  breaker(trigger::memory, false);
  EXPECT_EQ(status().breaker, breaker_state::open) << "for a while";
  advance(3s);
  EXPECT_EQ(status().breaker, breaker_state::half_open);
  EXPECT_TRUE(credit->open());
  EXPECT_EQ(status().running, 2u);
  succeed(0);
  EXPECT_EQ(status().running, 1u) << "two probes, no third";
  succeed(1);
  EXPECT_EQ(status().breaker, breaker_state::closed);
  EXPECT_EQ(status().running, 3u);
  EXPECT_EQ(events("breaker_closed"), 1);
}

TEST_F(Dispatcher, OpensAgainWhenAProbeFails) {
  start(2);
  breaker(trigger::memory, true);
  fetch(make_record(0));
  breaker(trigger::memory, false);
  advance(3s);
  ASSERT_EQ(requests(0), 1u);
  fail_attempt(errc::worker_died);
  EXPECT_EQ(status().breaker, breaker_state::open);
  EXPECT_EQ(requests(0), 1u);
  EXPECT_EQ(requests(1), 0u);
}

TEST_F(Dispatcher, OpensAtAReadingOfMemoryAndClosesBelowTheLowerMark) {
  start();
  send(aut, breaker_input{trigger::memory, false, "", 0.96});
  EXPECT_EQ(status().breaker, breaker_state::open);
  send(aut, breaker_input{trigger::memory, false, "", 0.9});
  advance(5s);
  EXPECT_EQ(status().breaker, breaker_state::open) << "between the marks it stays";
  send(aut, breaker_input{trigger::memory, false, "", 0.5});
  EXPECT_EQ(status().breaker, breaker_state::open) << "it may come back";
  advance(1250ms);
  EXPECT_EQ(status().breaker, breaker_state::half_open);
}

TEST_F(Dispatcher, ShrinksTheCreditInStepsBeforeItOpensAndRestoresIt) {
  start();
  const auto reading = [this](double share) {
    send(aut, breaker_input{trigger::memory, false, "", share});
  };
  EXPECT_EQ(credit->granted().jobs, 64u);
  reading(0.65);
  EXPECT_EQ(credit->granted().jobs, 32u);
  reading(0.85);
  EXPECT_EQ(credit->granted().jobs, 8u);
  EXPECT_EQ(credit->granted().bytes, (uint64_t{256} << 20) / 8);
  EXPECT_EQ(status().breaker, breaker_state::closed) << "less first, then nothing";
  EXPECT_TRUE(credit->open());
  EXPECT_EQ(events("memory_pressure"), 2);
  reading(0.96);
  EXPECT_EQ(status().breaker, breaker_state::open);
  EXPECT_EQ(metric("ziyu_memory_pressure"), 3);
  for (auto jobs : {8u, 32u, 64u}) {
    reading(0.5);
    EXPECT_EQ(credit->granted().jobs, jobs);
  }
  advance(5s);
  EXPECT_EQ(metric("ziyu_memory_pressure"), 0);
  EXPECT_EQ(metric("ziyu_credit_jobs"), 64);
}

TEST_F(Dispatcher, AJobFromBeforeTheBreakerOpenedIsNoProbe) {
  start(3);
  fetch(make_record(0)); // slot 0, begun while closed
  breaker(trigger::fork_server, true);
  breaker(trigger::fork_server, false);
  advance(3s);
  ASSERT_EQ(status().breaker, breaker_state::half_open);
  fetch(make_record(1));
  fetch(make_record(2));
  ASSERT_EQ(status().running, 3u);
  fail_attempt(errc::worker_died, 0);
  EXPECT_EQ(status().breaker, breaker_state::half_open) << "that was no probe";
  succeed(1);
  EXPECT_EQ(status().breaker, breaker_state::half_open);
  succeed(2);
  EXPECT_EQ(status().breaker, breaker_state::closed);
}

TEST_F(Dispatcher, OpensWhenTooManyJobsFailAndNotForBadInput) {
  breaker_settings.error_min_jobs = 4;
  start();
  for (auto i = 0; i < 8; ++i) {
    fetch(make_record(i));
    refuse_input(errc::undecodable_image, "not an image");
  }
  EXPECT_EQ(status().breaker, breaker_state::closed) << "the service is well";
  for (auto i = 8; i < 16; ++i) {
    ASSERT_EQ(status().breaker, breaker_state::closed) << i;
    fetch(make_record(i));
    refuse_input(errc::inference_failed, "the model throws");
  }
  EXPECT_EQ(status().breaker, breaker_state::open);
  EXPECT_EQ(metric("ziyu_breaker_openings_total{cause=\"error_rate\"}"), 1);
  EXPECT_NE(status().breaker_reason.find("8 of the latest 16 jobs failed (50 %)"),
            std::string::npos)
    << status().breaker_reason;
}

TEST_F(Dispatcher, AnOperatorSwitchesTheBreakerAndEachChangeIsToldWithItsNumbers) {
  start();
  auto said = ask<dispatcher_status>(aut, breaker_command{supervision::breaker_mode::open, "why"});
  ASSERT_TRUE(*said);
  EXPECT_EQ((*said)->breaker, breaker_state::forced_open);
  EXPECT_EQ((*said)->breaker_reason, "operator: why");
  EXPECT_FALSE(credit->open());
  fetch(make_record(0));
  advance(60s);
  EXPECT_EQ(requests(), 0u);
  EXPECT_EQ(metric("ziyu_breaker_state"), 3);
  ask<dispatcher_status>(aut, breaker_command{supervision::breaker_mode::disabled, ""});
  EXPECT_TRUE(credit->open());
  EXPECT_EQ(requests(), 1u);
  succeed();
  send(aut, breaker_input{trigger::publisher, true, "no report", {}, {{"silent_ms", 10'000}}});
  EXPECT_EQ(status().breaker, breaker_state::disabled);
  said = ask<dispatcher_status>(aut, breaker_command{supervision::breaker_mode::automatic, ""});
  EXPECT_EQ((*said)->breaker, breaker_state::open);
  EXPECT_FALSE(credit->open());
  EXPECT_EQ(events("breaker_forced_open"), 1);
  EXPECT_EQ(events("breaker_disabled"), 1);
  EXPECT_EQ(events("breaker_opened"), 1);
  EXPECT_EQ(metric("ziyu_breaker_transitions_total{to=\"disabled\"}"), 1);
}

TEST_F(Dispatcher, TheEventOfATransitionHoldsItsCauseAndNumbers) {
  start();
  report->connect(spawn(fake_publisher, published_log));
  send(aut, breaker_input{trigger::publisher, true, "no report", {}, {{"silent_ms", 10'000}}});
  const auto event = nlohmann::json::parse(*published_log->back().content->value);
  EXPECT_EQ(event["type"], "breaker_opened");
  EXPECT_EQ(event["detail"]["cause"], "publisher");
  EXPECT_EQ(event["detail"]["reason"], "publisher: no report");
  EXPECT_EQ(event["detail"]["silent_ms"], 10'000);
  EXPECT_EQ(event["detail"]["open_ms"], 2'000);
  EXPECT_EQ(event["detail"]["from"], "closed");
}

TEST_F(Dispatcher, BeginsHeldOpenWhenItsConfigurationSaysSo) {
  breaker_settings.mode = supervision::breaker_mode::open;
  start();
  EXPECT_FALSE(credit->open());
  EXPECT_EQ(status().breaker, breaker_state::forced_open);
  EXPECT_EQ(metric("ziyu_breaker_state"), 3);
}

TEST_F(Dispatcher, NeedsNoProbeForBadInputWhileOpen) {
  start();
  breaker(trigger::memory, true);
  fetch(make_record(0), error{errc::tombstone, "the record has no value"});
  EXPECT_EQ(outbox().size(), 1u);
}

TEST_F(Dispatcher, CountsNoProbeThatASlotCouldNotBegin) {
  start(2);
  breaker(trigger::memory, true);
  fetch(make_record(0));
  breaker(trigger::memory, false);
  advance(3s);
  fail_attempt(errc::unavailable, 0, false); // its worker had died while idle
  EXPECT_EQ(status().breaker, breaker_state::half_open);
  EXPECT_EQ(requests(1), 1u) << "the probe goes to the other slot";
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
  send(aut, atom::resume{});
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

TEST_F(Dispatcher, TheDeadlineOfAnEarlierDrainDoesNotCutTheNextOneShort) {
  start();
  ASSERT_TRUE(**ask<bool>(aut, atom::drain{}, uint64_t{1'000}));
  send(aut, atom::resume{});
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

} // namespace ziyu::actors
