#include "supervision/leak_judge.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace ziyu::supervision {

namespace {

/// Private memory is judged by the lows of blocks of so many jobs: few for fast growth, many for
/// growth that is small beside the ups and downs of single jobs.
constexpr uint64_t short_block = 2, long_block = 8, longest_block = 32;

/// A cache that takes in fewer than half of the new kinds has about so few entries, or fills ever
/// more slowly.
constexpr double coarse_entries = 24;

/// A cache is a late one if it begins to fill after so many new kinds left nothing.
constexpr uint64_t late_after = 32;

/// The budget to assume where none is set.
constexpr uint64_t default_budget = 256u << 20;

/// Smaller steps of private memory come from the allocator.
constexpr uint64_t private_grain = 64 * 1024;

/// An allocator that settles takes no more than this in a step, on average: a multiple of it is
/// rarer by as much (Markov's inequality), within reason.
constexpr double usual_step = 2 << 20, least_share_of_steps = 1. / 8;

/// For so many jobs a worker copies pages that it shared with its fork server, with each job some
/// of those that are left: growth of private memory that must be expected. After the first few
/// jobs too little is left for steps that would fill the budget within so many jobs.
constexpr uint64_t copying_jobs = 32, copying_much_jobs = 8, jobs_of_fast_growth = 64;

/// So many jobs run one by one after growth: a batch does not tell which of its jobs left
/// something.
constexpr uint64_t lone_jobs = 8;

/// Fewer events are never called a leak, whatever the evidence.
constexpr uint64_t least_events = 3;

/// So many of the latest new kinds tell whether there is a cache.
constexpr uint64_t novel_window = 8;

/// A budget has room for at least so many cache entries: larger growth per job is not a cache.
constexpr uint64_t least_cache_entries = 64;

/// Share of the room below the budget that a cache of few large entries takes at most.
constexpr double few_entries_share = 1. / 3;
/// Share that a cache with more than `cache_entries` small entries takes at most, unless it has
/// fewer than this many times as many.
constexpr double many_entries_share = 1. / 8;
constexpr uint64_t most_times_entries = 4;

/// A cache may hold this much more for other inputs than for an earlier worker's.
constexpr double learnt_margin = 1.25;

/// A claim (a leak, or hoarding) costs a worker its place. In a service of many workers that
/// are replaced for months a million lives go by: of them no healthy one is to meet with a
/// false claim, whatever `confidence` grants to growth that is only reported.
constexpr double false_claims_per_life = 1e-6;

/// The evidence for `suspected`, which is worth a closer look (heap-profile sampling).
constexpr double suspicious = 10;

/// The greatest probability of an event in health at job `n` of a worker. It covers its warm-up,
/// and is also the record probability of any stationary counter, up to the factor. It is never so
/// small that one event could convince.
double healthy_chance(uint64_t n) { return std::clamp(2. / static_cast<double>(n), 1e-3, 1.); }

/// The greatest probability of an event in health at the third, fourth and fifth input of one kind:
/// memory kept per kind is complete after a few inputs.
constexpr double chance_by_visit[] = {1, 1, 0.2, 0.04, 0.008};

/// As `healthy_chance`, for the lows of private memory in the `n`th block of jobs: arenas settle
/// more slowly than counters.
double settling_chance(uint64_t n) {
  return std::min(1., 2 / std::pow(static_cast<double>(n), 0.6));
}

uint64_t assumed_budget(const leak_judge::settings& x) {
  return x.budget_bytes > 0 ? x.budget_bytes : default_budget;
}

uint64_t kind_of(const job_input& x) {
  return (x.decoded_bytes * 0x9e3779b97f4a7c15) ^ uint64_t { x.ok };
}

/// Batches of one size are of one kind, too.
uint64_t kind_of_batch(size_t jobs) { return ~(uint64_t{jobs} * 0x9e3779b97f4a7c15); }

/// Bad inputs are one stratum; the others are divided by the octave of their size.
size_t stratum_of(const job_input& x) {
  if (!x.ok)
    return 0;
  const auto octave = static_cast<int>(std::bit_width(x.decoded_bytes));
  return static_cast<size_t>(std::clamp(octave - 12, 1, static_cast<int>(growth_test::strata) - 1));
}

uint64_t excess(uint64_t total, uint64_t used, uint64_t used_at_first) {
  // Growth of live bytes since the first job is not hoarding.
  const auto live = used > used_at_first ? used - used_at_first : 0;
  return total > live ? total - live : 0;
}

} // namespace

