#include "supervision/circuit_breaker.hpp"

#include <gtest/gtest.h>

#include <limits>

using namespace std::chrono_literals;
using namespace ziyu::supervision;
using trigger = circuit_breaker::trigger;

namespace {

constexpr auto unlimited = std::numeric_limits<uint32_t>::max();
const circuit_breaker::clock::time_point start{1000h};

using ticket = circuit_breaker::ticket;

circuit_breaker::settings with_probes(uint32_t probes) {
  circuit_breaker::settings s;
  s.open_at = 0.8;
  s.close_below = 0.7;
  s.open_for = 2s;
  s.open_max = 10s;
  s.settle = 0s;
  s.probe_jobs = probes;
  s.error_min_jobs = 10;
  s.error_rate = 0.5;
  return s;
}

circuit_breaker make_breaker(uint32_t probes = 2) { return circuit_breaker{with_probes(probes)}; }

/// A breaker that was opened at `start` and is half open at `start + 2s`.
circuit_breaker half_open_breaker(uint32_t probes = 2) {
  auto x = make_breaker(probes);
  x.raise(trigger::publisher, "queue full", start);
  x.lower(trigger::publisher, start + 1s);
  x.tick(start + 2s);
  EXPECT_EQ(x.state(), breaker_state::half_open);
  return x;
}

void expect(const std::optional<circuit_breaker::transition>& got, breaker_state from,
            breaker_state to) {
  ASSERT_TRUE(got);
  EXPECT_EQ(to_string(got->from), to_string(from));
  EXPECT_EQ(to_string(got->to), to_string(to));
  EXPECT_FALSE(got->reason.empty());
  EXPECT_FALSE(got->cause.empty());
}

} // namespace

TEST(CircuitBreaker, IsClosedAtFirstAndAdmitsAll) {
  auto x = make_breaker();
  EXPECT_EQ(x.state(), breaker_state::closed);
  EXPECT_EQ(x.admits(), unlimited);
  EXPECT_EQ(x.reason(), "");
  EXPECT_FALSE(x.finished(x.started(), false, start)) << "a failed job is no reason";
  EXPECT_FALSE(x.tick(start + 100s));
  EXPECT_EQ(x.state(), breaker_state::closed);
}

TEST(CircuitBreaker, AnyTriggerOpensItAndSaysWhy) {
  for (auto which :
       {trigger::memory, trigger::restart_intensity, trigger::publisher, trigger::fork_server}) {
    auto x = make_breaker();
    const auto change = x.raise(which, "it is so", start);
    expect(change, breaker_state::closed, breaker_state::open);
    EXPECT_EQ(change->reason, std::string{to_string(which)} + ": it is so");
    EXPECT_EQ(x.reason(), change->reason);
    EXPECT_EQ(x.admits(), 0u);
    EXPECT_FALSE(x.raise(which, "it is so", start + 1s)) << "open already";
  }
}

TEST(CircuitBreaker, MemoryHasHysteresis) {
  auto x = make_breaker();
  EXPECT_FALSE(x.memory(0.75, start)) << "between the two: as it was";
  const auto opened = x.memory(0.8, start);
  expect(opened, breaker_state::closed, breaker_state::open);
  EXPECT_EQ(opened->reason, "memory: container memory at 80.0 %, breaker.open_at is 80 %");
  EXPECT_FALSE(x.memory(0.75, start + 10s)) << "still raised";
  EXPECT_FALSE(x.memory(0.7, start + 10s)) << "not yet below";
  EXPECT_FALSE(x.tick(start + 10s));
  expect(x.memory(0.69, start + 10s), breaker_state::open, breaker_state::half_open);
  EXPECT_FALSE(x.memory(0.75, start + 11s)) << "not raised again";
  expect(x.memory(0.81, start + 12s), breaker_state::half_open, breaker_state::open);
}

TEST(CircuitBreaker, StaysOpenForItsTime) {
  auto x = make_breaker();
  x.raise(trigger::publisher, "queue full", start);
  EXPECT_FALSE(x.lower(trigger::publisher, start + 1s));
  EXPECT_FALSE(x.tick(start + 1999ms));
  EXPECT_EQ(x.admits(), 0u);
  expect(x.tick(start + 2s), breaker_state::open, breaker_state::half_open);
  EXPECT_FALSE(x.tick(start + 3s)) << "only once";
}

