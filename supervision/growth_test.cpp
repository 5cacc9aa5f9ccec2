#include "supervision/growth_test.hpp"

#include <algorithm>
#include <cmath>

namespace ziyu::supervision {

namespace {

/// A priori shares of the kinds of leak; the strata share the rest.
constexpr std::array rate_weights{0.40, 0.15, 0.10, 0.10, 0.05};
constexpr double strata_weight = 0.20;

/// The a priori probability that the leak begins with job `n` (from 1). It falls so slowly that
/// late onsets lose little, yet its sum over all n is less than 1.
double compute_onset_weight(uint64_t n) {
  const auto x = static_cast<double>(n) + 1;
  const auto log = std::log(x);
  // Half of it is for early onsets, half for late ones; the second sums to less than 30^-0.15/0.15.
  return 0.5 / (2.11 * x * log * log) + 0.5 * std::pow(x + 29, -1.15) / 4.01;
}

/// The weight of `n` from a table: a worker asks twice after each job, for each of its counters.
double onset_weight(uint64_t n) {
  static const auto first = [] {
    std::array<double, 4096> values{};
    for (size_t i = 1; i < values.size(); ++i)
      values[i] = compute_onset_weight(i);
    return values;
  }();
  return n < first.size() ? first[n] : compute_onset_weight(n);
}

/// The evidence saturates: more would change no decision.
constexpr double most = 1e60;

/// The probability in health that a rise equals one of the last few.
constexpr double repeats_in_health = 1. / 32;

/// Up to so many events may be the beginning of a leak on one job in many.
constexpr uint64_t few_events = 5;
constexpr double rate_of_few = 1. / 32;

/// The highest levels of a wandering counter come in clusters, as its values depend on each other
/// (e.g., the sum over the content of a full cache). This soon after a record, the chance of the
/// next one is at most this.
constexpr uint64_t cluster_jobs = 64;
constexpr double chance_in_cluster = 0.5;

/// A spike may rise in several steps.
constexpr uint64_t spike_jobs = 8;

/// A lower level counts after so many jobs at it.
constexpr uint64_t settled_jobs = 8;

/// With each value this part of the known noise is forgotten, so that one outlier does not hide
/// growth for ever.
constexpr uint64_t noise_memory = 64;

} // namespace

uint64_t growth_test::observe(const input& x) {
  ++jobs_;
  if (jobs_ == 1) {
    level_ = previous_ = before_rise_ = trough_ = x.value;
    return 0;
  }
  if (x.value < previous_) {
    ++falls_;
    // A fall below the level before the latest rise: not the end of a spike, but a decline.
    deep_falls_ += x.value + x.least <= before_rise_;
    since_fall_ = 0;
  } else {
    ++since_fall_;
    if (x.value > previous_) {
      ++rises_;
      before_rise_ = previous_;
    }
  }
  previous_ = x.value;
  // A rise that the very next job took back was a spike, not growth. (Counters that go up and
  // down all the time keep their highest level instead: their events are records, of chance
  // 1/n.)
  if (undoable_ > 0 && undoable_ + 1 == jobs_ && x.value < level_ && quiet()) {
    hypotheses_ = before_event_;
    level_ = level_before_event_;
    trough_ = std::min(trough_, level_);
    last_event_ = last_event_before_;
    --event_count_;
  }
  undoable_ = 0;
  // A settled lower level becomes the level.
  if (x.value + x.least <= level_ && since_fall_ >= settled_jobs && quiet()) {
    level_ = trough_ = x.value;
    noise_ = std::min(noise_, noise_at_trough_); // growth from there was no noise
    forget();
  }
  // Noise above a level that has just risen sets records of its own, in clusters: a rise must
  // pass the noise, or one step of an allocator would count several times.
  const auto grew = x.value >= level_ + x.least + (x.exact ? 0 : noise_);
  if (!x.exact)
    learn_noise(x.value);
  const auto rise = grew ? x.value - level_ : 0;
  if (grew) {
    before_event_ = hypotheses_;
    level_before_event_ = level_;
    last_event_before_ = last_event_;
    undoable_ = jobs_;
  }
  const auto same = !grew || x.alike || !x.exact ? sameness::unknown
                    : seen_of_late(rise)         ? sameness::repeated
                                                 : sameness::other;
  auto in = x;
  if (x.exact)
    in.chance = std::max(in.chance, chance_of_excursion());
  const auto onset = onset_weight(jobs_);
  for (size_t i = 0; i < rates.size(); ++i)
    weigh(hypotheses_[i], rates[i], rate_weights[i] * onset, in, grew, same);
  weigh(hypotheses_[rates.size() + x.stratum], rates[0],
        strata_weight / strata * onset_weight(++stratum_jobs_[x.stratum]), in, grew, same);
  if (grew) {
    steps_[event_count_++ % remembered] = {jobs_, rise};
    last_event_ = jobs_;
    level_ = trough_ = x.value;
  }
  sum_up();
  return rise;
}

void growth_test::learn_noise(uint64_t value) {
  if (value < trough_) {
    trough_ = value;
    noise_at_trough_ = noise_;
  }
  // What came back from a low without passing the level was noise.
  noise_ = std::max(noise_ - noise_ / noise_memory, std::min(value, level_) - trough_);
}

double growth_test::chance_of_excursion() const {
  if (last_event_ == 0)
    return 0;
  const auto since = jobs_ - last_event_;
  if (deep_falls_ > 1 && deep_falls_ * 8 > rises_ && since <= cluster_jobs)
    return chance_in_cluster;
  // Each spike ends with a fall: there are no more spikes than falls.
  return since <= spike_jobs ? static_cast<double>(falls_) / static_cast<double>(jobs_) : 0;
}

bool growth_test::seen_of_late(uint64_t rise) const {
  const auto n = std::min<uint64_t>(event_count_, remembered / 2);
  for (size_t i = 0; i < n; ++i)
    if (latest(i).rise == rise)
      return true;
  return false;
}

void growth_test::weigh(hypothesis& x, double rate, double prior, const input& in, bool grew,
                        sameness rise) {
  if (x.wealth <= 2 * x.priors) {
    // There is no evidence for an earlier onset.
    x.priors = 0;
    x.since = jobs_;
    x.level = level_;
    x.seen = event_count_;
    x.events = x.unexplained = x.compared = x.repeated = 0;
  }
  x.wealth += prior;
  x.priors += prior;
  // Some leaks keep the same amount each time, others never do. The leak's own rises so far tell
  // which kind it is (the estimator of Krichevsky and Trofimov). The first rise has none before it.
  double sizes = 1;
  if (rise != sameness::unknown && x.events > 0) {
    const auto equal = (x.repeated + 0.5) / (x.compared + 1.);
    const auto again = rise == sameness::repeated;
    sizes = again ? equal / repeats_in_health : (1 - equal) / (1 - repeats_in_health);
    ++x.compared;
    x.repeated += again;
  }
  // A leak that is rarer than health's own events cannot be seen here. (Counting *missing* events
  // as evidence for it would be wrong: health may well have fewer.)
  if (rate > in.chance)
    x.wealth *= grew ? rate / in.chance * sizes : (1 - rate) / (1 - in.chance);
  x.wealth = std::min(x.wealth, most);
  x.events += grew;
  x.unexplained += grew && in.chance < 1;
}

void growth_test::sum_up() {
  evidence_ = 0;
  for (const auto& h : hypotheses_)
    evidence_ += h.wealth;
  strongest_ = 0;
  if (event_count_ > 0) // seldom, with most counters
    for (size_t i = 1; i < hypotheses_.size(); ++i)
      if (hypotheses_[i].wealth > hypotheses_[strongest_].wealth)
        strongest_ = i;
}

growth_test::run growth_test::current() const {
  if (event_count_ == 0)
    return {}; // most counters of most workers
  const auto& x = hypotheses_[strongest_];
  if (x.events == 0)
    return {};
  return {x.since, x.events, event_count_ - std::min(event_count_, x.seen), x.unexplained,
          level_ - std::min(level_, x.level)};
}

uint64_t growth_test::grown_at_its_pace() const {
  const auto now = current();
  auto grown = now.grown;
  if (now.all_events == 0)
    return grown;
  const auto usual = now.grown / now.all_events;
  const auto known = std::min<uint64_t>(event_count_, remembered);
  for (auto i = now.all_events; i < known; ++i) {
    const auto& x = latest(i);
    if (x.job + 1 != latest(i - 1).job || x.rise > 2 * usual || x.rise < usual / 2)
      break;
    grown += x.rise;
  }
  return grown;
}

bool growth_test::stopped(double alpha) const {
  const auto n = std::min<uint64_t>(event_count_, remembered);
  if (n == 0)
    return true;
  // The first event opened the series: it tells nothing about the rate.
  const auto span = static_cast<double>(last_event_ - latest(n - 1).job + 1);
  auto rate = std::min(0.98, std::max(static_cast<double>(n) - 1, 0.5) / span);
  if (n < few_events)
    rate = std::min(rate, rate_of_few);
  const auto silent = static_cast<double>(jobs_ - last_event_);
  return silent >= settled_jobs && silent * std::log1p(-rate) < std::log(alpha);
}

void growth_test::forget() {
  hypotheses_ = before_event_ = {};
  event_count_ = 0;
  strongest_ = 0;
  undoable_ = 0;
  evidence_ = 0;
}

slope growth_test::rate(double z) const {
  const auto n = std::min({event_count_, uint64_t{remembered}, current().events});
  if (n < 2)
    return {};
  std::array<double, remembered> rises{};
  double sum = 0;
  for (size_t i = 0; i + 1 < n; ++i) {
    rises[i] = static_cast<double>(latest(i).rise);
    sum += rises[i];
  }
  std::sort(rises.begin(), rises.begin() + static_cast<std::ptrdiff_t>(n) - 1);
  const auto jobs = jobs_ - latest(n - 1).job;
  const auto often = wilson(n - 1, jobs, z);
  const auto likely = sum / static_cast<double>(jobs);
  const auto quarter = (n - 1) / 4;
  return {likely, std::min(likely, often.lower * rises[quarter]),
          std::max(likely, often.upper * rises[n - 2 - quarter])};
}

} // namespace ziyu::supervision
