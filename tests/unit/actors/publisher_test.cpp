#include "actors/publisher.hpp"

#include "tests/support/actor_stage.hpp"
#include "tests/support/fake_actors.hpp"
#include "tests/support/fake_kafka.hpp"

#include <algorithm>

namespace ziyu::actors {

namespace {

using namespace ziyu::test;
using trigger = supervision::circuit_breaker::trigger;
using keys = std::vector<std::string>;

class Publisher : public actor_fixture {
protected:
  void start(
    uint64_t max_event_bytes = 1'000,
    const std::function<void(publisher_settings&)>& tune = [](auto&) {}) {
    publisher_settings s;
    s.make = kafka.factory();
    s.dispatcher = spawn(fake_dispatcher, to_dispatcher);
    s.report = report;
    s.max_event_bytes = max_event_bytes;
    s.stall_limit = 10s;
    s.max_groups = 1'000; // one of each record
    tune(s);
    aut = spawn(publisher, s);
  }

  void publish(int64_t offset, publication_kind kind = publication_kind::result,
               std::optional<std::string> value = "v") {
    auto content = std::make_shared<messaging::outgoing>();
    content->topic = kind == publication_kind::event         ? "ziyu.events"
                     : kind == publication_kind::dead_letter ? "image.jobs-dlt"
                                                             : "image.results";
    content->key = std::to_string(offset);
    content->value = std::move(value);
    send(aut, publications{{{kind, content, {"image.jobs", 0, offset}, 1}}});
  }

  void acknowledge_all() {
    kafka.acknowledge_all();
    run();
  }

  void fail_one(errc code) {
    kafka.fail({code, "as the test says"});
    run();
  }

  /// Of the oldest record in flight: its topic takes nothing.
  void refuse_topic() {
    kafka.fail({errc::kafka, "image.jobs-dlt: Broker: Unknown topic or partition"},
               messaging::refusal::topic);
    run();
  }

  /// Acknowledges results in flight, and refuses dead letters in flight.
  void serve_results_only() {
    while (!kafka.in_flight.empty())
      if (kafka.in_flight.begin()->second.topic == "image.results") {
        kafka.acknowledge();
        run();
      } else {
        refuse_topic();
      }
  }

  size_t told_set_aside() const {
    return static_cast<size_t>(
      std::count_if(to_dispatcher->published.begin(), to_dispatcher->published.end(),
                    [](const published& x) { return x.set_aside.has_value(); }));
  }

  /// The keys of the acknowledged records, in order.
  keys delivered() const {
    keys xs;
    for (const auto& x : kafka.delivered)
      xs.push_back(*x.key);
    return xs;
  }

  // The producer uses the stage, so it is destroyed before it.
  ~Publisher() override {
    caf::anon_send_exit(aut, caf::exit_reason::user_shutdown);
    run();
  }