TEST(CircuitBreaker, StaysOpenUntilEveryTriggerIsLowered) {
  auto x = make_breaker();
  x.raise(trigger::publisher, "queue full", start);
  x.raise(trigger::fork_server, "it died", start + 1s);
  EXPECT_FALSE(x.lower(trigger::publisher, start + 10s));
  EXPECT_FALSE(x.tick(start + 20s));
  expect(x.lower(trigger::fork_server, start + 20s), breaker_state::open, breaker_state::half_open);
}

TEST(CircuitBreaker, ItsReasonNamesTheTriggersThatAreRaised) {
  auto x = make_breaker();
  x.raise(trigger::publisher, "queue full", start);
  x.raise(trigger::fork_server, "it died", start + 1s);
  EXPECT_NE(x.reason().find("publisher: queue full"), std::string::npos) << x.reason();
  EXPECT_NE(x.reason().find("fork_server: it died"), std::string::npos) << x.reason();
  x.lower(trigger::publisher, start + 2s);
  EXPECT_EQ(x.reason(), "fork_server: it died");
  x.raise(trigger::fork_server, "it died again", start + 3s);
  EXPECT_EQ(x.reason(), "fork_server: it died again");
  x.lower(trigger::fork_server, start + 4s);
  ASSERT_EQ(x.state(), breaker_state::half_open);
  EXPECT_EQ(x.reason(), "fork_server: it died again") << "why it is not closed yet";
}

TEST(CircuitBreaker, LoweringWhatIsNotRaisedIsNothing) {
  auto x = make_breaker();
  EXPECT_FALSE(x.lower(trigger::memory, start));
  EXPECT_EQ(x.state(), breaker_state::closed);
  x.raise(trigger::publisher, "queue full", start);
  EXPECT_FALSE(x.lower(trigger::memory, start + 10s));
  EXPECT_EQ(x.state(), breaker_state::open);
}

TEST(CircuitBreaker, HalfOpenAdmitsSoManyProbes) {
  auto x = half_open_breaker(2);
  EXPECT_EQ(x.admits(), 2u);
  const auto first = x.started();
  EXPECT_EQ(x.admits(), 1u);
  const auto second = x.started();
  EXPECT_EQ(x.admits(), 0u);
  EXPECT_FALSE(x.finished(first, true, start + 3s));
  EXPECT_EQ(x.admits(), 0u) << "one has succeeded, one runs";
  x.not_begun(second);
  EXPECT_EQ(x.admits(), 1u) << "it has proved nothing";
}

TEST(CircuitBreaker, ClosesWhenAllProbesSucceed) {
  auto x = half_open_breaker(3);
  for (int i = 0; i < 2; ++i)
    EXPECT_FALSE(x.finished(x.started(), true, start + 3s));
  expect(x.finished(x.started(), true, start + 3s), breaker_state::half_open,
         breaker_state::closed);
  EXPECT_EQ(x.admits(), unlimited);
  EXPECT_EQ(x.reason(), "");
}

TEST(CircuitBreaker, AFailedProbeProvesNothingAndAnotherOneTakesItsPlace) {
  auto x = half_open_breaker(2);
  const auto first = x.started(), second = x.started();
  EXPECT_FALSE(x.finished(first, false, start + 3s)) << "it may be that job's fault";
  EXPECT_EQ(x.state(), breaker_state::half_open);
  EXPECT_EQ(x.admits(), 1u);
  EXPECT_FALSE(x.finished(second, true, start + 3s));
  EXPECT_EQ(x.admits(), 1u);
  expect(x.finished(x.started(), true, start + 3s), breaker_state::half_open,
         breaker_state::closed);
}

