#include "actors/source.hpp"

#include "tests/support/actor_stage.hpp"
#include "tests/support/fake_actors.hpp"
#include "tests/support/fake_kafka.hpp"

namespace ziyu::actors {

namespace {

using namespace ziyu::test;

class SourceLoop : public actor_fixture {
protected:
  /// One turn, and whatever it tells the dispatcher.
  bool turn() {
    const auto go_on = aut.turn(0ms);
    run();
    return go_on;
  }

  void push(std::optional<std::string> value) {
    auto x = make_record(next_offset++);
    x.value = value ? std::make_shared<const std::string>(std::move(*value)) : nullptr;
    consumer.events.emplace_back(std::move(x));
  }

  std::shared_ptr<dispatcher_log> log = std::make_shared<dispatcher_log>();
  fake_consumer consumer;
  std::shared_ptr<intake> credit = std::make_shared<intake>(intake::limits{2, 100'000});
  int64_t next_offset = 0;
  dispatcher_actor to = spawn(fake_dispatcher, log);
  source_loop aut{consumer, credit, to, env};
};

} // namespace

TEST_F(SourceLoop, HandsOnARecordUnreadWithItsWeightAsCredit) {
  push(R"({"image": "%%%"})"); // its reader will report the mistake
  push(std::nullopt);
  EXPECT_TRUE(turn());
  EXPECT_TRUE(turn());
  ASSERT_EQ(log->fetched.size(), 2u);
  for (const auto& x : log->fetched) {
    ASSERT_TRUE(x.source);
    EXPECT_FALSE(x.job);
    EXPECT_FALSE(x.reason);
    EXPECT_EQ(x.fetched_us, env.us);
    EXPECT_EQ(x.credit->bytes(), x.source->bytes());
  }
  EXPECT_EQ(credit->bytes(), log->fetched[0].source->bytes() + log->fetched[1].source->bytes());
  EXPECT_EQ(credit->jobs(), 2u);
}

TEST_F(SourceLoop, GatesItsConsumerWithoutCredit) {
  for (auto i = 0; i < 3; ++i)
    push("x");
  turn();
  turn();
  EXPECT_FALSE(credit->open());
  turn();
  EXPECT_TRUE(consumer.gated);
  EXPECT_EQ(log->fetched.size(), 2u);
  log->fetched[0].credit.reset();
  turn();
  EXPECT_FALSE(consumer.gated);
  EXPECT_EQ(log->fetched.size(), 3u);
}

TEST_F(SourceLoop, HandsOnTogetherWhatIsHereAlreadyAndThenWhatCameBehindIt) {
  push("x");
  consumer.events.emplace_back(messaging::consumer_recovered{});
  for (auto i = 0; i < 2; ++i)
    push("x");
  turn();
  EXPECT_EQ(log->fetched.size(), 1u);
  EXPECT_EQ(log->reachable, 1u) << "in the same turn";
  log->fetched.clear();
  turn();
  EXPECT_EQ(log->fetched.size(), 2u) << "as many as there is credit for";
  EXPECT_EQ(log->fetches, 2u);
}

TEST_F(SourceLoop, StillHearsOfPartitionsWhileGated) {
  credit->hold(true);
  consumer.events.emplace_back(messaging::partitions_assigned{3, {{"image.jobs", 0}}, {}});
  turn();
  ASSERT_EQ(log->assigned.size(), 1u);
  EXPECT_EQ(log->assigned[0].epoch, 3u);
}

TEST_F(SourceLoop, HoldsSinglePartitionsWhileTheOthersGoOn) {
  credit->hold_partitions({{"image.jobs", 0}});
  push("x");
  auto other = make_record(0, 1, 1);
  consumer.events.emplace_back(other);
  turn();
  ASSERT_EQ(log->fetched.size(), 1u);
  EXPECT_EQ(log->fetched[0].source->id.partition, 1);
  turn();
  EXPECT_EQ(consumer.holds, 1u) << "told when it changes";
  log->fetched[0].credit.reset();
  credit->hold_partitions({});
  turn();
  EXPECT_EQ(log->fetched.size(), 2u);
}

TEST_F(SourceLoop, TellsAgainWhatIsHeldWhenPartitionsWereAssigned) {
  credit->hold_partitions({{"image.jobs", 0}});
  consumer.events.emplace_back(messaging::partitions_assigned{3, {{"image.jobs", 0}}, {}});
  turn();
  EXPECT_EQ(consumer.holds, 1u);
  turn();
  EXPECT_EQ(consumer.holds, 2u) << "the new queues know of nothing";
}

TEST_F(SourceLoop, PausesOnlyWhenWhatIsPrefetchedMustGo) {
  credit->hold(true);
  turn();
  EXPECT_FALSE(consumer.paused);
  credit->give_up_prefetched(true);
  credit->hold(false);
  turn();
  EXPECT_TRUE(consumer.paused);
  EXPECT_TRUE(consumer.gated);
  credit->give_up_prefetched(false);
  turn();
  EXPECT_FALSE(consumer.paused);
  EXPECT_FALSE(consumer.gated);
}

namespace {

/// A consumer that is stuck at offset 7 of 90.
class WatchedSource : public SourceLoop {
protected:
  WatchedSource() { consumer.views = {{{"image.jobs", 0}, 3, 7, 90, false}}; }

