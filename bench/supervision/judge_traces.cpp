#include "judge_traces.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <optional>
#include <random>

namespace ziyu::bench {

namespace {

constexpr double kib = 1024, mib = 1024 * 1024;
constexpr uint64_t page = 4096;

class dice {
public:
  explicit dice(uint64_t seed) : engine_(seed) {}
  double uniform(double a, double b) { return std::uniform_real_distribution{a, b}(engine_); }
  /// Log-uniform: each order of magnitude equally often.
  double spread(double a, double b) { return std::exp(uniform(std::log(a), std::log(b))); }
  uint64_t whole(uint64_t a, uint64_t b) { return std::uniform_int_distribution{a, b}(engine_); }
  bool happens(double p) { return uniform(0, 1) < p; }
  double lognormal(double s) { return std::exp(std::normal_distribution{0., s}(engine_)); }
  double exponential(double mean) { return std::exponential_distribution{1 / mean}(engine_); }

private:
  std::mt19937_64 engine_;
};

uint64_t bytes(double x) { return x <= 0 ? 0 : static_cast<uint64_t>(x); }

/// Rounded up to the allocator's size classes (four per doubling), as exact counters show it.
double size_class(double x) {
  if (x <= 16)
    return 16;
  const auto octave = std::exp2(std::floor(std::log2(x)));
  return std::ceil(x / (octave / 4)) * (octave / 4);
}

/// The incoming images.
class stream {
public:
  stream(dice& d, bool varied) : dice_(d) {
    const auto which = d.uniform(0, 1);
    catalogue_ = which < (varied ? 0. : .25) ? 1
                 : which < .60               ? d.whole(3, 12)
                 : which < .90               ? d.whole(30, 300)
                                             : 0;
    zipf_ = d.happens(0.6);
    for (uint64_t i = 0; i < catalogue_; ++i)
      sizes_.push_back(size());
    bad_share_ = d.happens(0.5) ? 0 : d.spread(0.005, 0.1);
    if (d.happens(0.3))
      batches_ = {1, 2, 4, 8};
  }

  supervision::job_memory next() {
    supervision::job_memory x;
    const auto batch = batches_[dice_.whole(0, batches_.size() - 1)];
    const auto decoded = pick();
    x.encoded_bytes = bytes(decoded / dice_.uniform(8, 30)) + 200;
    if (dice_.happens(bad_share_))
      x.ok = false;
    else
      x.decoded_bytes = bytes(decoded);
    x.others.assign(batch - 1, x);
    return x;
  }

  void need_bad(double share) { bad_share_ = std::max(bad_share_, share); }
  /// As with other cameras: all sizes change.
  void shift(double factor) {
    scale_ *= factor;
    for (auto& x : sizes_)
      x = 3 * std::floor(std::min(x * factor / 3, 12e6));
  }
  double large() const {
    if (catalogue_ == 0)
      return 3 * 2e6 * scale_;
    auto sorted = sizes_;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() * 6 / 10];
  }

private:
  double size() {
    const auto pixels = std::clamp(1.2e6 * dice_.lognormal(1.1) * scale_, 1., 12e6);
    return 3 * std::floor(pixels);
  }
  double pick() {
    if (catalogue_ == 0)
      return size();
    if (!zipf_)
      return sizes_[dice_.whole(0, catalogue_ - 1)];
    const auto rank = std::exp(dice_.uniform(0, std::log(static_cast<double>(catalogue_) + 1))) - 1;
    return sizes_[std::min<size_t>(static_cast<size_t>(rank), catalogue_ - 1)];
  }

  dice& dice_;
  uint64_t catalogue_ = 0;
  bool zipf_ = false;
  double scale_ = 1, bad_share_ = 0;
  std::vector<double> sizes_;
  std::vector<uint32_t> batches_{1};
};

/// A cache of the latest inputs of any kind: it grows until it is full.
class latest_inputs {
public:
  /// At most `most` bytes in `entries`, none larger than `largest`.
  latest_inputs(dice& d, uint64_t entries, double most, double largest)
    : dice_(d), entries_(entries),
      entry_(d.spread(1 * kib, std::min(largest, most / 1.5 / static_cast<double>(entries)))) {
    varies_ = d.happens(0.3);
    // Keeps one input in `every_`, in groups; a full cache drops one, or half.
    every_ = d.happens(0.6) ? 1 : d.whole(2, 8);
    group_ = d.happens(0.7) ? 1 : d.whole(2, 32);
    drops_ = d.happens(0.7) ? 1 : entries / 2;
  }