TEST(CircuitBreaker, ProbesOfWhichNoneSucceedsOpenItForTwiceTheTime) {
  auto settings = with_probes(2);
  settings.error_rate = 1;
  circuit_breaker x{settings};
  x.raise(trigger::publisher, "queue full", start);
  x.lower(trigger::publisher, start + 1s);
  ASSERT_TRUE(x.tick(start + 2s));
  for (int i = 0; i < 9; ++i)
    EXPECT_FALSE(x.finished(x.started(), false, start + 5s));
  const auto opened = x.finished(x.started(), false, start + 5s);
  expect(opened, breaker_state::half_open, breaker_state::open);
  EXPECT_EQ(opened->cause, "probes");
  EXPECT_EQ(opened->values.at("open_ms"), 4'000);
  EXPECT_EQ(opened->values.at("openings_in_a_row"), 2);
  EXPECT_EQ(x.reason(), "10 of 10 probe jobs failed");
  EXPECT_EQ(x.admits(), 0u);
  EXPECT_FALSE(x.tick(start + 8999ms));
  expect(x.tick(start + 9s), breaker_state::open, breaker_state::half_open);
  EXPECT_EQ(x.admits(), 2u) << "those of before do not count";
}

TEST(CircuitBreaker, TheOpenTimeDoublesUpToItsLimitAndStartsAnewAfterACalmTime) {
  auto x = make_breaker(1);
  auto now = start;
  x.raise(trigger::publisher, "queue full", now);
  x.lower(trigger::publisher, now);
  for (const auto wanted : {2s, 4s, 8s, 10s, 10s}) {
    EXPECT_EQ(x.open_time(), wanted);
    EXPECT_FALSE(x.tick(now + wanted - 1ms));
    ASSERT_TRUE(x.tick(now + wanted));
    now += wanted;
    ASSERT_TRUE(x.raise(trigger::publisher, "queue full", now));
    x.lower(trigger::publisher, now);
  }
  ASSERT_TRUE(x.tick(now + 10s));
  now += 10s;
  ASSERT_TRUE(x.finished(x.started(), true, now));
  ASSERT_EQ(x.state(), breaker_state::closed);
  auto soon = x;
  soon.raise(trigger::publisher, "queue full", now + 9s);
  EXPECT_EQ(soon.open_time(), 10s) << "it flaps";
  x.raise(trigger::publisher, "queue full", now + 10s);
  EXPECT_EQ(x.open_time(), 2s);
}

TEST(CircuitBreaker, ATriggerThatComesAndGoesKeepsItOpen) {
  auto settings = with_probes(1);
  settings.settle = 5s;
  circuit_breaker x{settings};
  x.raise(trigger::fork_server, "it died", start);
  for (auto at = 1s; at <= 20s; at += 2s) {
    EXPECT_FALSE(x.lower(trigger::fork_server, start + at));
    EXPECT_FALSE(x.raise(trigger::fork_server, "it died", start + at + 1s));
  }
  EXPECT_FALSE(x.lower(trigger::fork_server, start + 22s));
  EXPECT_FALSE(x.lower(trigger::fork_server, start + 25s)) << "lowered since second 22";
  EXPECT_FALSE(x.tick(start + 26999ms));
  expect(x.tick(start + 27s), breaker_state::open, breaker_state::half_open);
}

TEST(CircuitBreaker, ATriggerInHalfOpenOpensIt) {
  auto x = half_open_breaker(2);
  const auto probe = x.started();
  expect(x.raise(trigger::restart_intensity, "6 in 10 s", start + 3s), breaker_state::half_open,
         breaker_state::open);
  EXPECT_FALSE(x.finished(probe, true, start + 3s)) << "its probe comes too late";
  EXPECT_EQ(x.state(), breaker_state::open);
}

TEST(CircuitBreaker, AJobFromBeforeIsNoProbeAlsoWhileProbesRun) {
  auto x = make_breaker(1);
  const auto old = x.started();
  x.raise(trigger::publisher, "queue full", start);
  x.lower(trigger::publisher, start);
  ASSERT_TRUE(x.tick(start + 2s));
  const auto probe = x.started();
  auto failed = x;
  EXPECT_FALSE(failed.finished(old, false, start + 3s)) << "says nothing of what is so now";
  EXPECT_EQ(failed.state(), breaker_state::half_open);
  EXPECT_FALSE(x.finished(old, true, start + 3s));
  EXPECT_EQ(x.state(), breaker_state::half_open) << "only its own probe closes it";
  EXPECT_EQ(x.admits(), 0u);
  x.not_begun(old);
  EXPECT_EQ(x.admits(), 0u) << "nor does it make room for another probe";
  expect(x.finished(probe, true, start + 3s), breaker_state::half_open, breaker_state::closed);
}

TEST(CircuitBreaker, AProbeOfAnEarlierTrialIsNoProbeOfTheNext) {
  auto x = half_open_breaker(2);
  const auto late = x.started();
  ASSERT_TRUE(x.raise(trigger::publisher, "queue full", start + 3s));
  x.lower(trigger::publisher, start + 3s);
  ASSERT_TRUE(x.tick(start + 7s));
  const auto probe = x.started();
  EXPECT_FALSE(x.finished(late, false, start + 8s));
  EXPECT_EQ(x.state(), breaker_state::half_open);
  EXPECT_EQ(x.admits(), 1u);
  EXPECT_FALSE(x.finished(probe, true, start + 8s));
}

// -- nothing succeeds -------------------------------------------------------------------

namespace {

circuit_breaker default_breaker() { return circuit_breaker{{}}; }

} // namespace

TEST(CircuitBreaker, OpensWhenNoneOfTheLatestJobsSucceedsHoweverLongTheyTake) {
  auto x = default_breaker();
  for (int i = 0; i < 19; ++i)
    EXPECT_FALSE(x.finished(x.started(), false, start + i * 1min));
  const auto opened = x.finished(x.started(), false, start + 19min);
  expect(opened, breaker_state::closed, breaker_state::open);
  EXPECT_EQ(opened->cause, "error_rate");
  EXPECT_EQ(opened->reason, "error_rate: none of the latest 20 jobs succeeded");
  EXPECT_EQ(opened->values.at("failed_jobs"), 20);
  EXPECT_EQ(opened->values.at("jobs"), 20);
  EXPECT_EQ(opened->values.at("error_percent"), 100);
}

TEST(CircuitBreaker, StaysClosedForAnyShareOfFailuresAsLongAsSomethingSucceeds) {
  auto x = default_breaker();
  for (int i = 0; i < 10'000; ++i)
    ASSERT_FALSE(x.finished(x.started(), i % 20 == 19, start + i * 1ms));
  EXPECT_EQ(x.state(), breaker_state::closed);
}

TEST(CircuitBreaker, ProbesThatFailInTurnWithOthersDoNotOpenItAgain) {
  circuit_breaker x{{}};
  x.raise(trigger::publisher, "queue full", start);
  x.lower(trigger::publisher, start);
  ASSERT_TRUE(x.tick(start + 2s));
  for (int i = 0; x.state() == breaker_state::half_open; ++i) {
    ASSERT_LT(i, 8);
    x.finished(x.started(), i % 2 != 0, start + 3s);
  }
  EXPECT_EQ(x.state(), breaker_state::closed);
}

TEST(CircuitBreaker, SaysWhetherATriggerIsRaised) {
  auto x = default_breaker();
  EXPECT_FALSE(x.is_raised(trigger::memory));
  x.memory(0.96, start);
  EXPECT_TRUE(x.is_raised(trigger::memory));
  x.memory(0.9, start);
  EXPECT_TRUE(x.is_raised(trigger::memory)) << "between the marks as before";
  x.memory(0.5, start);
  EXPECT_FALSE(x.is_raised(trigger::memory)) << "though it has not settled";
}

// -- error rate -------------------------------------------------------------------------

TEST(CircuitBreaker, OpensWhenTooManyOfTheLatestJobsFail) {
  auto x = make_breaker();
  for (int i = 0; i < 5; ++i)
    EXPECT_FALSE(x.finished(x.started(), true, start));
  for (int i = 0; i < 4; ++i)
    EXPECT_FALSE(x.finished(x.started(), false, start + 1s));
  const auto opened = x.finished(x.started(), false, start + 1s);
  expect(opened, breaker_state::closed, breaker_state::open);
  EXPECT_EQ(opened->cause, "error_rate");
  EXPECT_EQ(opened->reason, "error_rate: 5 of the latest 10 jobs failed (50 %), "
                            "breaker.error_rate is 50 %");
  EXPECT_EQ(opened->values.at("failed_jobs"), 5);
  EXPECT_EQ(opened->values.at("jobs"), 10);
  EXPECT_EQ(opened->values.at("window_ms"), 30'000);
}

TEST(CircuitBreaker, NeedsEnoughJobsWithinTheWindowToJudgeTheirRate) {
  auto x = make_breaker();
  EXPECT_FALSE(x.finished(x.started(), true, start));
  for (int i = 0; i < 8; ++i)
    EXPECT_FALSE(x.finished(x.started(), false, start));
  EXPECT_FALSE(x.finished(x.started(), false, start + 30s)) << "the others are too long ago";
  EXPECT_EQ(x.state(), breaker_state::closed);
}

TEST(CircuitBreaker, CountsTheErrorRateAnewAfterItClosed) {
  auto x = make_breaker(1);
  for (int i = 0; i < 10; ++i)
    x.finished(x.started(), false, start);
  ASSERT_EQ(x.state(), breaker_state::open);
  ASSERT_TRUE(x.tick(start + 2s));
  ASSERT_TRUE(x.finished(x.started(), true, start + 2s));
  for (int i = 0; i < 9; ++i)
    EXPECT_FALSE(x.finished(x.started(), false, start + 3s));
  expect(x.finished(x.started(), false, start + 3s), breaker_state::closed, breaker_state::open);
}

TEST(CircuitBreaker, AnErrorRateAboveOneNeverOpensIt) {
  auto settings = with_probes(1);
  settings.error_rate = 1.5;
  circuit_breaker x{settings};
  for (int i = 0; i < 100; ++i)
    EXPECT_FALSE(x.finished(x.started(), false, start));
}

// -- operators --------------------------------------------------------------------------

TEST(CircuitBreaker, AnOperatorHoldsItOpenWhateverHappens) {
  auto x = make_breaker();
  const auto forced = x.set_mode(breaker_mode::open, "new disks", start);
  expect(forced, breaker_state::closed, breaker_state::forced_open);
  EXPECT_EQ(forced->cause, "operator");
  EXPECT_EQ(x.reason(), "operator: new disks");
  EXPECT_FALSE(x.set_mode(breaker_mode::open, "again", start)) << "it is so already";
  EXPECT_FALSE(x.tick(start + 100h));
  EXPECT_EQ(x.admits(), 0u);
  EXPECT_TRUE(x.holds());
  EXPECT_FALSE(x.raise(trigger::memory, "full", start));
  EXPECT_EQ(x.reason(), "operator: new disks; memory: full");
}

TEST(CircuitBreaker, FromForcedOpenProbesDecide) {
  auto x = make_breaker(1);
  x.set_mode(breaker_mode::open, "", start);
  expect(x.set_mode(breaker_mode::automatic, "", start), breaker_state::forced_open,
         breaker_state::half_open);
  expect(x.finished(x.started(), true, start), breaker_state::half_open, breaker_state::closed);
}

TEST(CircuitBreaker, DisabledItNeverHoldsBackAndForgetsNothing) {
  auto x = make_breaker();
  x.raise(trigger::memory, "full", start);
  expect(x.set_mode(breaker_mode::disabled, "it lies", start), breaker_state::open,
         breaker_state::disabled);
  EXPECT_EQ(x.admits(), unlimited);
  EXPECT_FALSE(x.holds());
  EXPECT_FALSE(x.raise(trigger::publisher, "queue full", start));
  for (int i = 0; i < 100; ++i)
    EXPECT_FALSE(x.finished(x.started(), false, start));
  const auto back = x.set_mode(breaker_mode::automatic, "", start + 1s);
  expect(back, breaker_state::disabled, breaker_state::open);
  EXPECT_EQ(back->cause, "memory");
  x.lower(trigger::memory, start + 1s);
  x.lower(trigger::publisher, start + 1s);
  EXPECT_FALSE(x.tick(start + 4999ms)) << "it opened twice in a row";
  EXPECT_TRUE(x.tick(start + 5s));
}

TEST(CircuitBreaker, FromDisabledItIsClosedWhenNothingIsRaised) {
  auto x = make_breaker();
  x.set_mode(breaker_mode::disabled, "", start);
  expect(x.set_mode(breaker_mode::automatic, "", start), breaker_state::disabled,
         breaker_state::closed);
  EXPECT_EQ(x.reason(), "");
}

TEST(CircuitBreaker, BeginsInTheModeOfItsConfiguration) {
  auto settings = with_probes(1);
  settings.mode = breaker_mode::open;
  EXPECT_EQ(circuit_breaker{settings}.state(), breaker_state::forced_open);
  settings.mode = breaker_mode::disabled;
  EXPECT_EQ(circuit_breaker{settings}.state(), breaker_state::disabled);
  EXPECT_EQ(circuit_breaker{settings}.reason(), "operator: breaker.mode is disable");
}

TEST(CircuitBreaker, NamesAreStable) {
  EXPECT_EQ(to_string(breaker_state::closed), "closed");
  EXPECT_EQ(to_string(breaker_state::open), "open");
  EXPECT_EQ(to_string(breaker_state::half_open), "half_open");
  EXPECT_EQ(to_string(trigger::memory), "memory");
  EXPECT_EQ(to_string(trigger::restart_intensity), "restart_intensity");
  EXPECT_EQ(to_string(trigger::publisher), "publisher");
  EXPECT_EQ(to_string(trigger::fork_server), "fork_server");
  EXPECT_EQ(to_string(trigger::error_rate), "error_rate");
  EXPECT_EQ(to_string(breaker_state::forced_open), "forced_open");
  EXPECT_EQ(to_string(breaker_state::disabled), "disabled");
  for (auto mode : {breaker_mode::automatic, breaker_mode::open, breaker_mode::disabled}) {
    auto back = breaker_mode::automatic;
    EXPECT_TRUE(from_string(to_string(mode), back));
    EXPECT_EQ(back, mode);
  }
  auto none = breaker_mode::disabled;
  EXPECT_FALSE(from_string("closed", none));
  EXPECT_EQ(none, breaker_mode::disabled);
}
