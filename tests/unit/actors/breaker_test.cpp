// The circuit breaker and the credit under memory pressure, as the dispatcher uses them.

#include "tests/support/dispatcher_stage.hpp"

namespace ziyu::test {

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

TEST_F(Dispatcher, OpensAgainWhenNoProbeSucceeds) {
  start(2, [](auto& s) { s.breaker.error_min_jobs = 3; });
  breaker(trigger::memory, true);
  for (auto i = 0; i < 4; ++i)
    fetch(make_record(i));
  breaker(trigger::memory, false);
  advance(3s);
  for (auto i = 0; i < 3; ++i) {
    ASSERT_EQ(status().breaker, breaker_state::half_open) << i;
    fail_attempt(errc::worker_died, i % 2);
  }
  EXPECT_EQ(status().breaker, breaker_state::open);
  EXPECT_EQ(status().running, 1u) << "what had begun goes on";
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

TEST_F(Dispatcher, GivesUpWhatIsPrefetchedOnlyWhileMemoryHoldsTheBreakerOpen) {
  start();
  auto reading = [&](double share) { send(aut, breaker_input{trigger::memory, false, "", share}); };
  reading(0.94);
  EXPECT_FALSE(credit->prefetched_given_up()) << "less credit costs nothing";
  reading(0.96);
  EXPECT_TRUE(credit->prefetched_given_up());
  reading(0.9);
  EXPECT_TRUE(credit->prefetched_given_up());
  reading(0.84);
  EXPECT_FALSE(credit->prefetched_given_up());
  EXPECT_FALSE(credit->open()) << "it is still open";
}

// At any memory: intake stops if and only if the breaker says so.
TEST_F(Dispatcher, IntakeStopsWhenTheBreakerSaysSoAndNotOtherwise) {
  for (const auto open_at : {0.9, 0.95, 0.99, 1.0}) {
    credit = std::make_shared<intake>(intake::limits{});
    const auto& x = *credit;
    start(1, [&](auto& s) { s.breaker.open_at = s.pressure.open_at = open_at; });
    for (const auto share : {0.4, 0.6, 0.94, 0.96, 0.995, 1.2, 0.97, 0.4}) {
      send(aut, breaker_input{trigger::memory, false, "", share});
      const auto holds = status().breaker == breaker_state::open;
      EXPECT_EQ(x.open(), !holds) << open_at << " at " << share;
      EXPECT_EQ(metric("ziyu_breaker_state"), holds ? 1 : 0);
      EXPECT_FALSE(x.prefetched_given_up() && !holds);
      if (share >= open_at) {
        EXPECT_TRUE(holds) << open_at << " at " << share;
      }
      advance(20s);      // time enough to close but for the probes
      if (share < 0.5) { // closes it
        for (auto i = 0; i < 2 && status().breaker == breaker_state::half_open; ++i) {
          fetch(make_record(next_offset++));
          succeed();
          acknowledge_last();
        }
      }
    }
    slots.clear();
    actors_of_slots.clear();
    next_offset = 0;
  }
}

TEST_F(Dispatcher, DisabledTheBreakerHoldsNothingBackHoweverShortMemoryIs) {
  start();
  ask<dispatcher_status>(aut, breaker_command{supervision::breaker_mode::disabled, ""});
  send(aut, breaker_input{trigger::memory, false, "", 0.99});
  EXPECT_EQ(status().breaker, breaker_state::disabled);
  EXPECT_TRUE(credit->open());
  EXPECT_FALSE(credit->prefetched_given_up());
  EXPECT_EQ(credit->granted().jobs, 8u) << "it takes less";
  ask<dispatcher_status>(aut, breaker_command{supervision::breaker_mode::automatic, ""});
  EXPECT_EQ(status().breaker, breaker_state::open);
  EXPECT_FALSE(credit->open());
  EXPECT_TRUE(credit->prefetched_given_up());
  ask<dispatcher_status>(aut, breaker_command{supervision::breaker_mode::disabled, ""});
  EXPECT_TRUE(credit->open());
  EXPECT_FALSE(credit->prefetched_given_up());
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

TEST_F(Dispatcher, OpensWhenNothingSucceedsAndNotForBadInput) {
  start(1, [](auto& s) { s.breaker.error_min_jobs = 4; });
  for (auto i = 0; i < 8; ++i) {
    fetch(make_record(i));
    refuse_input(errc::undecodable_image, "not an image");
  }
  EXPECT_EQ(status().breaker, breaker_state::closed) << "the service is well";
  for (auto i = 8; i < 14; ++i) {
    ASSERT_EQ(status().breaker, breaker_state::closed) << i;
    fetch(make_record(i));
    if (i == 10) // neither says anything about the model
      refuse_input(errc::image_too_large, "too large");
    else if (i == 9)
      succeed();
    else
      refuse_input(errc::inference_failed, "the model throws");
  }
  ASSERT_EQ(status().breaker, breaker_state::closed);
  fetch(make_record(14));
  refuse_input(errc::inference_failed, "the model throws");
  EXPECT_EQ(status().breaker, breaker_state::open);
  EXPECT_EQ(metric("ziyu_breaker_openings_total{cause=\"error_rate\"}"), 1);
  EXPECT_NE(status().breaker_reason.find("none of the latest 4 jobs succeeded"), std::string::npos)
    << status().breaker_reason;
}

TEST_F(Dispatcher, AModelThatThrowsOnEverySecondImageStopsNoOther) {
  start();
  for (auto i = 0; i < 400; ++i) {
    fetch(make_record(i));
    if (i % 2 == 0)
      refuse_input(errc::inference_failed, "the model throws");
    else
      succeed();
    ASSERT_EQ(status().breaker, breaker_state::closed) << i;
    acknowledge_last();
  }
  EXPECT_EQ(metric("ziyu_dead_letters_total{code=\"inference_failed\"}"), 200);
}

TEST_F(Dispatcher, JobsThatKillEachWorkerDoNotOpenItAmongOthersThatSucceed) {
  start(2);
  // Four bad ones first, so that each has killed a worker before anything has succeeded.
  for (auto i = 0; i < 40; ++i)
    fetch(make_record(i));
  const auto bad = [this](uint32_t slot) {
    return slots[slot]->requests.back().jobs.at(0).job->source.id.offset < 4;
  };
  for (auto step = 0; step < 400 && outbox().size() < 40; ++step) {
    for (auto slot : {0u, 1u})
      if (!slots[slot]->open.empty()) {
        if (bad(slot))
          fail_attempt(errc::worker_died, slot);
        else
          succeed(slot);
      }
    advance(10ms);
    ASSERT_EQ(status().breaker, breaker_state::closed);
  }
  ASSERT_EQ(outbox().size(), 40u);
  for (size_t i = 0; i < 36; ++i)
    EXPECT_EQ(outbox()[i].kind, publication_kind::result) << "the good ones wait for no bad one";
  for (const auto& x : to_supervisor->verdicts)
    EXPECT_TRUE(x.of_job);
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
  send(aut,
       breaker_input{trigger::publisher,
                     true,
                     "no report",
                     {},
                     {{"silent_ms", 10'100}, {"pending_records", 3}, {"pending_bytes", 4'096}}});
  const auto event = nlohmann::json::parse(*published_log->back().content->value);
  EXPECT_EQ(event["type"], "breaker_opened");
  EXPECT_EQ(event["detail"]["cause"], "publisher");
  EXPECT_EQ(event["detail"]["reason"], "publisher: no report");
  EXPECT_EQ(event["detail"]["silent_ms"], 10'100);
  EXPECT_EQ(event["detail"]["pending_records"], 3);
  EXPECT_EQ(event["detail"]["pending_bytes"], 4'096);
  EXPECT_EQ(event["detail"]["open_ms"], 2'000);
  EXPECT_EQ(event["detail"]["from"], "closed");
}

TEST_F(Dispatcher, BeginsHeldOpenWhenItsConfigurationSaysSo) {
  start(1, [](auto& s) { s.breaker.mode = supervision::breaker_mode::open; });
  EXPECT_FALSE(credit->open());
  EXPECT_EQ(status().breaker, breaker_state::forced_open);
  EXPECT_EQ(metric("ziyu_breaker_state"), 3);
}

} // namespace ziyu::test