  bool pass(std::chrono::seconds x) {
    auto go_on = true;
    for (auto n = x.count(); n > 0 && go_on; --n) {
      env.us += 1'000'000;
      go_on = watched.turn(0ms);
      run();
    }
    return go_on;
  }

  messaging::stall_watchdog watchdog{30s};
  source_loop watched{consumer, credit, to, env, &watchdog, report};
};

} // namespace

TEST_F(WatchedSource, SeeksWhenRecordsWaitAndNoneCome) {
  EXPECT_TRUE(pass(30s));
  EXPECT_TRUE(consumer.seeks.empty());
  EXPECT_TRUE(pass(10s));
  ASSERT_EQ(consumer.seeks.size(), 1u);
  EXPECT_EQ(consumer.seeks[0],
            (std::pair{messaging::topic_partition{"image.jobs", 0}, int64_t{7}}));
  EXPECT_EQ(events("consumer_stalled"), 1);
  EXPECT_EQ(metric("ziyu_refetched_bytes"), 4'096);
}

TEST_F(WatchedSource, TellsOfRecordsThatRetentionTookBeforeTheyWereFetched) {
  consumer.events.emplace_back(messaging::records_lost{{"image.jobs", 2}, 100, 130, 150});
  EXPECT_TRUE(pass(1s));
  EXPECT_EQ(events("records_lost_to_retention"), 1);
  EXPECT_EQ(metric("ziyu_records_lost_to_retention_total"), 30);
}

TEST_F(WatchedSource, GatedTimeDoesNotCount) {
  credit->hold(true);
  EXPECT_TRUE(pass(120s));
  credit->hold(false);
  EXPECT_TRUE(pass(25s));
  EXPECT_TRUE(consumer.seeks.empty());
}

TEST_F(WatchedSource, EscalatesWhenNeitherASeekNorAFreshClientHelps) {
  // As if a remedy had been tried with the client before this one.
  watchdog.observe(0s, consumer.views);
  EXPECT_EQ(watchdog.observe(30s, consumer.views).size(), 1u);
  EXPECT_EQ(watchdog.observe(60s, consumer.views).size(), 1u);
  EXPECT_TRUE(pass(100s));
  ASSERT_FALSE(log->failures.empty());
  EXPECT_NE(log->failures[0].message.find("image.jobs-0"), std::string::npos);
}

TEST_F(SourceLoop, HandsOnTheAnswersToCommits) {
  consumer.events.emplace_back(
    messaging::offsets_committed{{{{"image.jobs", 0}, 1, 17, std::nullopt, false}}});
  turn();
  ASSERT_EQ(log->committed.size(), 1u);
  EXPECT_EQ(log->committed[0].items.at(0).version, 17u);
}

TEST_F(SourceLoop, CreditEndsItsWaitForOtherEvents) {
  credit->hold(true);
  aut.turn(7ms);
  EXPECT_EQ(consumer.limits.back(), 7ms) << "a commit, or its answer, waits for no credit";
  EXPECT_EQ(consumer.wakes, 0u);
  credit->hold(false);
  EXPECT_EQ(consumer.wakes, 1u);
}

TEST_F(SourceLoop, EndsAtAFatalErrorOnly) {
  consumer.events.emplace_back(messaging::consumer_failed{{errc::kafka, "brokers down"}});
  consumer.events.emplace_back(messaging::consumer_failed{{errc::kafka_fatal, "fenced"}});
  EXPECT_TRUE(turn());
  EXPECT_FALSE(turn());
  ASSERT_EQ(log->failures.size(), 2u);
  EXPECT_EQ(log->failures[1].message, "fenced");
}

namespace {

/// A real scheduler: the source's thread blocks while the dispatcher works.
struct one_thread : caf::actor_system_config {
  one_thread() { set("scheduler.max-threads", size_t{1}); }
};

/// A seek has not helped: the next remedy is a fresh client.
class StalledSource : public ::testing::Test {
protected:
  StalledSource() {
    consumer.views = {{{"image.jobs", 0}, 3, 7, 90, false}};
    watchdog.observe(0s, consumer.views);
    EXPECT_EQ(watchdog.observe(30s, consumer.views).size(), 1u) << "the seek, in vain";
    aut.emplace(consumer, credit, to, env, &watchdog, report);
  }

  /// Of the dispatcher, after what it was told.
  void end() {
    caf::anon_send_exit(to, caf::exit_reason::user_shutdown);
    sys.await_all_actors_done();
  }

  std::shared_ptr<dispatcher_log> log = std::make_shared<dispatcher_log>();
  one_thread cfg;
  caf::actor_system sys{cfg};
  dispatcher_actor to = sys.spawn(fake_dispatcher, log);
  fake_consumer consumer;
  std::shared_ptr<intake> credit = std::make_shared<intake>(intake::limits{2, 1'000});
  fixed_environment env;
  std::shared_ptr<reporter> report = std::make_shared<reporter>(env, "test-1", "ziyu.events",
                                                                std::make_shared<metrics>());
  messaging::stall_watchdog watchdog{30s};
  std::optional<source_loop> aut;
};

} // namespace

TEST_F(StalledSource, HandsOverInGoodOrderBeforeItTriesAFreshClient) {
  auto turns = 0;
  do
    env.us += 5'000'000;
  while (aut->turn(aut->handing_over() ? 5s : 0s) && ++turns < 100);
  EXPECT_LT(turns, 100);
  EXPECT_EQ(consumer.revokes_finished, 0u) << "closing does that";
  end();
  ASSERT_EQ(log->revoked.size(), 1u);
  EXPECT_FALSE(log->revoked[0].lost);
  EXPECT_EQ(log->revoked[0].epoch, 3u);
  EXPECT_EQ(log->revoked[0].partitions.size(), 1u);
}

TEST_F(StalledSource, TriesAFreshClientAlsoWhenItIsDueJustAsOtherPartitionsGo) {
  env.us += 30'000'000;
  consumer.events.emplace_back(messaging::partitions_revoked{3, {{"image.jobs", 1}}, false});
  EXPECT_TRUE(aut->turn(0ms));
  auto turns = 0;
  do
    env.us += 1'000'000;
  while (aut->turn(aut->handing_over() ? 5s : 0s) && ++turns < 20);
  EXPECT_LT(turns, 20);
  end();
  ASSERT_EQ(log->revoked.size(), 2u);
  EXPECT_EQ(log->revoked[1].partitions[0], (messaging::topic_partition{"image.jobs", 0}));
}

TEST(JobSource, GivesPartitionsUpOnlyAfterTheDispatcherHasHandledIt) {
  auto log = std::make_shared<dispatcher_log>();
  one_thread cfg;
  caf::actor_system sys{cfg};
  auto to = sys.spawn(fake_dispatcher, log);
  fake_consumer consumer;
  auto credit = std::make_shared<intake>(intake::limits{2, 1'000});
  fixed_environment env;
  size_t handled_before_finish = 0;
  consumer.on_finish_revoke = [&] { handled_before_finish = log->revoked.size(); };
  consumer.events.emplace_back(messaging::partitions_revoked{4, {{"image.jobs", 1}}, false});
  source_loop aut{consumer, credit, to, env};
  EXPECT_TRUE(aut.turn(0ms));
  EXPECT_TRUE(aut.handing_over());
  EXPECT_TRUE(aut.turn(5s));
  EXPECT_EQ(consumer.revokes_finished, 1u);
  EXPECT_EQ(handled_before_finish, 1u);
  EXPECT_FALSE(aut.handing_over());
  caf::anon_send_exit(to, caf::exit_reason::user_shutdown);
}

TEST_F(SourceLoop, PollsNothingUntilTheDispatcherLetsGoButNotForEver) {
  auto deaf = spawn(
    [](caf::event_based_actor*) -> caf::behavior { return {[](const revocation&) {}}; });
  source_loop loop{consumer, credit, caf::actor_cast<dispatcher_actor>(deaf), env};
  consumer.events.emplace_back(messaging::partitions_revoked{1, {{"image.jobs", 0}}, false});
  push(std::string{"job"});
  EXPECT_TRUE(loop.turn(0ms));
  EXPECT_TRUE(loop.turn(0ms));
  EXPECT_TRUE(loop.handing_over());
  EXPECT_EQ(consumer.limits.size(), 1u) << "polls";
  env.us += 5'000'000;
  EXPECT_TRUE(loop.turn(0ms));
  EXPECT_EQ(consumer.revokes_finished, 1u);
  run();
}

namespace {

void close(job_source& x) {
  std::promise<bool> closed;
  x.close(1s, [&closed](bool in_time) { closed.set_value(in_time); });
  ASSERT_EQ(closed.get_future().wait_for(30s), std::future_status::ready);
}

} // namespace

TEST(JobSource, MakesAFreshConsumerAfterAFatalError) {
  auto log = std::make_shared<dispatcher_log>();
  one_thread cfg;
  caf::actor_system sys{cfg};
  auto to = sys.spawn(fake_dispatcher, log);
  fixed_environment env;
  auto credit = std::make_shared<intake>(intake::limits{2, 1'000});
  std::promise<void> second;
  std::atomic<int> made{0};
  auto make = [&]() -> expected<std::unique_ptr<messaging::consumer>> {
    auto x = std::make_unique<fake_consumer>();
    if (++made == 1)
      x->events.emplace_back(messaging::consumer_failed{{errc::kafka_fatal, "fenced"}});
    else if (made == 2)
      second.set_value();
    return x;
  };
  job_source aut{make, credit, to, env};
  ASSERT_EQ(second.get_future().wait_for(30s), std::future_status::ready);
  close(aut);
  EXPECT_FALSE(aut.store({"image.jobs", 0}, 1)) << "nobody is there to commit it";
  caf::anon_send_exit(to, caf::exit_reason::user_shutdown);
}

// Say, at a batch with a wrong checksum, to which each client comes.
TEST(JobSource, WaitsLongerEachTimeForAConsumerThatEndsSoonAfterItsRecords) {
  auto log = std::make_shared<dispatcher_log>();
  one_thread cfg;
  caf::actor_system sys{cfg};
  auto to = sys.spawn(fake_dispatcher, log);
  fixed_environment env;
  auto credit = std::make_shared<intake>(intake::limits{100, 1'000'000});
  std::promise<void> fourth;
  std::atomic<int> made{0};
  const auto begun = std::chrono::steady_clock::now();
  auto make = [&]() -> expected<std::unique_ptr<messaging::consumer>> {
    auto x = std::make_unique<fake_consumer>();
    x->events.emplace_back(make_record(made));
    x->events.emplace_back(messaging::consumer_failed{{errc::kafka_fatal, "bad checksum"}});
    if (++made == 4)
      fourth.set_value();
    return x;
  };
  job_source aut{make, credit, to, env};
  ASSERT_EQ(fourth.get_future().wait_for(60s), std::future_status::ready);
  // 0.1 + 0.2 + 0.4 s are the shortest pauses; without growth three were 0.6 s at most.
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 690ms);
  close(aut);
  caf::anon_send_exit(to, caf::exit_reason::user_shutdown);
}

TEST(JobSource, TellsWhyItHasNoConsumerAndTriesAgain) {
  auto log = std::make_shared<dispatcher_log>();
  std::promise<void> again;
  std::atomic<int> tries{0};
  {
    one_thread cfg;
    caf::actor_system sys{cfg};
    auto to = sys.spawn(fake_dispatcher, log);
    fixed_environment env;
    auto credit = std::make_shared<intake>(intake::limits{2, 1'000});
    auto make = [&]() -> expected<std::unique_ptr<messaging::consumer>> {
      if (++tries == 2)
        again.set_value();
      return fail(errc::kafka, "no client");
    };
    job_source aut{make, credit, to, env};
    ASSERT_EQ(again.get_future().wait_for(30s), std::future_status::ready);
    close(aut);
    caf::anon_send_exit(to, caf::exit_reason::user_shutdown);
  }
  ASSERT_GE(log->failures.size(), 1u);
  EXPECT_EQ(log->failures[0].message, "no client");
}

// The consumer's rule: everything but `store` and `membership` on the thread that polls.
TEST(JobSource, CommitsOnThePollThread) {
  class consumer_on_one_thread : public fake_consumer {
  public:
    explicit consumer_on_one_thread(std::promise<void>& first) : polled(&first) {}
    messaging::consumer_event poll(std::chrono::milliseconds limit) override {
      poller = std::this_thread::get_id();
      if (polled != nullptr)
        std::exchange(polled, nullptr)->set_value();
      return fake_consumer::poll(limit);
    }
    expected<void> commit(std::chrono::milliseconds) override {
      if (std::this_thread::get_id() != poller)
        return fail(errc::kafka, "another thread than the one that polls");
      return {};
    }
    std::promise<void>* polled; ///< Kept at the first poll.
    std::thread::id poller;
  };
  one_thread cfg;
  caf::actor_system sys{cfg};
  auto to = sys.spawn(fake_dispatcher, std::make_shared<dispatcher_log>());
  fixed_environment env;
  auto credit = std::make_shared<intake>(intake::limits{2, 1'000});
  std::promise<void> polled;
  auto make = [&]() -> expected<std::unique_ptr<messaging::consumer>> {
    return std::make_unique<consumer_on_one_thread>(polled);
  };
  job_source aut{make, credit, to, env};
  ASSERT_EQ(polled.get_future().wait_for(30s), std::future_status::ready);
  const auto commit = [&aut] {
    auto answer = std::make_shared<std::promise<expected<void>>>();
    aut.commit(1s, [answer](expected<void> x) { answer->set_value(std::move(x)); });
    auto future = answer->get_future();
    EXPECT_EQ(future.wait_for(30s), std::future_status::ready);
    return future.get();
  };
  const auto ok = commit();
  EXPECT_TRUE(ok) << ok.error().message;
  close(aut);
  EXPECT_EQ(commit().error().code, errc::revoked) << "there is no consumer any more";
  close(aut); // again: it has ended
  caf::anon_send_exit(to, caf::exit_reason::user_shutdown);
}

} // namespace ziyu::actors
