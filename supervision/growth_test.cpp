#include "supervision/growth_test.hpp"

#include <algorithm>
#include <cmath>

namespace ziyu::supervision {

namespace {

/// A priori shares of the kinds of leak; the strata share the rest.
constexpr std::array rate_weights{0.40, 0.15, 0.10, 0.10, 0.05};
constexpr double strata_weight = 0.20;

/// The a priori probability that the leak begins with job `n` (from 1): falls so
/// slowly that late onsets lose little, yet sums to less than 1 over all n.
double onset_weight(uint64_t n) {
  const auto x = static_cast<double>(n) + 1;
  const auto log = std::log(x);
  return 1 / (2.11 * x * log * log);
}

/// The evidence saturates: more would change no decision.
constexpr double most = 1e60;

// How probable it is that a rise equals one of the last few: in a leak that keeps
// the same thing each time, and in health.
constexpr double repeats_in_leak = 0.5, repeats_in_health = 0.125;

} // namespace

uint64_t growth_test::observe(const input& x) {
  ++jobs_;
  if (jobs_ == 1) {
    level_ = previous_ = x.value;
    return 0;
  }
  if (x.value < previous_) {
    ++falls_;
    since_fall_ = 0;
  } else {
    ++since_fall_;
  }
  // A rise that the very next job took back was a spike, not growth. (Counters that
  // go up and down all the time keep their highest level instead: their events are
  // records, of chance 1/n.)
  if (event_job_ + 1 == jobs_ && event_job_ > 0 && x.value < level_ && quiet()) {
    wealth_ = before_event_;
    run_ = run_before_event_;
    rises_ = rises_before_event_;
    level_ = level_before_event_;
  }
  // A lower level that has settled is the new one.
  if (x.value + x.least <= level_ && since_fall_ >= 8 && quiet()) {
    level_ = x.value;
    forget();
    ++restarts_;
  }
  const auto event = x.value >= level_ + std::max<uint64_t>(x.least, 1);
  const auto rise = event ? x.value - level_ : 0;
  if (event) {
    before_event_ = wealth_;
    run_before_event_ = run_;
    rises_before_event_ = rises_;
    level_before_event_ = level_;
    event_job_ = jobs_;
  }
  const auto repeat = event && x.exact
                      && std::find(latest_rises_.begin(), latest_rises_.end(), rise)
                           != latest_rises_.end();
  weigh(x, event, repeat);
  if (event) {
    if (run_.events == 0)
      run_.onset = jobs_;
    ++run_.events;
    run_.unexplained += x.chance < 1;
    run_.repeats += repeat;
    run_.grown += rise;
    run_.last_event = jobs_;
    rises_.add(static_cast<double>(rise));
    run_.mean_rise = rises_.mean();
    run_.rise_variance = rises_.variance();
    latest_rises_[next_rise_++ % remembered] = rise;
    level_ = x.value;
  }
  if (run_.events > 0)
    run_.jobs = jobs_ - run_.onset + 1;
  previous_ = x.value;
  evidence_ = sum();
  return rise;
}

void growth_test::weigh(const input& x, bool event, bool repeat) {
  // Second visits may complete what the first began, with the same amounts.
  const auto exact = x.exact && x.visit != 2;
  const auto size_ratio = !exact || !event ? 1
                          : repeat         ? repeats_in_leak / repeats_in_health
                                           : (1 - repeats_in_leak) / (1 - repeats_in_health);
  const auto ratio = [&](double rate) {
    // A leak that is rarer than health's own events shows nothing here. (To count
    // *missing* events for it would be wrong: health may well have fewer.)
    if (rate <= x.chance)
      return 1.;
    return event ? rate / x.chance * size_ratio : (1 - rate) / (1 - x.chance);
  };
  const auto onset = onset_weight(jobs_);
  for (size_t i = 0; i < rates.size(); ++i) {
    auto& w = wealth_.by_rate[i];
    w = std::min((w + rate_weights[i] * onset) * ratio(rates[i]), most);
  }
  auto& w = wealth_.by_stratum[x.stratum];
  const auto here = onset_weight(++stratum_jobs_[x.stratum]);
  w = std::min((w + strata_weight / strata * here) * ratio(rates[0]), most);
}

double growth_test::sum() const {
  double total = 0;
  for (const auto w : wealth_.by_rate)
    total += w;
  for (const auto w : wealth_.by_stratum)
    total += w;
  return total;
}

bool growth_test::stopped(double alpha) const {
  if (run_.events == 0)
    return true;
  const auto busy = static_cast<double>(run_.last_event - run_.onset + 1);
  // The first event opened the run: it tells nothing about the rate.
  const auto rate = std::min(0.98, std::max(static_cast<double>(run_.events) - 1, 0.5) / busy);
  const auto silent = static_cast<double>(jobs_ - run_.last_event);
  return silent >= 8 && silent * std::log1p(-rate) < std::log(alpha);
}

void growth_test::forget() {
  wealth_ = before_event_ = {};
  run_ = run_before_event_ = {};
  rises_ = rises_before_event_ = {};
  event_job_ = 0;
  evidence_ = 0;
}

slope growth_test::rate(double z) const {
  if (run_.events == 0)
    return {};
  const auto per_job = wilson(run_.events, run_.jobs, z);
  const auto spread = z * std::sqrt(run_.rise_variance / static_cast<double>(run_.events));
  return {static_cast<double>(run_.grown) / static_cast<double>(run_.jobs),
          per_job.lower * std::max(0., run_.mean_rise - spread),
          per_job.upper * (run_.mean_rise + spread)};
}

} // namespace ziyu::supervision