  /// How much larger the next input makes it.
  double next() {
    if (dice_.whole(1, every_) > 1 || ++waiting_ < group_)
      return 0;
    double change = 0;
    for (; waiting_ > 0; --waiting_) {
      held_.push_back(size_class(varies_ ? entry_ * dice_.uniform(0.5, 1.5) : entry_));
      change += held_.back();
    }
    if (held_.size() > entries_)
      for (auto left = std::max<uint64_t>(drops_, held_.size() - entries_); left > 0; --left) {
        change -= held_.front();
        held_.pop_front();
      }
    return change;
  }

private:
  dice& dice_;
  uint64_t entries_, every_ = 1, group_ = 1, drops_ = 1, waiting_ = 0;
  double entry_;
  bool varies_ = false;
  std::deque<double> held_;
};

/// The memory that a healthy worker keeps: parts that are switched on at random.
class keeper {
public:
  keeper(dice& d, const std::string& kind) : dice_(d) {
    const auto is = [&](const char* name) { return kind == name; };
    warm_steps_ = is("warm_up") ? d.whole(2, 8) : d.whole(0, 2);
    warm_within_ = is("warm_up") ? d.whole(warm_steps_ + 1, 16) : 3;
    warm_size_ = d.spread(200, 4 * mib);
    if (is("spikes"))
      spike_share_ = d.spread(0.003, 0.1);
    if (is("shape_cache"))
      entry_ = size_class(d.spread(300, 24 * kib)), entry_varies_ = d.happens(0.5);
    if (is("two_stage_cache"))
      entry_ = size_class(d.spread(300, 12 * kib)), stages_ = 2;
    full_ = d.whole(16, 1024); // like oneDNN's primitive cache
    high_water_ = is("high_water");
    last_image_ = is("last_image");
    if (is("step_then_flat"))
      for (uint64_t i = d.whole(1, 3); i > 0; --i)
        steps_[d.whole(10, 500)] = d.spread(1 * kib, 20 * mib);
    if (is("plateau")) { // a structure that fills more and more slowly
      fill_ = d.spread(64 * kib, 8 * mib);
      fill_share_ = d.uniform(0.1, 0.5);
    }
    if (is("evicting_cache"))
      entry_ = size_class(d.spread(1 * kib, 256 * kib)), capacity_ = d.whole(4, 64),
      entry_varies_ = d.happens(0.5);
    if (is("coarse_cache")) { // its keys are sizes rounded up, as with padded shapes
      entry_ = size_class(d.spread(300, 64 * kib)), entry_varies_ = d.happens(0.5);
      coarse_ = d.spread(2, 24);
    }
    if (is("short_history"))
      history_ = d.whole(2, 4), history_entry_ = size_class(d.spread(64, 2 * mib));
    if (is("long_history"))
      history_ = d.whole(12, 200), history_entry_ = size_class(d.spread(1 * kib, 512 * kib));
    if (is("bad_path"))
      bad_steps_ = d.whole(1, 3);
    if (is("bounded_cache"))
      latest_.emplace(d, d.whole(8, 1000), 150 * mib, mib);
    if (is("large_entries"))
      latest_.emplace(d, d.whole(12, 40), 220 * mib, 16 * mib);
  }