  producer_script kafka;
  std::shared_ptr<dispatcher_log> to_dispatcher = std::make_shared<dispatcher_log>();
  publisher_actor aut;
};

} // namespace

TEST_F(Publisher, TellsTheDispatcherOfADeliveryReportOnly) {
  start();
  publish(7);
  EXPECT_EQ(kafka.queued.size(), 1u);
  EXPECT_TRUE(to_dispatcher->published.empty());
  acknowledge_all();
  ASSERT_EQ(to_dispatcher->published.size(), 1u);
  EXPECT_EQ(to_dispatcher->published[0].source.offset, 7);
  EXPECT_EQ(to_dispatcher->published[0].epoch, 1u);
  EXPECT_EQ(to_dispatcher->published[0].kind, publication_kind::result);
}

TEST_F(Publisher, KeepsWhatDoesNotFitTheProducersQueue) {
  start();
  kafka.take_nothing = true;
  for (auto i = 0; i < 3; ++i)
    publish(i);
  kafka.take_nothing = false;
  advance(200ms);
  acknowledge_all();
  EXPECT_EQ(delivered(), (keys{"0", "1", "2"}));
}

TEST_F(Publisher, SendsALoneRecordAtOnceAndThoseThatComeMeanwhileAsOneGroup) {
  start(1'000, [](publisher_settings& s) { s.max_groups = 2; });
  for (auto i = 1; i <= 6; ++i)
    publish(i);
  EXPECT_EQ(kafka.in_flight.size(), 2u) << "two groups of one";
  kafka.acknowledge();
  run();
  EXPECT_EQ(kafka.in_flight.size(), 5u) << "the second, and four as one group";
  kafka.acknowledge();
  run();
  publish(7);
  EXPECT_EQ(kafka.in_flight.size(), 5u);
  acknowledge_all();
  EXPECT_EQ(delivered(), (keys{"1", "2", "3", "4", "5", "6", "7"}));
}

TEST_F(Publisher, RecordsThatNobodyAnswersHoldOthersUpForATenthOfASecond) {
  start(1'000, [](publisher_settings& s) { s.max_groups = 2; });
  for (auto i = 1; i <= 3; ++i)
    publish(i);
  EXPECT_EQ(kafka.in_flight.size(), 2u);
  advance(200ms);
  EXPECT_EQ(kafka.in_flight.size(), 3u);
}

TEST_F(Publisher, TriesAFailedDeliveryAgainWithGrowingPauses) {
  start();
  publish(0);
  std::vector<std::chrono::milliseconds> pauses;
  for (auto i = 0; i < 4; ++i) {
    fail_one(errc::kafka);
    const auto before = kafka.queued.size();
    auto pause = 0ms;
    for (; kafka.queued.size() == before && pause < 60s; pause += 100ms)
      advance(100ms);
    pauses.push_back(pause);
  }
  EXPECT_GE(pauses[0], 50ms);
  EXPECT_GT(pauses[3], pauses[0]);
  EXPECT_LE(pauses[3], 1s);
  acknowledge_all();
  EXPECT_EQ(delivered(), keys{"0"});
  EXPECT_EQ(to_dispatcher->published.size(), 1u);
  EXPECT_EQ(metric("ziyu_publish_retries_total"), 4);
}

TEST_F(Publisher, LetsOthersPassARecordThatWaitsForItsRetry) {
  start();
  publish(0);
  fail_one(errc::kafka);
  publish(1);
  acknowledge_all();
  EXPECT_EQ(delivered(), keys{"1"});
  advance(1s);
  acknowledge_all();
  EXPECT_EQ(delivered(), (keys{"1", "0"}));
}

TEST_F(Publisher, MakesANewProducerAfterAFatalRefusalAndLosesNothing) {
  start();
  publish(0);
  publish(1);
  kafka.refusals.push_back({errc::kafka_fatal, "fenced"});
  publish(2);
  EXPECT_EQ(kafka.destroyed, 1u);
  for (auto i = 0; i < 20; ++i) {
    advance(1s);
    acknowledge_all();
  }
  EXPECT_EQ(kafka.made, 2u);
  auto all = delivered();
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, (keys{"0", "1", "2"})) << "none lost, none twice";
  EXPECT_EQ(to_dispatcher->published.size(), 3u);
}

TEST_F(Publisher, MakesOneNewProducerForManyFatalReportsOfTheOld) {
  start();
  // Records that a fatal error leaves behind are reported as fatal, one by one.
  kafka.purge_code = {errc::kafka_fatal, "fenced"};
  for (auto i = 0; i < 5; ++i)
    publish(i);
  fail_one(errc::kafka_fatal);
  for (auto i = 0; i < 20; ++i) {
    advance(1s);
    acknowledge_all();
  }
  EXPECT_EQ(kafka.made, 2u) << "reports of the old producer are not the new one's fault";
  EXPECT_EQ(delivered().size(), 5u);
  EXPECT_EQ(to_dispatcher->published.size(), 5u);
}

TEST_F(Publisher, LeavesTheNewProducerAloneWhenLateReportsOfTheOldOneCome) {
  start();
  publish(0);
  publish(1);
  // Both reports are under way when the first is handled.
  kafka.fail({errc::kafka_fatal, "fenced"});
  kafka.fail({errc::kafka_fatal, "fenced"});
  run();
  publish(2);
  EXPECT_EQ(kafka.made, 2u);
  for (auto i = 0; i < 20; ++i) {
    advance(1s);
    acknowledge_all();
  }
  EXPECT_EQ(kafka.made, 2u);
  EXPECT_EQ(delivered().size(), 3u);
}

TEST_F(Publisher, TriesAgainToMakeAProducerAndSaysSo) {
  start();
  kafka.make_failures.assign(3, {errc::kafka, "no client"});
  publish(0);
  ASSERT_EQ(to_dispatcher->breaker.size(), 1u);
  EXPECT_EQ(to_dispatcher->breaker[0].which, trigger::publisher);
  EXPECT_TRUE(to_dispatcher->breaker[0].raised);
  EXPECT_EQ(to_dispatcher->breaker[0].values.at("pending_records"), 1);
  EXPECT_EQ(to_dispatcher->breaker[0].values.at("silent_ms"), 0);
  advance(5s);
  acknowledge_all();
  EXPECT_EQ(delivered(), keys{"0"});
  ASSERT_EQ(to_dispatcher->breaker.size(), 2u);
  EXPECT_FALSE(to_dispatcher->breaker[1].raised);
  EXPECT_EQ(to_dispatcher->reachable, 1u);
}

TEST_F(Publisher, SendsADeadLetterThatIsTooLargeWithoutItsPayload) {
  start();
  publish(0, publication_kind::dead_letter, std::string(2'000'000, 'x'));
  fail_one(errc::job_too_large);
  advance(1s);
  acknowledge_all();
  ASSERT_EQ(kafka.delivered.size(), 1u);
  EXPECT_FALSE(kafka.delivered[0].value);
  EXPECT_TRUE(messaging::find_header(kafka.delivered[0].headers, "ziyu-payload-omitted"));
  EXPECT_EQ(to_dispatcher->published.at(0).kind, publication_kind::dead_letter);
}

TEST_F(Publisher, SendsADeadLetterWhoseHeadersAreTooLargeWithoutThem) {
  start();
  publish(0, publication_kind::dead_letter, "small");
  for (auto tries = 0; tries < 2; ++tries) {
    fail_one(errc::job_too_large);
    advance(1s);
  }
  acknowledge_all();
  ASSERT_EQ(kafka.delivered.size(), 1u);
  EXPECT_FALSE(kafka.delivered[0].value);
  EXPECT_TRUE(messaging::find_header(kafka.delivered[0].headers, "ziyu-headers-omitted"));
  EXPECT_EQ(to_dispatcher->published.at(0).kind, publication_kind::dead_letter);
}

TEST_F(Publisher, HandsAResultThatNoBrokerWillEverTakeBack) {
  start();
  publish(0);
  publish(1);
  fail_one(errc::job_too_large);
  kafka.refusals.push_back({errc::job_too_large, "larger than message.max.bytes"});
  publish(2);
  ASSERT_EQ(to_dispatcher->published.size(), 2u);
  for (const auto& x : to_dispatcher->published) {
    ASSERT_TRUE(x.refused);
    EXPECT_EQ(x.refused->code, errc::job_too_large);
    EXPECT_FALSE(x.withdrawn);
  }
  advance(30s);
  EXPECT_EQ(kafka.queued.size(), 2u) << "nobody tries it again";
}

TEST_F(Publisher, WithdrawsWhatTheProducerDoesNotHaveOfPartitionsThatWent) {
  start();
  publish(0); // in flight: it cannot be called back
  kafka.take_nothing = true;
  publish(1);
  publish(2, publication_kind::dead_letter);
  publish(3, publication_kind::event);
  send(aut, withdrawal{{{"image.jobs", 0}}});
  ASSERT_EQ(to_dispatcher->published.size(), 2u);
  for (const auto& x : to_dispatcher->published)
    EXPECT_TRUE(x.withdrawn);
  kafka.take_nothing = false;
  advance(1s);
  acknowledge_all();
  EXPECT_EQ(kafka.delivered.size(), 2u) << "the one in flight, and the event";
  EXPECT_FALSE(to_dispatcher->published.back().withdrawn);
  send(aut, withdrawal{{{"image.jobs", 1}}});
  EXPECT_EQ(to_dispatcher->published.size(), 3u);
}

TEST_F(Publisher, SlimsADeadLetterThatTheProducerRefusesAsTooLarge) {
  start();
  kafka.refusals.push_back({errc::job_too_large, "larger than message.max.bytes"});
  publish(0, publication_kind::dead_letter, std::string(2'000'000, 'x'));
  advance(1s);
  acknowledge_all();
  ASSERT_EQ(kafka.delivered.size(), 1u);
  EXPECT_FALSE(kafka.delivered[0].value);
}

TEST_F(Publisher, RaisesTheBreakerWhenNothingIsReportedForLongAndLowersItAfter) {
  start();
  publish(0);
  publish(1, publication_kind::dead_letter);
  const auto bytes = kafka.queued[0].bytes() + kafka.queued[1].bytes();
  publish(2, publication_kind::event);
  advance(9s);
  EXPECT_TRUE(to_dispatcher->breaker.empty());
  advance(1100ms);
  ASSERT_EQ(to_dispatcher->breaker.size(), 1u);
  EXPECT_EQ(to_dispatcher->breaker[0].which, trigger::publisher);
  EXPECT_TRUE(to_dispatcher->breaker[0].raised);
  EXPECT_NE(to_dispatcher->breaker[0].reason.find("10000 ms"), std::string::npos);
  const auto& values = to_dispatcher->breaker[0].values;
  EXPECT_EQ(values.size(), 3u);
  EXPECT_EQ(values.at("silent_ms"), 10'100);
  EXPECT_EQ(values.at("pending_records"), 2) << "events are not counted";
  EXPECT_EQ(values.at("pending_bytes"), static_cast<double>(bytes));
  acknowledge_all();
  ASSERT_EQ(to_dispatcher->breaker.size(), 2u);
  EXPECT_FALSE(to_dispatcher->breaker[1].raised);
}

TEST_F(Publisher, SetsADeadLetterAsideWhoseTopicIsMissingAndAllElseGoesOn) {
  start();
  publish(0, publication_kind::dead_letter);
  publish(1);
  serve_results_only();
  EXPECT_EQ(delivered(), keys{"1"});
  ASSERT_EQ(told_set_aside(), 1u);
  EXPECT_EQ(to_dispatcher->published[0].source.offset, 0);
  EXPECT_NE(to_dispatcher->published[0].set_aside->message.find("Unknown topic"),
            std::string::npos);
  EXPECT_EQ(events("publication_set_aside"), 1);
  // Later records are not even tried, except one from time to time.
  for (auto i = 2; i < 5; ++i)
    publish(i, publication_kind::dead_letter);
  EXPECT_EQ(kafka.queued.size(), 2u);
  EXPECT_EQ(told_set_aside(), 4u);
  for (auto i = 0; i < 60; ++i) {
    advance(1s);
    publish(100 + i);
    serve_results_only();
  }
  EXPECT_TRUE(to_dispatcher->breaker.empty()) << "results go on";
  EXPECT_EQ(events("publication_set_aside"), 1) << "told once";
  EXPECT_LE(kafka.queued.size(), 2u + 60 + 10);
  // The topic is made.
  advance(60s);
  acknowledge_all();
  advance(1s);
  acknowledge_all();
  auto all = delivered();
  for (const auto* key : {"0", "2", "3", "4"})
    EXPECT_EQ(std::count(all.begin(), all.end(), key), 1) << key;
  EXPECT_EQ(events("publication_resumed"), 1);
}

TEST_F(Publisher, NeitherDeadLettersThatAreSetAsideRaiseTheBreakerWithoutAnyResult) {
  start();
  for (auto i = 0; i < 3; ++i)
    publish(i, publication_kind::dead_letter);
  for (auto i = 0; i < 60; ++i) {
    serve_results_only();
    advance(1s);
  }
  EXPECT_TRUE(to_dispatcher->breaker.empty());
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{1'000});
  ASSERT_TRUE(*drained) << "they are not waited for";
  EXPECT_TRUE(**drained);
}

TEST_F(Publisher, ATopicThatTakesNoResultsRaisesTheBreakerThoughDeadLettersAreTaken) {
  start();
  publish(0);
  refuse_topic();
  for (auto i = 1; i < 20; ++i) {
    publish(i, publication_kind::dead_letter);
    advance(1s);
    while (!kafka.in_flight.empty())
      if (kafka.in_flight.begin()->second.topic == "image.results") {
        refuse_topic();
      } else {
        kafka.acknowledge();
        run();
      }
  }
  ASSERT_EQ(to_dispatcher->breaker.size(), 1u);
  EXPECT_TRUE(to_dispatcher->breaker[0].raised);
  EXPECT_NE(to_dispatcher->breaker[0].reason.find("image.results takes no results"),
            std::string::npos);
  advance(60s);
  acknowledge_all();
  ASSERT_EQ(to_dispatcher->breaker.size(), 2u);
  EXPECT_FALSE(to_dispatcher->breaker[1].raised);
}

TEST_F(Publisher, SetsATopicAsideThatAcknowledgesNothingWhileOthersDo) {
  start();
  publish(0, publication_kind::dead_letter); // its partition has no leader
  for (auto i = 1; i < 8; ++i) {
    publish(i);
    // All but the first.
    const auto token = std::prev(kafka.in_flight.end())->first;
    kafka.in_flight.erase(token);
    send(aut, delivery_reports{{{token, std::nullopt, {}}}});
    advance(1s);
  }
  EXPECT_EQ(told_set_aside(), 1u);
  EXPECT_EQ(events("publication_set_aside"), 1);
  publish(8, publication_kind::dead_letter);
  EXPECT_EQ(kafka.in_flight.size(), 1u) << "no more is given to it";
  acknowledge_all(); // it has one now
  advance(1s);
  acknowledge_all();
  EXPECT_EQ(delivered(), (keys{"0", "8"}));
  EXPECT_EQ(events("publication_resumed"), 1);
  EXPECT_TRUE(to_dispatcher->breaker.empty());
}

TEST_F(Publisher, WithdrawsWhatIsSetAside) {
  start();
  publish(0, publication_kind::dead_letter);
  publish(1, publication_kind::dead_letter);
  refuse_topic();
  refuse_topic();
  send(aut, withdrawal{{{"image.jobs", 0}}});
  EXPECT_EQ(std::count_if(to_dispatcher->published.begin(), to_dispatcher->published.end(),
                          [](const published& x) { return x.withdrawn; }),
            2);
  advance(60s);
  EXPECT_EQ(kafka.queued.size(), 2u);
}

TEST_F(Publisher, SetsADeadLetterAsideThatIsTooLargeInItsSmallestForm) {
  start();
  publish(0, publication_kind::dead_letter, "small");
  for (auto tries = 0; tries < 6 && told_set_aside() == 0; ++tries) {
    fail_one(errc::job_too_large);
    advance(1s);
  }
  EXPECT_EQ(told_set_aside(), 1u);
  publish(1, publication_kind::dead_letter);
  EXPECT_FALSE(kafka.in_flight.empty()) << "others are tried";
}

TEST_F(Publisher, EndsAProducerElsewhereWhenItIsTold) {
  std::vector<std::unique_ptr<messaging::producer>> ended;
  start(1'000, [&](publisher_settings& s) {
    s.end = [&](std::unique_ptr<messaging::producer> x) { ended.push_back(std::move(x)); };
  });
  publish(0);
  fail_one(errc::kafka_fatal);
  EXPECT_EQ(ended.size(), 1u);
  EXPECT_EQ(kafka.destroyed, 0u) << "not on the actor's thread";
  ended.clear();
}

TEST_F(Publisher, IsNotStalledByIdleness) {
  start();
  advance(60s);
  publish(0);
  advance(1s);
  EXPECT_TRUE(to_dispatcher->breaker.empty());
}

TEST_F(Publisher, NeverStopsIntakeForEventsAlone) {
  start();
  publish(0, publication_kind::event);
  for (auto i = 0; i < 30; ++i) { // e.g., the events topic is missing
    if (!kafka.in_flight.empty())
      fail_one(errc::kafka);
    advance(1s);
  }
  EXPECT_TRUE(to_dispatcher->breaker.empty());
  publish(1); // a result after that starts the clock anew
  advance(1s);
  EXPECT_TRUE(to_dispatcher->breaker.empty());
}

TEST_F(Publisher, DropsAnEventThatNoBrokerWillEverTake) {
  start();
  publish(0, publication_kind::event);
  fail_one(errc::job_too_large);
  EXPECT_EQ(metric("ziyu_events_dropped_total"), 1);
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{1'000});
  ASSERT_TRUE(*drained);
  EXPECT_TRUE(**drained);
}

TEST_F(Publisher, BoundsTheBytesOfPendingEventsButNotOfResults) {
  start(1'000);
  kafka.take_nothing = true;
  for (auto i = 0; i < 5; ++i)
    publish(i, publication_kind::event, std::string(300, 'e'));
  const auto dropped = metric("ziyu_events_dropped_total");
  EXPECT_GE(dropped, 2);
  publish(9, publication_kind::result, std::string(5'000, 'r'));
  kafka.take_nothing = false;
  advance(1s);
  acknowledge_all();
  EXPECT_EQ(kafka.delivered.size(), 6 - static_cast<size_t>(dropped));
  EXPECT_EQ(to_dispatcher->published.size(), 1u) << "events are nobody's record";
  // Delivered events make room again.
  publish(10, publication_kind::event, std::string(300, 'e'));
  EXPECT_EQ(metric("ziyu_events_dropped_total"), dropped);
}

TEST_F(Publisher, DrainsToTrueWhenNothingIsPending) {
  start();
  publish(0);
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{1'000});
  EXPECT_FALSE(*drained);
  acknowledge_all();
  ASSERT_TRUE(*drained);
  EXPECT_TRUE(**drained);
}

TEST_F(Publisher, DrainsToFalseAtItsDeadline) {
  start();
  publish(0);
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{1'000});
  advance(1100ms);
  ASSERT_TRUE(*drained);
  EXPECT_FALSE(**drained);
}

TEST_F(Publisher, DrainsAtOnceWhenIdle) {
  start();
  auto drained = ask<bool>(aut, atom::drain{}, uint64_t{1'000});
  ASSERT_TRUE(*drained);
  EXPECT_TRUE(**drained);
}

TEST_F(Publisher, IgnoresAReportThatItDoesNotKnow) {
  start();
  publish(0);
  send(aut, delivery_reports{{{999, error{errc::kafka_fatal, "old"}, {}}}});
  EXPECT_EQ(kafka.made, 1u);
  EXPECT_EQ(kafka.destroyed, 0u);
  acknowledge_all();
  EXPECT_EQ(to_dispatcher->published.size(), 1u);
}

} // namespace ziyu::actors