leak_judge::leak_judge(settings x)
  : settings_(x), z_(normal_quantile(std::clamp(x.confidence, 0.5, 0.99))),
    // Sizes are in octaves: a shift is half an octave or more for some time.
    size_shift_(32, 0.75, 12, 0.5), channels_{
                                      {{&point::live, 1, true, false, 1. / 2},
                                       {&point::gpu, 1, true, true, 1. / 5},
                                       {&point::owned, short_block, false, false, 1. / 10},
                                       {&point::owned, long_block, false, false, 1. / 20},
                                       {&point::owned, longest_block, false, false, 1. / 20},
                                       {&point::reserved, short_block, false, true, 1. / 10}}} {
  window_.reserve(settings_.window_jobs);
  lone_until_ = settings_.warmup_jobs + settings_.min_jobs;
}

leak_judge::verdict leak_judge::observe(const job_memory& x) {
  axis_.add(1 + x.others.size());
  if (readings() == 1) {
    first_live_ = x.live;
    first_gpu_ = x.gpu_allocated;
    first_private_ = x.private_bytes;
  }
  const auto [chance, alike, largest, stratum] = expect(x);
  const auto rise = channels_[0].test.observe({x.live, chance, alike, stratum, 1, true})
                    + channels_[1].test.observe({x.gpu_allocated, chance, alike, stratum, 1, true});
  note_caches(rise);
  if (rise > 0)
    lone_until_ = std::max(lone_until_, readings() + lone_jobs);
  if (x.decoded_bytes > 0 && size_shift_.observe(std::log2(static_cast<double>(x.decoded_bytes)))) {
    ++last_.workload_shifts;
    fresh_jobs_ = 16; // the arenas settle anew
    for (auto& c : cache_)
      c = {}; // the growth with earlier kinds says nothing about these
  }
  judge_private(x, largest);
  remember(x, rise > 0);
  judge(x);
  return last_;
}

leak_judge::expectation leak_judge::expect(const job_memory& x) {
  const auto judged = readings() > settings_.warmup_jobs;
  expectation sum;
  // Memory kept per kind of input may be the same amount for each kind.
  sum.alike = !judged;
  auto allowed_for_all = 0.;
  uint64_t decoded = 0;
  visitors_.clear();
  const auto look = [&](uint64_t kind, size_t stratum) {
    const auto visit = census_.visit(kind);
    if (!judged || visit > cache_.size())
      return;
    const auto allowed = excuse_of(visit, stratum);
    allowed_for_all += allowed.chance;
    sum.alike = sum.alike || (visit <= cached_visits && allowed.bytes);
    visitors_.push_back({visit, stratum, allowed.chance});
  };
  const auto look_at = [&](const job_input& in) {
    const auto stratum = stratum_of(in);
    look(kind_of(in), stratum);
    if (in.decoded_bytes >= decoded) {
      decoded = in.decoded_bytes;
      sum.stratum = stratum;
    }
    // Memory that no earlier input needed may stay: buffers are as large as the largest input.
    sum.largest = sum.largest || in.decoded_bytes > largest_decoded_
                  || in.encoded_bytes > largest_encoded_;
    largest_decoded_ = std::max(largest_decoded_, in.decoded_bytes);
    largest_encoded_ = std::max(largest_encoded_, in.encoded_bytes);
  };
  look_at(x);
  for (const auto& in : x.others)
    look_at(in);
  if (!x.others.empty())
    look(kind_of_batch(x.others.size()), sum.stratum);
  sum.largest = sum.largest || x.others.size() > largest_batch_;
  largest_batch_ = std::max(largest_batch_, x.others.size());
  // What may be expected of any of them may be expected of all together (Boole's inequality).
  sum.chance = sum.largest || !judged
                 ? 1
                 : std::max(healthy_chance(readings()), std::min(allowed_for_all, 1.));
  return sum;
}

void leak_judge::note_caches(uint64_t rise) {
  if (visitors_.empty())
    return;
  if (rise == 0) {
    for (const auto& x : visitors_)
      cache_[x.visit - 1].observe(0, x.stratum);
    return;
  }
  // One of them was taken in. Nothing is known of the others.
  const auto& likeliest = *std::max_element(
    visitors_.begin(), visitors_.end(),
    [](const visitor& a, const visitor& b) { return a.chance < b.chance; });
  cache_[likeliest.visit - 1].observe(rise, likeliest.stratum);
  if (likeliest.visit <= cached_visits) {
    novel_bytes_ += rise;
    last_novel_growth_ = readings();
  }
}

