#include "supervision/leak_judge.hpp"

#include "base/bytes.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>

namespace ziyu::supervision {

namespace {

/// Private memory is judged by the lows of so many jobs at a time.
constexpr uint64_t block_jobs = 2;

/// Smaller steps of private memory are the allocator's business.
constexpr uint64_t private_grain = 64 * 1024;

/// A leak is never called by fewer events, whatever the evidence.
constexpr uint64_t least_events = 3;

/// What is suspected: evidence worth a closer look (heap-profile sampling).
constexpr double suspicious = 10;

/// How probable an event is, at most, in health: at job `n` of a worker (its
/// warm-up; also the record probability of any stationary counter, up to the
/// factor) and at the `visit`th input of one kind (what is kept per kind is
/// complete after few). Never so small that one event could convince.
double healthy_chance(uint64_t n, uint32_t visit) {
  constexpr double by_visit[] = {1, 1, 0.75, 0.2, 0.04, 0.008};
  const auto kept = visit < std::size(by_visit) ? by_visit[visit] : 0;
  return std::min(1., std::max({2. / static_cast<double>(n), kept, 1e-3}));
}

uint64_t kind_of(const job_memory& x) {
  return (x.decoded_bytes * 0x9e3779b97f4a7c15) ^ (uint64_t{x.batch} << 1) ^ uint64_t{x.ok};
}

/// Bad inputs are one, others go by the octave of their size.
size_t stratum_of(const job_memory& x) {
  if (!x.ok)
    return 0;
  const auto octave = static_cast<int>(std::bit_width(x.decoded_bytes));
  return static_cast<size_t>(std::clamp(octave - 12, 1, static_cast<int>(growth_test::strata) - 1));
}

uint64_t excess(uint64_t total, uint64_t used, uint64_t used_at_first) {
  // What has become live since the first job is not hoarded.
  const auto live = used > used_at_first ? used - used_at_first : 0;
  return total > live ? total - live : 0;
}

std::string amount(double bytes) { return format_bytes(static_cast<int64_t>(bytes)); }

std::string with_bounds(const slope& x) {
  return amount(x.bytes_per_job) + " per job (" + amount(x.lower) + " to " + amount(x.upper) + ")";
}

} // namespace

std::string_view to_string(growth x) noexcept {
  switch (x) {
  case growth::warming_up: return "warming_up";
  case growth::healthy: return "healthy";
  case growth::caching: return "caching";
  case growth::suspected: return "suspected";
  case growth::leak: return "leak";
  case growth::hoarding: return "hoarding";
  case growth::mixed: return "mixed";
  }
  return "unknown";
}

std::string_view to_string(leak_input x) noexcept {
  switch (x) {
  case leak_input::any: return "any";
  case leak_input::some: return "some";
  case leak_input::bad: return "bad";
  case leak_input::large: return "large";
  case leak_input::small: return "small";
  case leak_input::new_kinds: return "new_kinds";
  }
  return "unknown";
}

leak_judge::leak_judge(settings x)
  : settings_(x), z_(normal_quantile(std::clamp(x.confidence, 0.5, 0.99))),
    // Sizes in octaves: a shift is one of half an octave or more for some time.
    size_shift_(32, 0.75, 12, 0.5) {
  window_.reserve(settings_.window_jobs);
}

leak_judge::verdict leak_judge::observe(job_memory x) {
  ++jobs_;
  if (jobs_ == 1) {
    first_live_ = x.live;
    first_gpu_ = x.gpu_allocated;
  }
  const auto visit = census_.visit(kind_of(x));
  auto chance = jobs_ <= settings_.warmup_jobs ? 1. : healthy_chance(jobs_, visit);
  if (visit == 1 && jobs_ > settings_.warmup_jobs) {
    // A cache may take each new kind in, but no cache is boundless.
    const auto limit = settings_.budget_bytes > 0 ? settings_.budget_bytes / 4 : 64u << 20;
    const auto kinds = static_cast<double>(settings_.cache_entries)
                       / static_cast<double>(std::max<uint64_t>(novel_growth_, 1));
    const auto bytes = static_cast<double>(limit)
                       / static_cast<double>(std::max<uint64_t>(novel_bytes_, 1));
    chance = std::max(healthy_chance(jobs_, 9),
                      std::min({1., kinds * kinds, bytes * bytes}));
  }
  const auto stratum = stratum_of(x);
  const auto rise = live_.observe({x.live, chance, visit, stratum, 1, true});
  const auto gpu_rise = gpu_.observe({x.gpu_allocated, chance, visit, stratum, 1, true});
  if (rise + gpu_rise > 0 && visit == 1 && jobs_ > settings_.warmup_jobs) {
    ++novel_growth_;
    novel_bytes_ += rise + gpu_rise;
    last_novel_growth_ = jobs_;
  }
  if (x.decoded_bytes > 0
      && size_shift_.observe(std::log2(static_cast<double>(x.decoded_bytes)))) {
    ++last_.workload_shifts;
    fresh_blocks_ = 8; // the arenas settle anew
  }
  judge_private(x);
  remember(x, rise + gpu_rise > 0);
  judge(x);
  return last_;
}

void leak_judge::judge_private(const job_memory& x) {
  // What no input before needed may stay with the allocator.
  const auto largest = x.decoded_bytes > largest_decoded_ || x.encoded_bytes > largest_encoded_;
  largest_decoded_ = std::max(largest_decoded_, x.decoded_bytes);
  largest_encoded_ = std::max(largest_encoded_, x.encoded_bytes);
  if (previous_private_ > 0 && x.private_bytes > previous_private_)
    largest_step_ = std::max(x.private_bytes - previous_private_, largest_step_ - largest_step_ / 64);
  else
    largest_step_ -= largest_step_ / 64; // steps of long ago say little
  previous_private_ = x.private_bytes;
  const auto owned = excess(x.private_bytes, x.live, first_live_);
  const auto reserved = excess(x.gpu_reserved, x.gpu_allocated, first_gpu_);
  const auto first = (jobs_ - 1) % block_jobs == 0;
  low_ = first ? owned : std::min(low_, owned);
  low_reserved_ = first ? reserved : std::min(low_reserved_, reserved);
  const auto expected = jobs_ <= settings_.warmup_jobs || largest || fresh_blocks_ > 0;
  block_chance_ = std::max(first ? 0. : block_chance_, expected ? 1. : 0.);
  if (jobs_ % block_jobs != 0)
    return;
  ++blocks_;
  fresh_blocks_ -= fresh_blocks_ > 0;
  growth_test::input block;
  block.chance = std::max(block_chance_, healthy_chance(blocks_, 9));
  block.least = private_grain;
  block.exact = false;
  block.value = low_;
  hoard_.observe(block);
  block.value = low_reserved_;
  gpu_hoard_.observe(block);
}

void leak_judge::remember(const job_memory& x, bool grew) {
  const point p{static_cast<double>(jobs_),
                static_cast<double>(x.live),
                static_cast<double>(x.private_bytes),
                static_cast<double>(x.gpu_allocated),
                static_cast<double>(x.gpu_reserved),
                x.decoded_bytes,
                x.ok,
                grew};
  if (window_.size() < settings_.window_jobs)
    window_.push_back(p);
  else
    window_[(jobs_ - 1) % settings_.window_jobs] = p;
}

double leak_judge::threshold() const {
  // Bonferroni over the workers; the four counters share each one's part.
  return 4. * std::max(1u, settings_.workers) / std::max(1 - settings_.confidence, 1e-12);
}

slope leak_judge::window_slope(double point::*what, uint64_t from) {
  x_.clear();
  y_.clear();
  const auto n = window_.size();
  for (size_t i = 0; i < n; ++i) {
    // Oldest first; the ring's oldest is the one that is overwritten next.
    const auto& p = window_[n < settings_.window_jobs ? i : (jobs_ + i) % n];
    if (p.job >= static_cast<double>(from)) {
      x_.push_back(p.job);
      y_.push_back(p.*what);
    }
  }
  if (x_.size() < 4)
    return {};
  return theil_sen(x_, y_, std::clamp(settings_.confidence, 0.5, 0.99), scratch_);
}

bool leak_judge::confirm(growth_test& test, bool& confirmed, slope& found, double point::*what,
                         uint64_t events, uint64_t least_total) {
  const auto alpha = 1 - std::clamp(settings_.confidence, 0.5, 0.9999);
  const auto& run = test.current();
  const auto scale = &test == &live_ || &test == &gpu_ ? uint64_t{1} : block_jobs;
  if (run.events > 0 && test.stopped(alpha)) {
    test.forget(); // a plateau: whatever comes next is judged by itself
    confirmed = false;
  }
  if (run.events == 0) {
    found = {};
    return false;
  }
  found = test.rate(z_);
  found.bytes_per_job /= static_cast<double>(scale);
  found.lower /= static_cast<double>(scale);
  found.upper /= static_cast<double>(scale);
  const auto worth = test.evidence() >= suspicious || confirmed;
  if (worth && scale == 1 && run.events * 10 >= run.jobs * 7 && run.jobs >= 4) {
    // Nearly each job: the slope is that of a line. One job before the onset, so that
    // the first rise counts.
    const auto line = window_slope(what, run.onset > 1 ? run.onset - 1 : 1);
    if (line.bytes_per_job > 0)
      found = line;
  }
  if (!confirmed)
    confirmed = test.evidence() >= threshold() && run.unexplained >= events
                && run.grown >= least_total
                && found.lower >= static_cast<double>(settings_.min_effect_bytes);
  return confirmed;
}

leak_input leak_judge::input_of(const growth_test::run& run) const {
  // Over the window, where it reaches back to the onset: what grew, what did not.
  uint64_t grew = 0, bad_grew = 0, bad = 0, n = 0;
  uint64_t least_grew = UINT64_MAX, most_grew = 0, least_flat = UINT64_MAX, most_flat = 0;
  uint64_t good_flat = 0;
  for (const auto& p : window_) {
    if (p.job < static_cast<double>(run.onset))
      continue;
    ++n;
    bad += !p.ok;
    grew += p.grew;
    bad_grew += p.grew && !p.ok;
    if (p.grew) {
      least_grew = std::min(least_grew, p.decoded);
      most_grew = std::max(most_grew, p.decoded);
    } else if (p.ok) {
      ++good_flat;
      least_flat = std::min(least_flat, p.decoded);
      most_flat = std::max(most_flat, p.decoded);
    }
  }
  if (n == 0 || grew == 0 || grew * 10 >= n * 9)
    return leak_input::any;
  if (bad_grew == grew)
    return leak_input::bad;
  // A leak that grows with the good ones may well spare the bad ones.
  if (bad_grew == 0 && grew * 10 >= (n - bad) * 9)
    return leak_input::any;
  if (good_flat > 0 && least_grew > most_flat)
    return leak_input::large;
  if (good_flat > 0 && most_grew < least_flat)
    return leak_input::small;
  return leak_input::some;
}

void leak_judge::judge(const job_memory& x) {
  const auto hoard_total = std::max(settings_.hoarding_min_total_bytes,
                                    settings_.budget_bytes / 10);
  confirm(live_, live_leaks_, last_.live, &point::live, least_events, 0);
  slope gpu, hoard, gpu_hoard;
  confirm(gpu_, gpu_leaks_, gpu, &point::gpu, least_events, 0);
  confirm(hoard_, hoards_, hoard, &point::owned, least_events, hoard_total);
  confirm(gpu_hoard_, gpu_hoards_, gpu_hoard, &point::reserved, least_events, hoard_total);
  const auto leaks = live_leaks_ || gpu_leaks_;
  const auto hoards = hoards_ || gpu_hoards_;
  last_.jobs = jobs_;
  last_.needed = threshold();
  last_.kinds = census_.distinct();
  last_.kinds_expected = census_.expected();
  last_.cached_bytes = novel_bytes_;
  last_.plateau_jobs = jobs_ - std::max<uint64_t>(live_.current().last_event, 1);

  struct candidate {
    const growth_test* test;
    bool confirmed, gpu, leak;
    slope rate;
  };
  const candidate all[] = {{&live_, live_leaks_, false, true, last_.live},
                           {&gpu_, gpu_leaks_, true, true, gpu},
                           {&hoard_, hoards_, false, false, hoard},
                           {&gpu_hoard_, gpu_hoards_, true, false, gpu_hoard}};
  const auto* top = &all[0];
  for (const auto& c : all)
    if (std::pair{c.confirmed, c.test->evidence()}
        > std::pair{top->confirmed, top->test->evidence()})
      top = &c;
  const auto& run = top->test->current();
  const auto scale = top->leak ? uint64_t{1} : block_jobs;
  last_.evidence = top->test->evidence();
  last_.on_gpu = top->gpu;
  last_.gpu = gpu_leaks_ || !gpu_hoards_ ? gpu : gpu_hoard;
  last_.onset = run.events > 0 ? (run.onset - 1) * scale + 1 : 0;
  last_.growing_jobs = run.events;
  last_.grown_bytes = run.grown;

  const auto leans = top->test->evidence() >= suspicious && run.unexplained >= 2
                     && top->rate.bytes_per_job >= static_cast<double>(settings_.min_effect_bytes)
                     && (top->leak || run.grown >= hoard_total / 2);
  const auto novel = last_novel_growth_ > 0 && jobs_ - last_novel_growth_ < 32;
  last_.kind = leaks && hoards                                    ? growth::mixed
               : leaks                                            ? growth::leak
               : hoards                                           ? growth::hoarding
               : leans                                            ? growth::suspected
               : novel                                            ? growth::caching
               : jobs_ < settings_.warmup_jobs + settings_.min_jobs ? growth::warming_up
                                                                  : growth::healthy;
  last_.input = leak_input::any;
  if (leaks) {
    last_.input = input_of(run);
    // Growth with new kinds alone is not "any", however often they come.
    if (run.repeats + run.unexplained > 0 && novel_growth_ > settings_.cache_entries
        && last_.input == leak_input::some)
      last_.input = leak_input::new_kinds;
  }
  last_.private_memory = {};
  if (last_.kind >= growth::suspected) {
    // The line through the window; its onset where that lies within.
    last_.private_memory = window_slope(&point::owned, last_.onset);
    if (hoards_ && last_.private_memory.bytes_per_job < hoard.bytes_per_job)
      last_.private_memory = hoard;
  }
  foretell(x);
}

void leak_judge::foretell(const job_memory& x) {
  last_.jobs_left.reset();
  last_.jobs_left_earliest.reset();
  last_.jobs_left_latest.reset();
  if (!is_confirmed(last_.kind))
    return;
  // What grows in the books grows in the pages: the steeper of the two counts.
  forecast_input in;
  in.used = x.private_bytes;
  in.budget = settings_.budget_bytes;
  in.growth = last_.live;
  if (last_.private_memory.bytes_per_job > in.growth.bytes_per_job)
    in.growth = last_.private_memory;
  in.growth.upper = std::max(last_.live.upper, last_.private_memory.upper);
  // Beyond the slope, one more step like the largest of late.
  const auto step = static_cast<double>(largest_step_) - in.growth.bytes_per_job;
  in.reserve = step > 0 ? static_cast<uint64_t>(step) : 0;
  if (const auto f = forecast_jobs(in)) {
    last_.jobs_left = f->jobs;
    last_.jobs_left_earliest = f->earliest;
    last_.jobs_left_latest = f->latest;
  }
}

std::string explain(const leak_judge::verdict& x) {
  const auto text = [](auto number) { return std::to_string(number); };
  const auto since = [&] {
    char odds[32];
    std::snprintf(odds, sizeof odds, "%.1e", x.evidence);
    return " since job " + text(x.onset) + ", " + text(x.growing_jobs)
           + " events, evidence " + odds + ":1";
  };
  switch (x.kind) {
  case growth::warming_up:
    return "warming up: " + text(x.jobs) + " jobs so far";
  case growth::healthy:
    return "flat for " + text(x.plateau_jobs) + " jobs";
  case growth::caching:
    return "grew by " + amount(static_cast<double>(x.cached_bytes)) + " with inputs of new kinds only: "
           + text(x.kinds) + " kinds seen, about " + text(static_cast<uint64_t>(x.kinds_expected))
           + " expected";
  case growth::suspected:
    return "may grow: " + amount(static_cast<double>(x.grown_bytes)) + since();
  case growth::hoarding:
    return std::string{x.on_gpu ? "the GPU's cache" : "private memory"} + " grows by "
           + with_bounds(x.on_gpu ? x.gpu : x.private_memory) + " while live bytes do not,"
           + since();
  case growth::leak:
  case growth::mixed: {
    std::string with;
    switch (x.input) {
    case leak_input::any: break;
    case leak_input::some: with = ", with some inputs"; break;
    case leak_input::bad: with = ", only with bad inputs"; break;
    case leak_input::large: with = ", only with large images"; break;
    case leak_input::small: with = ", only with small images"; break;
    case leak_input::new_kinds: with = ", with each new size of image, without a bound"; break;
    }
    const auto gpu = x.on_gpu && x.live.bytes_per_job <= 0;
    auto line = std::string{gpu ? "GPU memory" : "live bytes"} + " grow by "
                + with_bounds(gpu ? x.gpu : x.live) + with + since();
    if (x.kind == growth::mixed)
      line += "; beyond that private memory grows, "
              + with_bounds(x.private_memory) + " in all";
    return line;
  }
  }
  return "unknown";
}

} // namespace ziyu::supervision
