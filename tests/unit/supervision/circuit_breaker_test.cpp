#include "supervision/circuit_breaker.hpp"

#include <gtest/gtest.h>

#include <limits>

using namespace std::chrono_literals;
using namespace ziyu::supervision;
using trigger = circuit_breaker::trigger;

namespace {

constexpr auto unlimited = std::numeric_limits<uint32_t>::max();
const circuit_breaker::clock::time_point start{1000h};

circuit_breaker make_breaker(uint32_t probes = 2) {
  circuit_breaker::settings s;
  s.open_for = 2s;
  s.probe_jobs = probes;
  return circuit_breaker{s};
}

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
}

} // namespace

TEST(CircuitBreaker, IsClosedAtFirstAndAdmitsAll) {
  auto x = make_breaker();
  EXPECT_EQ(x.state(), breaker_state::closed);
  EXPECT_EQ(x.admits(), unlimited);
  EXPECT_EQ(x.reason(), "");
  x.started();
  EXPECT_FALSE(x.finished(false, start)) << "a failed job is no reason";
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
  x.started();
  EXPECT_EQ(x.admits(), 1u);
  x.started();
  EXPECT_EQ(x.admits(), 0u);
  EXPECT_FALSE(x.finished(true, start + 3s));
  EXPECT_EQ(x.admits(), 0u) << "one has succeeded, one runs";
}

TEST(CircuitBreaker, ClosesWhenAllProbesSucceed) {
  auto x = half_open_breaker(3);
  for (int i = 0; i < 2; ++i) {
    x.started();
    EXPECT_FALSE(x.finished(true, start + 3s));
  }
  x.started();
  expect(x.finished(true, start + 3s), breaker_state::half_open, breaker_state::closed);
  EXPECT_EQ(x.admits(), unlimited);
  EXPECT_EQ(x.reason(), "");
}

TEST(CircuitBreaker, AFailedProbeOpensItForItsTimeAgain) {
  auto x = half_open_breaker(2);
  x.started();
  x.started();
  EXPECT_FALSE(x.finished(true, start + 5s));
  expect(x.finished(false, start + 5s), breaker_state::half_open, breaker_state::open);
  EXPECT_EQ(x.reason(), "a probe job failed");
  EXPECT_EQ(x.admits(), 0u);
  EXPECT_FALSE(x.tick(start + 6s));
  expect(x.tick(start + 7s), breaker_state::open, breaker_state::half_open);
  EXPECT_EQ(x.admits(), 2u) << "the successes of before do not count";
}

TEST(CircuitBreaker, ATriggerInHalfOpenOpensIt) {
  auto x = half_open_breaker(2);
  x.started();
  expect(x.raise(trigger::restart_intensity, "6 in 10 s", start + 3s), breaker_state::half_open,
         breaker_state::open);
  EXPECT_FALSE(x.finished(true, start + 3s)) << "its probe comes too late";
  EXPECT_EQ(x.state(), breaker_state::open);
}

TEST(CircuitBreaker, AJobFromBeforeIsNoProbe) {
  auto x = half_open_breaker(1);
  EXPECT_FALSE(x.finished(false, start + 3s));
  EXPECT_FALSE(x.finished(true, start + 3s));
  EXPECT_EQ(x.state(), breaker_state::half_open);
  EXPECT_EQ(x.admits(), 1u);
}

TEST(CircuitBreaker, NamesAreStable) {
  EXPECT_EQ(to_string(breaker_state::closed), "closed");
  EXPECT_EQ(to_string(breaker_state::open), "open");
  EXPECT_EQ(to_string(breaker_state::half_open), "half_open");
  EXPECT_EQ(to_string(trigger::memory), "memory");
  EXPECT_EQ(to_string(trigger::restart_intensity), "restart_intensity");
  EXPECT_EQ(to_string(trigger::publisher), "publisher");
  EXPECT_EQ(to_string(trigger::fork_server), "fork_server");
}