void leak_judge::cache::observe(uint64_t rise, size_t stratum) {
  ++jobs;
  ++strata[stratum].jobs;
  grew = static_cast<uint8_t>(grew << 1 | (rise > 0));
  if (rise == 0) {
    ++silent;
    return;
  }
  ++growths;
  ++strata[stratum].growths;
  if (silent >= late_after) {
    late = true;
    late_bytes = 0;
  }
  silent = 0;
  late_bytes += rise;
}

leak_judge::excuse leak_judge::excuse_of(uint32_t visit, size_t stratum) const {
  const auto& x = cache_[visit - 1];
  const auto growths = static_cast<double>(x.growths), jobs = static_cast<double>(x.jobs);
  const auto usual = chance_by_visit[visit - 1];
  // If such inputs left nothing so far, an input that does is the first of so many.
  if (visit > cached_visits)
    return {std::min(usual, 2 * (growths + 1) / (jobs + 2)), false};
  if (x.jobs == 0)
    return {};
  const auto budget = static_cast<double>(assumed_budget(settings_));
  const auto fading = [](double load) { return std::pow(std::max(load, 1.), -4); };
  // A cache may take each new kind in, but every cache has a bound.
  const auto keyed = wilson(x.growths, x.jobs, 3).upper >= 0.5;
  const auto load = std::max(static_cast<double>(novel_bytes_) / (budget / (keyed ? 6 : 12)),
                             x.late ? static_cast<double>(x.late_bytes) / (budget / 64) : 0);
  auto chance = fading(growths / settings_.cache_entries);
  // A cache that takes in few of the new kinds has a coarser key. Fewer and fewer new values of
  // such a key remain, so that growth becomes rarer than it was on average.
  if (!keyed) {
    const auto& s = x.strata[stratum];
    const auto average = std::max(growths / jobs, (s.growths + 1.) / (s.jobs + 1.));
    chance = std::min(chance, std::max(fading(growths / coarse_entries), average));
  }
  // Where the latest new kinds left nothing, there is no such cache. A cache that begins to fill
  // has its excuse again within four kinds.
  if (x.jobs >= novel_window)
    chance = std::min(chance, (std::popcount(x.grew) + 1.) / 5);
  return {std::min(chance, fading(load)), load <= 1};
}

void leak_judge::judge_private(const job_memory& x, bool largest) {
  const auto owned = excess(x.private_bytes, x.live, first_live_);
  const auto reserved = excess(x.gpu_reserved, x.gpu_allocated, first_gpu_);
  const auto young = std::max<uint64_t>(settings_.warmup_jobs, copying_much_jobs);
  const auto expected = readings() <= young || largest || fresh_jobs_ > 0;
  fresh_jobs_ -= fresh_jobs_ > 0;
  const auto input = largest ? largest_decoded_ + largest_encoded_ : 0;
  owned_reserve_.observe(owned, input);
  gpu_reserve_.observe(reserved, input);
  for (auto& c : channels_)
    if (!c.leak)
      add_to_block(c, c.gpu ? reserved : owned, expected);
}

void leak_judge::reserve::observe(uint64_t value, uint64_t input) {
  if (first == 0)
    first = highest = value;
  if (input > 0)
    // No input needs more than twice its size; hoarding may grow at the same time.
    taken = std::min(taken + value - std::min(value, highest), 2 * input);
  highest = std::max(highest, value);
}

bool leak_judge::beyond_reserve(const channel& x) const {
  return x.level > (x.gpu ? gpu_reserve_ : owned_reserve_).ceiling();
}

void leak_judge::add_to_block(channel& x, uint64_t value, bool expected) {
  const auto first = (readings() - 1) % x.scale == 0;
  x.low = first ? value : std::min(x.low, value);
  x.expected = (!first && x.expected) || expected;
  if (readings() % x.scale != 0)
    return;
  x.level = x.low;
  growth_test::input block;
  block.value = x.low;
  block.exact = false;
  // The first block after the copying has the smaller steps of all blocks before it. (A GPU's
  // memory is not copied, but takes steps of tens of megabytes.)
  const auto copies = readings() <= copying_jobs;
  x.expected = x.expected || (copies ? x.gpu : readings() <= copying_jobs + x.scale);
  block.least = copies ? x.scale * assumed_budget(settings_) / jobs_of_fast_growth : private_grain;
  block.chance = x.expected ? 1 : settling_chance(x.test.jobs() + 1);
  if (!x.expected && !x.gpu)
    block.chance *= std::clamp(usual_step / static_cast<double>(block.least + x.test.noise()),
                               least_share_of_steps, 1.);
  x.test.observe(block);
}