  double after(uint64_t job, const supervision::job_memory& x) {
    if (job <= warm_within_ && warm_steps_ > 0
        && dice_.happens(static_cast<double>(warm_steps_)
                         / static_cast<double>(warm_within_ - job + 1))) {
      --warm_steps_;
      kept_ += size_class(warm_size_ * dice_.uniform(0.2, 1));
      warm_size_ *= dice_.uniform(0.3, 0.9);
    }
    if (auto i = steps_.find(job); i != steps_.end())
      kept_ += size_class(i->second);
    const auto size = static_cast<double>(x.decoded_bytes + 1);
    const auto key = coarse_ > 0 ? static_cast<uint64_t>(std::log2(size) * coarse_)
                                 : x.decoded_bytes * 16 + 1 + x.others.size();
    if (entry_ > 0 && x.ok) {
      auto& visits = seen_[key];
      // Every library's cache has a bound: it stops at the bound, or drops the oldest.
      if (visits++ < stages_ && (capacity_ > 0 || order_.size() < full_)) {
        const auto entry = entry_varies_ ? size_class(entry_ * dice_.uniform(0.3, 3)) : entry_;
        order_.push_back(entry);
        keys_.push_back(key);
        kept_ += entry;
        if (capacity_ > 0 && order_.size() > capacity_) {
          kept_ -= order_.front();
          seen_.erase(keys_.front());
          order_.erase(order_.begin());
          keys_.erase(keys_.begin());
        }
      }
    }
    if (high_water_) {
      scratch_ = std::max(scratch_, size_class(static_cast<double>(x.decoded_bytes)));
      input_ = std::max(input_, size_class(static_cast<double>(x.encoded_bytes)));
    }
    if (last_image_ && x.ok)
      scratch_ = size_class(static_cast<double>(x.decoded_bytes));
    if (fill_ > 0 && job > 5 && dice_.happens(fill_share_)) {
      const auto part = size_class(fill_ * dice_.uniform(0.2, 0.5));
      kept_ += part;
      fill_ = part < 512 ? 0 : fill_ - part;
      fill_share_ *= 0.7;
    }
    if (history_ > 0) {
      kept_ += history_entry_;
      --history_;
    }
    if (latest_ && x.ok)
      kept_ += latest_->next();
    if (!x.ok && bad_steps_ > 0) {
      --bad_steps_;
      kept_ += size_class(dice_.spread(100, 64 * kib));
    }
    const auto spike = dice_.happens(spike_share_) ? size_class(dice_.spread(1 * kib, 30 * mib))
                                                   : 0.;
    if (spike > 0)
      spike_left_ = dice_.happens(0.8) ? 1 : dice_.whole(2, 4), spike_ = spike;
    const auto now = spike_left_ > 0 ? spike_ : 0.;
    spike_left_ -= spike_left_ > 0;
    return kept_ + scratch_ + input_ + now;
  }

private:
  dice& dice_;
  uint64_t warm_steps_ = 0, warm_within_ = 0, stages_ = 1, capacity_ = 0, history_ = 0,
           bad_steps_ = 0;
  uint64_t spike_left_ = 0, full_ = 0;
  double warm_size_ = 0, spike_share_ = 0, entry_ = 0, fill_ = 0, fill_share_ = 0;
  double history_entry_ = 0, spike_ = 0, coarse_ = 0;
  bool entry_varies_ = false, high_water_ = false, last_image_ = false;
  double kept_ = 0, scratch_ = 0, input_ = 0;
  std::map<uint64_t, double> steps_;
  std::map<uint64_t, uint64_t> seen_;
  std::optional<latest_inputs> latest_;
  std::vector<double> order_;
  std::vector<uint64_t> keys_;
};

/// The private memory that an allocator and the kernel make of live bytes.
class allocator {
public:
  explicit allocator(dice& d) : dice_(d) {
    base_ = d.uniform(5, 30) * mib;
    copied_ = d.uniform(2, 14) * mib;
    gives_back_ = d.happens(0.35);
    extent_ = d.happens(0.5) ? 64 * kib : 2 * mib;
    settling_ = d.uniform(0.2, 1.5);
  }

  /// `live`: what the job leaves; `transient`: what it took beyond that.
  uint64_t after(uint64_t job, double live, double transient, double hoarded) {
    const auto touched = copied_ * dice_.uniform(0.05, 0.5); // copy-on-write
    copied_ -= touched;
    base_ += touched;
    // The same work finds other holes: the heap's edge rises more and more rarely.
    if (dice_.happens(settling_ / std::sqrt(static_cast<double>(job) + 1)
                      / (1 + static_cast<double>(job) / 60)))
      base_ += dice_.exponential(extent_);
    const auto need = std::ceil((live + transient) / extent_) * extent_;
    heap_ = gives_back_ ? std::max(need - dice_.uniform(0, 0.3) * transient,
                                   heap_ - dice_.uniform(0, 0.4) * std::max(0., heap_ - live))
                        : std::max(heap_, need);
    const auto jitter = dice_.whole(0, 6) * page;
    return (bytes(base_ + std::max(heap_, live) + hoarded) / page) * page + jitter;
  }

private:
  dice& dice_;
  double base_ = 0, copied_ = 0, extent_ = 0, settling_ = 0, heap_ = 0;
  bool gives_back_ = false;
};

/// The growth of a growing kind: the mean over all of its jobs is `rate`.
class grower {
public:
  grower(dice& d, const std::string& kind, double rate, uint64_t most_every)
    : dice_(d), rate_(rate) {
    const auto is = [&](const char* name) { return kind == name; };
    varies_ = is("leak_varying_sizes");
    images_ = is("leak_images");
    bad_only_ = is("leak_bad_inputs");
    large_only_ = is("leak_large_images");
    // Rarer events of the same mean are larger.
    every_ = is("leak_one_in_k") ? static_cast<double>(d.whole(2, most_every)) : 1;
    regular_ = d.happens(0.5);
    container_ = d.happens(0.4);
  }

