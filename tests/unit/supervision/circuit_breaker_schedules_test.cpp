// The circuit breaker in any schedule.

#include "supervision/circuit_breaker.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <random>
#include <set>
#include <vector>

using namespace std::chrono_literals;
using namespace ziyu::supervision;
using trigger = circuit_breaker::trigger;

namespace {

constexpr auto unlimited = std::numeric_limits<uint32_t>::max();

/// Random steps of a breaker against a model that knows only what is promised: which states may
/// follow which, what is admitted, that the breaker ends open states by itself, and that only its
/// own probes close it.
class random_schedule {
public:
  explicit random_schedule(uint32_t seed)
    : random_(seed), settings_(settings_of(random_)), breaker_(settings_) {}

  void step() {
    now_ += std::chrono::milliseconds{random_() % 1'500};
    const auto which = static_cast<trigger>(random_() % 4);
    switch (random_() % 10) {
    case 0: return raise(which);
    case 1:
    case 2: return lower(which);
    case 3:
      if (random_() % 4 == 0)
        set_mode(static_cast<breaker_mode>(random_() % 3));
      return;
    case 4:
    case 5:
    case 6: return begin_one();
    case 7:
    case 8: return finish_one();
    default: check(breaker_.tick(now_));
    }
  }

  /// With all calm and all jobs done, the breaker must close again within bounded time.
  void calm_down() {
    for (auto which : std::set<trigger>{raised_})
      lower(which);
    set_mode(breaker_mode::automatic);
    for (const auto& of : running_) {
      ++successes_[of.trial];
      check(breaker_.finished(of, true, now_));
    }
    for (int i = 0; i < 40 && breaker_.state() != breaker_state::closed; ++i) {
      now_ += 1s;
      breaker_.tick(now_);
      while (breaker_.state() == breaker_state::half_open && breaker_.admits() > 0)
        breaker_.finished(breaker_.started(), true, now_);
    }
    ASSERT_EQ(breaker_.state(), breaker_state::closed) << breaker_.reason();
  }

private:
  static circuit_breaker::settings settings_of(std::mt19937& random) {
    circuit_breaker::settings x;
    x.open_at = 0.8;
    x.close_below = 0.7;
    x.open_for = 2s;
    x.open_max = 10s;
    x.probe_jobs = 1 + random() % 3;
    x.error_rate = 0.5;
    x.settle = std::chrono::seconds{random() % 3};
    x.error_min_jobs = 3;
    x.error_window = 5s;
    return x;
  }

  void raise(trigger which) {
    raised_.insert(which);
    check(breaker_.raise(which, "so it is", now_));
  }
  void lower(trigger which) {
    raised_.erase(which);
    check(breaker_.lower(which, now_));
  }
  void set_mode(breaker_mode mode) {
    asked_ = true;
    check(breaker_.set_mode(mode, "", now_));
    asked_ = false;
  }

  void begin_one() {
    if (breaker_.admits() == 0)
      return;
    running_.push_back(breaker_.started());
    if (running_.back().trial != 0)
      trial_ = running_.back().trial;
  }

  void finish_one() {
    if (running_.empty())
      return;
    const auto at = running_.begin() + static_cast<long>(random_() % running_.size());
    const auto of = *at;
    running_.erase(at);
    if (random_() % 8 == 0)
      return breaker_.not_begun(of);
    const auto success = random_() % 3 != 0;
    const auto before = breaker_.state();
    if (success && of.trial != 0)
      ++successes_[of.trial];
    const auto t = breaker_.finished(of, success, now_);
    ASSERT_FALSE(of.trial == 0 && before == breaker_state::half_open && t)
      << "a job from before decided";
    check(t);
  }

  void check(const std::optional<circuit_breaker::transition>& t) {
    if (t)
      check_transition(*t);
    const auto state = breaker_.state();
    const auto holds = breaker_.holds();
    const auto admits = breaker_.admits();
    ASSERT_EQ(holds, state == breaker_state::open || state == breaker_state::forced_open);
    ASSERT_EQ(admits == 0u || state == breaker_state::half_open,
              holds || state == breaker_state::half_open);
    ASSERT_TRUE(admits <= settings_.probe_jobs || admits == unlimited);
    ASSERT_EQ(breaker_.reason().empty(), state == breaker_state::closed);
    ASSERT_TRUE(state != breaker_state::closed || raised_.empty()) << breaker_.reason();
  }

  void check_transition(const circuit_breaker::transition& t) {
    ASSERT_NE(t.from, t.to);
    ASSERT_EQ(t.to, breaker_.state());
    if (t.to == breaker_state::half_open) {
      ASSERT_TRUE(raised_.empty());
      trial_ = 0;
    }
    if (t.to == breaker_state::closed && t.cause == "probes") {
      ASSERT_EQ(t.from, breaker_state::half_open);
      ASSERT_EQ(successes_[trial_], settings_.probe_jobs);
    }
    if (t.from == breaker_state::forced_open || t.from == breaker_state::disabled
        || t.to == breaker_state::forced_open || t.to == breaker_state::disabled) {
      ASSERT_TRUE(asked_) << "only an operator begins or ends these";
    }
  }

  std::mt19937 random_;
  const circuit_breaker::settings settings_;
  circuit_breaker breaker_;
  circuit_breaker::clock::time_point now_{1000h};
  std::set<trigger> raised_;
  std::vector<circuit_breaker::ticket> running_;
  std::map<uint64_t, uint32_t> successes_; // of each trial
  uint64_t trial_ = 0;                     // the present one, 0: none
  bool asked_ = false;                     // an operator, just now
};

} // namespace

TEST(CircuitBreakerProperty, NoScheduleStrandsItOrClosesItWithoutItsProbes) {
  for (uint32_t seed = 0; seed < 3'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_schedule x{seed};
    for (int step = 0; step < 150; ++step) {
      x.step();
      if (HasFatalFailure())
        return;
    }
    x.calm_down();
    if (HasFatalFailure())
      return;
  }
}