void leak_judge::remember(const job_memory& x, bool grew) {
  const point p{static_cast<double>(axis_.jobs()),
                static_cast<double>(x.live),
                static_cast<double>(x.private_bytes),
                static_cast<double>(x.gpu_allocated),
                static_cast<double>(x.gpu_reserved),
                x.decoded_bytes,
                x.ok,
                grew,
                x.others.empty()};
  if (window_.size() < settings_.window_jobs)
    window_.push_back(p);
  else
    window_[(readings() - 1) % settings_.window_jobs] = p;
}

double leak_judge::needed_to_claim(const channel& x) const {
  // The counters share each life's part of the doubt.
  const auto doubt = (1 - settings_.confidence) / std::max(1u, settings_.workers);
  return 1 / (x.doubt * std::clamp(doubt, 1e-12, false_claims_per_life));
}

double leak_judge::threshold(const channel& x) const {
  // Growth of private memory is the claim itself. Its size adds nothing: an allocator that
  // settles in more steps has also grown by more.
  if (!x.leak)
    return needed_to_claim(x);
  // Finite growth of live bytes rarely takes much of the budget, so its mere size counts, too.
  const auto rare = static_cast<double>(settings_.budget_bytes) / 256;
  const auto size = rare > 0 ? std::clamp(rare / std::max<double>(1, x.run.grown), 0.01, 1.) : 1;
  // Bonferroni over the workers; the counters share each worker's part.
  return std::max(1u, settings_.workers) / (x.doubt * std::max(1 - settings_.confidence, 1e-12))
         * size;
}

void leak_judge::fill(double point::*what, uint64_t from) {
  x_.clear();
  y_.clear();
  const auto n = window_.size();
  const auto latest = readings();
  const auto first = std::max<uint64_t>({from, latest - std::min<uint64_t>(latest, n) + 1, 1});
  // The slopes of all pairs take time: every second reading of a long window is enough.
  const auto step = (latest - first) / 40 + 1;
  for (auto reading = first + (latest - first) % step; reading <= latest; reading += step) {
    const auto& p = window_[(reading - 1) % settings_.window_jobs];
    x_.push_back(p.job);
    y_.push_back(p.*what);
  }
}

slope leak_judge::window_slope(double point::*what, uint64_t from) {
  fill(what, from);
  if (x_.size() < 4)
    return {};
  return theil_sen(x_, y_, std::clamp(settings_.confidence, 0.5, 0.99), scratch_);
}

bool leak_judge::keeps_pace(double point::*what, uint64_t from) {
  fill(what, from);
  const auto n = y_.size();
  if (n < 12)
    return false;
  const auto low = [&](size_t begin) {
    return *std::min_element(y_.begin() + static_cast<std::ptrdiff_t>(begin),
                             y_.begin() + static_cast<std::ptrdiff_t>(begin + n / 4));
  };
  const auto first = low(0), middle = low((n - n / 4) / 2), last = low(n - n / 4);
  return last - middle >= 0.75 * (middle - first) && middle > first;
}

void leak_judge::note_end(const channel& x, uint64_t total) {
  if (!x.leak)
    return;
  // Growth that begins right after warm-up began with the worker.
  const auto from = x.onset <= settings_.warmup_jobs + settings_.min_jobs ? 1 : x.onset;
  const auto last = axis_.first_job_of(x.test.last_event());
  last_.ended_jobs = last + 1 - std::min(axis_.first_job_of(from), last);
  last_.ended_bytes = total;
}