  double share(double bad_share, double large_share) const {
    return bad_only_ ? bad_share : large_only_ ? large_share : 1 / every_;
  }

  /// What this job leaks; `frequency`: the share of jobs that leak.
  double next(const supervision::job_memory& x, double large, double frequency, uint64_t since) {
    if (bad_only_     ? x.ok
        : large_only_ ? !x.ok || static_cast<double>(x.decoded_bytes) < large
                      : every_ > 1
                          && (regular_ ? since % static_cast<uint64_t>(every_) != 0
                                       : !dice_.happens(1 / every_)))
      return 0;
    auto amount = rate_ / frequency;
    if (images_) // as large as the input, around the mean
      amount *= (static_cast<double>(x.decoded_bytes) + static_cast<double>(x.encoded_bytes))
                / (3 * 2e6);
    if (varies_)
      amount *= dice_.lognormal(0.7) / std::exp(0.245);
    amount = size_class(std::max(amount, 16.));
    // The container of the leaked objects sometimes grows itself.
    ++count_;
    if (container_ && (count_ & (count_ - 1)) == 0)
      amount += size_class(static_cast<double>(count_) * 8);
    return amount;
  }

private:
  dice& dice_;
  double rate_, every_ = 1;
  bool varies_ = false, images_ = false, bad_only_ = false, large_only_ = false, regular_ = false;
  bool container_ = false;
  uint64_t count_ = 0;
};

/// What the name of a kind says.
struct traits {
  explicit traits(const std::string& kind) {
    const auto growing = growing_kinds();
    grows = std::find(growing.begin(), growing.end(), kind) != growing.end();
    hoards = kind == "hoarding" || kind == "leak_and_hoarding";
    leaks = grows && kind != "hoarding";
  }

  truth what() const {
    return leaks && hoards ? truth::mixed
           : leaks         ? truth::leak
           : hoards        ? truth::hoarding
                           : truth::healthy;
  }

  bool grows = false, hoards = false, leaks = false;
};

/// The healthy kind to which a leak of the growing kind is added.
std::string healthy_part(dice& d, const std::string& growing) {
  const char* usual[] = {"flat", "flat", "flat", "warm_up", "high_water", "bad_path"};
  return growing == "leak_behind_cache"  ? "shape_cache"
         : growing == "leak_with_spikes" ? "spikes"
         : growing == "leak_after_steps" ? "step_then_flat"
                                         : usual[d.whole(0, 5)];
}

stream inputs_of(dice& d, const std::string& kind, double bytes_per_job, uint64_t budget) {
  stream in{d, kind == "leak_large_images" || kind == "leak_images"};
  if (kind == "leak_bad_inputs")
    in.need_bad(std::max(d.spread(0.03, 0.3),
                         std::min(0.5, 10 * bytes_per_job / static_cast<double>(budget))));
  if (kind == "bad_path")
    in.need_bad(0.02);
  return in;
}

/// The share of the leak's kind of input among those of the stream; at least 0.01. Both the dice
/// and the stream are left as they were.
double frequency_of(const grower& leak, dice& d, const stream& in) {
  const auto before = d;
  const auto large = in.large();
  auto sample = in;
  double bad_share = 0, large_share = 0;
  for (int i = 0; i < 4000; ++i) {
    const auto x = sample.next();
    bad_share += !x.ok / 4000.;
    large_share += (x.ok && static_cast<double>(x.decoded_bytes) >= large) / 4000.;
  }
  d = before;
  return std::max(leak.share(bad_share, large_share), 0.01);
}

/// When a trace begins to grow, and after how many jobs it ends.
struct span_of_life {
  span_of_life(dice& d, const std::string& kind, bool grows) {
    const auto late = kind != "leak_from_birth" && !(kind == "hoarding" && d.happens(0.3));
    onset = !grows ? 0 : late ? d.whole(5, 400) : 1;
    if (kind == "leak_after_steps")
      onset += 300;
    length = kind == "leak_one_in_k" ? onset + 3000 : grows ? onset + 1500 : d.whole(400, 3000);
  }