bool leak_judge::outgrows_caches(const channel& x, uint64_t total) const {
  if (settings_.model_cache_bytes)
    return total > *settings_.model_cache_bytes;
  const auto grown = static_cast<double>(x.run.grown);
  const auto events = std::max<uint64_t>(x.run.all_events, 1);
  if (static_cast<double>(total) <= learnt_margin * static_cast<double>(learnt_cache_))
    return false;
  const auto budget = assumed_budget(settings_);
  const auto room = static_cast<double>(budget - std::min(budget, first_private_));
  // By jobs, since a cache may take in its entries in groups.
  const auto jobs = jobs_since(x.run.onset);
  if (grown * least_cache_entries > room * static_cast<double>(std::max(events, jobs)))
    return static_cast<double>(x.test.grown_at_its_pace()) > few_entries_share * room;
  return (events > settings_.cache_entries && grown > many_entries_share * room)
         || events > most_times_entries * settings_.cache_entries;
}

void leak_judge::confirm(channel& x, uint64_t least_total) {
  const auto& now = window_[(readings() - 1) % settings_.window_jobs];
  const auto value = static_cast<uint64_t>(x.gpu ? now.gpu : now.live);
  const auto first = x.gpu ? first_gpu_ : first_live_;
  const auto total = value - std::min(value, first);
  auto& test = x.test;
  if (x.confirmed && test.stopped(1 - std::clamp(settings_.confidence, 0.5, 0.9999))) {
    note_end(x, total);
    test.forget(); // a plateau: later growth is another growth
    x.confirmed = x.outgrown = false;
  }
  x.run = test.current();
  x.rate = {};
  if (x.run.events == 0)
    return;
  // The test's values are of readings, or of blocks of them.
  const auto from_reading = std::clamp<uint64_t>((x.run.onset - 1) * x.scale + 1, 1, readings());
  const auto scale = static_cast<double>(x.scale) * static_cast<double>(jobs_since(from_reading))
                     / static_cast<double>(readings() + 1 - from_reading);
  const auto rate = test.rate(z_);
  x.rate = {rate.bytes_per_job / scale, rate.lower / scale, rate.upper / scale};
  const auto effect = static_cast<double>(settings_.min_effect_bytes);
  if (!x.confirmed) {
    x.confirmed = test.evidence() >= threshold(x) && x.run.unexplained >= least_events
                  && x.run.grown >= least_total && x.rate.bytes_per_job >= effect
                  && x.rate.lower * 4 >= effect && (x.leak || beyond_reserve(x))
                  && (x.scale == 1 || keeps_pace(x.what, (x.run.onset - 1) * x.scale + 1));
    x.onset = x.confirmed ? x.run.onset : 0;
  }
  x.outgrown = x.outgrown
               || (x.leak && x.confirmed && test.evidence() >= needed_to_claim(x)
                   && outgrows_caches(x, total));
  const auto from = x.run.onset > 1 ? x.run.onset - 1 : 1; // so that the first rise counts
  if (settings_.foretell && x.confirmed && x.scale == 1
      && x.run.events * 10 >= (readings() - x.run.onset + 1) * 7) {
    // Nearly each job adds to it: the slope is that of a line.
    const auto line = window_slope(x.what, from);
    if (line.bytes_per_job > 0)
      x.rate = line;
  }
}

leak_input leak_judge::input_of(const growth_test::run& run) const {
  // Which lone jobs in the window since the onset were followed by growth, and which were not.
  uint64_t grew = 0, bad_grew = 0, bad = 0, n = 0;
  uint64_t least_grew = UINT64_MAX, most_grew = 0, least_flat = UINT64_MAX, most_flat = 0;
  uint64_t good_flat = 0;
  const auto onset = static_cast<double>(axis_.first_job_of(run.onset));
  for (const auto& p : window_) {
    if (p.job < onset || !p.alone)
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
  // A leak that grows with good inputs may leave out bad ones.
  if (bad_grew == 0 && grew * 10 >= (n - bad) * 9)
    return leak_input::any;
  if (good_flat > 0 && least_grew > most_flat)
    return leak_input::large;
  if (good_flat > 0 && most_grew < least_flat)
    return leak_input::small;
  return leak_input::some;
}

uint64_t leak_judge::jobs_since(uint64_t reading) const {
  const auto from = std::clamp<uint64_t>(reading, 1, readings());
  return axis_.jobs() + 1 - axis_.first_job_of(from);
}

void leak_judge::judge(const job_memory& x) {
  const auto hoard_total = std::max(settings_.hoarding_min_total_bytes,
                                    settings_.budget_bytes / 10);
  const channel* top = &channels_[0];
  for (auto& c : channels_) {
    confirm(c, c.leak ? 0 : hoard_total);
    if (std::pair{c.confirmed, c.test.evidence()} > std::pair{top->confirmed, top->test.evidence()})
      top = &c;
  }
  const auto& [live, gpu, owned, owned_slowly, owned_slowest, reserved] = channels_;
  const auto grows = live.confirmed || gpu.confirmed;
  const auto leaks = live.outgrown || gpu.outgrown;
  const auto hoards = owned.confirmed || owned_slowly.confirmed || owned_slowest.confirmed
                      || reserved.confirmed;
  const auto& hoard = owned.confirmed          ? owned
                      : owned_slowly.confirmed ? owned_slowly
                                               : owned_slowest;
  last_.jobs = axis_.jobs();
  last_.needed = threshold(*top);
  last_.kinds = census_.distinct();
  last_.kinds_expected = census_.expected();
  last_.cached_bytes = novel_bytes_;
  last_.plateau_jobs = jobs_since(std::max<uint64_t>(live.test.last_event(), 1)) - 1;
  last_.live = live.rate;
  last_.gpu = gpu.confirmed || !reserved.confirmed ? gpu.rate : reserved.rate;
  last_.evidence = top->test.evidence();
  last_.on_gpu = top->gpu;
  const auto onset = top->run.events > 0 ? (top->run.onset - 1) * top->scale + 1 : 0;
  last_.onset = axis_.first_job_of(onset);
  last_.growing_jobs = top->run.events;
  last_.grown_bytes = top->run.grown;
  const auto& run = top->run;
  const auto leans = top->test.evidence() >= (top->leak ? suspicious : threshold(*top))
                     && run.unexplained >= 2
                     && top->rate.bytes_per_job >= static_cast<double>(settings_.min_effect_bytes)
                     && (top->leak || (run.grown >= hoard_total && beyond_reserve(*top)));
  const auto novel = last_novel_growth_ > 0 && readings() - last_novel_growth_ < 32;
  last_.kind = leaks && hoards                                           ? growth::mixed
               : leaks                                                   ? growth::leak
               : grows                                                   ? growth::growing
               : hoards                                                  ? growth::hoarding
               : leans                                                   ? growth::suspected
               : novel                                                   ? growth::caching
               : readings() < settings_.warmup_jobs + settings_.min_jobs ? growth::warming_up
                                                                         : growth::healthy;
  last_.input = leak_input::any;
  last_.grown_since_birth = top->gpu ? x.gpu_allocated - std::min(x.gpu_allocated, first_gpu_)
                                     : x.live - std::min(x.live, first_live_);
  if (grows) {
    last_.input = input_of(run);
    if (cache_[0].growths > settings_.cache_entries && last_novel_growth_ == live.test.last_event())
      last_.input = leak_input::new_kinds;
  }
  last_.private_memory = {};
  if (settings_.foretell && is_confirmed(last_.kind)) {
    // The line through the window, or through its part since the onset.
    last_.private_memory = window_slope(&point::owned, onset);
    if (hoards && last_.private_memory.bytes_per_job < hoard.rate.bytes_per_job)
      last_.private_memory = hoard.rate;
  }
  foretell(x);
}

void leak_judge::foretell(const job_memory& x) {
  last_.jobs_left.reset();
  last_.jobs_left_earliest.reset();
  last_.jobs_left_latest.reset();
  if (!settings_.foretell || !is_confirmed(last_.kind))
    return;
  // Growth of live bytes is also growth of pages: the steeper slope counts.
  const auto hoarding_only = last_.kind == growth::hoarding;
  forecast_input in;
  in.used = x.private_bytes;
  in.budget = settings_.budget_bytes;
  in.growth = last_.live;
  if (last_.private_memory.bytes_per_job > in.growth.bytes_per_job)
    in.growth = last_.private_memory;
  in.growth.upper = std::max(last_.live.upper, last_.private_memory.upper);
  // The ups and downs of single jobs around the slope: memory that the allocator has in reserve may
  // be used up first, or be needed once more.
  auto least = window_.front().owned - window_.front().live, highest = least;
  for (const auto& p : window_) {
    least = std::min(least, p.owned - p.live);
    highest = std::max(highest, p.owned - p.live);
  }
  in.reserve = hoarding_only ? 0 : static_cast<uint64_t>(highest - least);
  if (const auto f = forecast_jobs(in)) {
    last_.jobs_left = f->jobs;
    last_.jobs_left_earliest = f->earliest;
    last_.jobs_left_latest = f->latest;
  }
}

} // namespace ziyu::supervision