  uint64_t onset = 0, length = 0;
};

} // namespace

std::vector<std::string> healthy_kinds() {
  return {"flat",         "warm_up",       "spikes",         "shape_cache",    "two_stage_cache",
          "high_water",   "last_image",    "step_then_flat", "plateau",        "evicting_cache",
          "coarse_cache", "short_history", "bad_path",       "workload_shift", "long_history",
          "bounded_cache"};
}

std::vector<std::string> growing_kinds() {
  return {"leak_steady",      "leak_from_birth",  "leak_varying_sizes", "leak_images",
          "leak_one_in_k",    "leak_bad_inputs",  "leak_large_images",  "leak_behind_cache",
          "leak_with_spikes", "leak_after_steps", "hoarding",           "leak_and_hoarding"};
}

std::vector<std::string> beyond_kinds() { return {"large_entries"}; }

trace generate(const std::string& kind, double bytes_per_job, uint64_t budget, uint64_t seed) {
  dice d{seed};
  const traits is{kind};
  trace t;
  t.kind = kind;
  t.what = is.what();
  t.beyond = kind == "large_entries";
  t.bytes_per_job = is.grows ? bytes_per_job : 0;
  const auto behind = is.grows ? healthy_part(d, kind) : kind;
  auto in = inputs_of(d, kind, bytes_per_job, budget);
  keeper keep{d, behind};
  allocator heap{d};
  // A leak that fills the budget within ten jobs is too fast for the judge.
  const auto jobs_in_budget = static_cast<double>(budget) / 10 / std::max(bytes_per_job, 1.);
  grower leak{d, kind, bytes_per_job, static_cast<uint64_t>(std::clamp(jobs_in_budget, 2., 50.))};
  const auto large = in.large();
  const auto frequency = is.leaks ? frequency_of(leak, d, in) : 1;
  const span_of_life span{d, kind, is.grows};
  t.onset = span.onset;
  const auto shared = d.uniform(150, 480) * mib;
  const auto base_live = std::floor(d.spread(1 * mib, 60 * mib));
  const auto shift_at = kind == "workload_shift" ? d.whole(50, 400) : 0;
  const auto hoard_regular = d.happens(0.5);
  supervision::leak_judge::settings how;
  how.workers = 2;
  how.budget_bytes = budget;
  how.foretell = false;
  supervision::leak_judge asked{how};
  double leaked = 0, hoarded = 0;
  uint64_t peak = 0, since = 0;
  for (uint64_t job = 1; job <= span.length; ++job) {
    if (job == shift_at || (shift_at > 0 && job == 2 * shift_at))
      in.shift(d.uniform(1.5, 4));
    reading r;
    r.memory = in.next();
    if (asked.wants_lone_jobs()) // as its slot does
      r.memory.others.clear();
    const auto healthy = keep.after(job, r.memory);
    const auto together = 1 + r.memory.others.size();
    for (size_t i = 0; i < together && is.leaks && job >= t.onset; ++i)
      leaked += leak.next(r.memory, large, frequency, since++);
    for (size_t i = 0; i < together && is.hoards && job >= t.onset; ++i) {
      const auto rate = kind == "leak_and_hoarding" ? std::max(bytes_per_job, 64 * kib)
                                                    : bytes_per_job;
      hoarded += hoard_regular ? rate * d.uniform(0.5, 1.5) : d.exponential(rate);
    }
    const auto live = base_live + healthy + leaked;
    const auto transient = static_cast<double>(r.memory.decoded_bytes) * 1.3
                           + static_cast<double>(r.memory.encoded_bytes)
                           + 2 * mib * static_cast<double>(together);
    r.memory.live = bytes(live);
    r.memory.private_bytes = heap.after(job, healthy + leaked, transient, hoarded);
    r.rss = r.memory.private_bytes + bytes(shared);
    peak = std::max(peak,
                    std::max(r.rss, r.memory.private_bytes + bytes(shared + 0.2 * transient)));
    r.peak_rss = peak;
    if (r.memory.private_bytes >= budget)
      break;
    t.jobs.push_back(r);
    asked.observe(r.memory);
  }
  return t;
}

} // namespace ziyu::bench
