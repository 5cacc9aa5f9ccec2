#pragma once

#include "supervision/forecast.hpp"
#include "supervision/growth_test.hpp"
#include "supervision/job_axis.hpp"
#include "supervision/robust.hpp"
#include "supervision/shape_census.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ziyu::supervision {

/// Names of growth, as in `docs/leak-judgement.md`.
enum class growth : uint8_t {
  warming_up, ///< Too few jobs to judge.
  healthy,    ///< Flat, or any finite growth that has ended.
  caching,    ///< Healthy so far: grew recently, but only with inputs of new kinds.
  suspected,  ///< Grows, but not yet beyond doubt.
  growing,    ///< Live bytes grow per job beyond doubt; a cache that fills may explain it.
  leak,       ///< Live bytes (or the GPU's allocated ones) have outgrown any such cache.
  hoarding,   ///< Private memory (or the GPU's cache) grows while live bytes do not.
  mixed,      ///< A leak and hoarding at once.
};
std::string_view to_string(growth x) noexcept;

/// Whether `x` is confirmed: it must be healed before the budget is reached.
constexpr bool is_confirmed(growth x) noexcept { return x >= growth::growing; }

/// Which inputs a leak grows with.
enum class leak_input : uint8_t {
  any,       ///< Each job, or nearly.
  some,      ///< One job in several, of no recognisable kind.
  bad,       ///< Inputs that end in an error.
  large,     ///< Images above some size.
  small,     ///< Images below some size.
  new_kinds, ///< Only inputs of sizes not seen before: a cache without a bound.
};
std::string_view to_string(leak_input x) noexcept;

/// One job's input. Bytes.
struct job_input {
  uint64_t encoded_bytes = 0;
  uint64_t decoded_bytes = 0; ///< 0: it could not be decoded.
  bool ok = true;             ///< The job did not end in an error.
  bool operator==(const job_input&) const = default;
};

/// A finished job of a worker, or a finished batch; bytes unless said otherwise. A value that is
/// not known stays 0 and is not judged.
struct job_memory : job_input {
  uint64_t live = 0;             ///< After the job, exact.
  uint64_t private_bytes = 0;    ///< After the job.
  uint64_t gpu_allocated = 0;    ///< After the job, exact.
  uint64_t gpu_reserved = 0;     ///< After the job.
  std::vector<job_input> others; ///< The jobs that ran together with it.
};

/// Judges one generation of one worker after each of its jobs. Live bytes are exact and flat
/// in a healthy worker, so they are judged by events (`growth_test`), not by noise. Private
/// memory changes in pages and steps, so it is judged by its lows. The x-axis is the number
/// of jobs, never seconds. Jobs that ran together are one reading; what may be expected of any
/// of them may be expected of the batch. `docs/leak-judgement.md` describes the method. Pure; not
/// thread-safe; bounded memory; takes about 1 µs per job of a healthy worker, some 10 µs
/// while one grows.
class leak_judge {
public:
  struct settings {
    uint32_t warmup_jobs = 3;  ///< Growth in them is expected.
    uint32_t min_jobs = 5;     ///< Judged jobs before a worker is called healthy.
    uint32_t window_jobs = 64; ///< For slopes of what grows.
    uint64_t min_effect_bytes = 512;
    /// Confidence that no healthy worker of the pool is ever called a leak, over the lives of
    /// `workers` generations at once. Also the confidence of slopes' bounds, at most 0.99.
    double confidence = 0.998;
    uint32_t workers = 1;      ///< Judged side by side: they share the allowed error.
    uint64_t budget_bytes = 0; ///< Of private memory; 0: no forecast.
    /// Smaller total growth of private memory than this, or than a tenth of the budget, is never
    /// hoarding: private memory is read in pages and steps, and an allocator's arenas settle
    /// slowly.
    uint64_t hoarding_min_total_bytes = 4u << 20;
    /// A cache keyed by the inputs' shapes holds no more kinds than this; more growth with new
    /// kinds counts against the worker. So does growth beyond a quarter of the budget (64 MiB
    /// without a budget). An undeclared cache of the latest inputs holds no more entries either,
    /// once it has taken an eighth of the room below the budget. It never holds more than four
    /// times as many.
    uint32_t cache_entries = 1024;
    /// Live bytes that the model's caches hold when they are full, as declared: growth up to
    /// this is never a leak, growth beyond it is one. 0: the model has no cache. Empty: not
    /// declared.
    std::optional<uint64_t> model_cache_bytes;
    /// Confirmed growth comes with the slope of a line and with a forecast; they take most of the
    /// time.
    bool foretell = true;
  };

  using slope = supervision::slope;

  struct verdict {
    growth kind = growth::warming_up;
    slope live;           ///< Of live bytes; all 0 when flat.
    slope private_memory; ///< Of private memory over the window, when something grows.
    slope gpu;            ///< Of the GPU's allocated (leak) or reserved bytes.
    uint64_t jobs = 0;    ///< Finished by this generation.
    /// Jobs until `budget_bytes` at the present slope: most likely, at the earliest and at the
    /// latest. Empty without growth.
    std::optional<uint64_t> jobs_left, jobs_left_earliest, jobs_left_latest;

    // The evidence, for events.
    double evidence = 0;       ///< e-value of the test that is nearest to its threshold.
    double needed = 0;         ///< Its threshold.
    uint64_t onset = 0;        ///< Job (from 1) that the growth began with; 0: none.
    uint64_t growing_jobs = 0; ///< Jobs since the onset after which memory was higher than before.
    uint64_t grown_bytes = 0;  ///< Since the onset.
    /// Growth of live bytes (else of the GPU's) since the first job.
    uint64_t grown_since_birth = 0;
    /// The latest confirmed growth that has ended, if any: its length in jobs, and the growth of
    /// live bytes since the first job when it ended.
    uint64_t ended_jobs = 0, ended_bytes = 0;
    leak_input input = leak_input::any;
    bool on_gpu = false;          ///< The growth is the GPU's.
    uint64_t plateau_jobs = 0;    ///< Jobs since live bytes were last higher than before.
    uint64_t kinds = 0;           ///< Kinds of input seen.
    double kinds_expected = 0;    ///< Least number of kinds to expect (Chao 1984).
    uint64_t cached_bytes = 0;    ///< Growth that came with new kinds.
    uint64_t workload_shifts = 0; ///< Changes of the inputs' sizes found so far.
  };

  explicit leak_judge(settings x);

  /// Takes the reading after one more job, or one more batch, and judges.
  verdict observe(const job_memory& x);

  /// Whether jobs that run one by one would tell more than batches: the worker is young, or it
  /// grows and it is not known whether that is a leak.
  bool wants_lone_jobs() const {
    const auto& kind = last_.kind;
    return kind < growth::leak
           && (readings() < lone_until_ || kind == growth::suspected || kind == growth::growing);
  }

  /// The growth of an earlier worker with the same model ended at so many live bytes above the
  /// level after its first job: growth up to somewhat more is no leak. 0: nothing is known.
  void expect_cache(uint64_t bytes) { learnt_cache_ = bytes; }

  const verdict& last() const { return last_; }

private:
  struct point {
    double job, live, owned, gpu, reserved; // `job`: the latest one of the reading
    uint64_t decoded;
    bool ok, grew, alone;
  };

  /// One counter under test.
  struct channel {
    double point::*what;
    uint64_t scale; ///< Readings per value of the test.
    bool leak;      ///< Else hoarding.
    bool gpu;
    double doubt; ///< Its share of the allowed error; all shares sum to 1.
    growth_test test{};
    bool confirmed = false;
    bool outgrown = false; ///< Confirmed, and no cache explains it.
    uint64_t onset = 0;    ///< Of its growth, as known at confirmation.
    growth_test::run run{};
    slope rate{};
    uint64_t low = 0;      ///< Of the present block of readings.
    bool expected = false; ///< Growth in the block is expected.
    uint64_t level = 0;    ///< Of the latest block.
  };

  /// How high an allocator may rise for the largest inputs so far.
  struct reserve {
    uint64_t first = 0, highest = 0, taken = 0;
    /// `input`: bytes of the largest input so far if this job brought it, else 0.
    void observe(uint64_t value, uint64_t input);
    uint64_t ceiling() const { return first + taken * 5 / 2; }
  };

  /// Growth that came with the first, the second ... input of each kind. A cache may fill at the
  /// first or the second.
  static constexpr size_t cached_visits = 2;
  struct cache {
    uint64_t jobs = 0, growths = 0;
    uint8_t grew = 0;        ///< One bit for each of the latest 8 inputs: it left something.
    uint64_t silent = 0;     ///< Inputs since the latest one that left something.
    bool late = false;       ///< It began to fill after many inputs that left nothing ...
    uint64_t late_bytes = 0; ///< ... and has taken so much since then.
    struct count {
      uint32_t jobs = 0, growths = 0;
    };
    std::array<count, growth_test::strata> strata{};
    void observe(uint64_t rise, size_t stratum);
  };

  /// The greatest probability that a cache takes an input in, and whether it may hold so many bytes
  /// at all.
  struct excuse {
    double chance = 1;
    bool bytes = true;
  };
  /// What may be expected of the inputs of one reading.
  struct expectation {
    double chance = 0;    ///< Of an event, in health.
    bool alike = false;   ///< Equal rises prove nothing.
    bool largest = false; ///< One is larger than all before, or there are more than ever.
    size_t stratum = 0;   ///< Of the largest input.
  };
  /// An input of a kind that is still new.
  struct visitor {
    uint32_t visit;
    size_t stratum;
    double chance; ///< That a cache takes it in.
  };
  expectation expect(const job_memory& x);
  uint64_t readings() const { return axis_.readings(); } ///< Each of one job, or of a batch.
  uint64_t jobs_since(uint64_t reading) const;
  excuse excuse_of(uint32_t visit, size_t stratum) const;
  void remember(const job_memory& x, bool grew);
  void judge(const job_memory& x);
  double threshold(const channel& x) const;
  /// The evidence without which nothing is called a leak or hoarding.
  double needed_to_claim(const channel& x) const;
  /// `rise`: how much more is live than ever before.
  void note_caches(uint64_t rise);
  void judge_private(const job_memory& x, bool largest);
  void add_to_block(channel& x, uint64_t value, bool expected);
  bool beyond_reserve(const channel& x) const;
  void confirm(channel& x, uint64_t least_total);
  void note_end(const channel& x, uint64_t total);
  /// Whether growth of `total` bytes since the first job is more than a cache may hold.
  bool outgrows_caches(const channel& x, uint64_t total) const;
  /// Puts the window's values from job `from` on, oldest first, into `x_` and `y_`.
  void fill(double point::*what, uint64_t from);
  /// Whether it grew in the later half as much as in the earlier: settling slows down.
  bool keeps_pace(double point::*what, uint64_t from);
  slope window_slope(double point::*what, uint64_t from);
  leak_input input_of(const growth_test::run& x) const;
  void foretell(const job_memory& x);

  settings settings_;
  double z_;                     ///< The normal quantile of slopes' bounds.
  std::array<cache, 5> cache_{}; ///< By visit.
  shape_census census_;
  cusum size_shift_;
  /// Live, GPU allocated, private in short, long and longest blocks, GPU reserved.
  std::array<channel, 6> channels_;
  reserve owned_reserve_, gpu_reserve_;
  std::vector<point> window_; ///< A ring of `window_jobs`.
  std::vector<double> x_, y_, scratch_;
  job_axis axis_;
  std::vector<visitor> visitors_; ///< Of the latest reading.
  uint64_t lone_until_ = 0;       ///< The reading before which `wants_lone_jobs`.
  size_t largest_batch_ = 0;
  uint64_t last_novel_growth_ = 0, novel_bytes_ = 0;
  uint64_t first_live_ = 0, first_gpu_ = 0, first_private_ = 0;
  uint64_t learnt_cache_ = 0;
  uint64_t fresh_jobs_ = 0; ///< Jobs for which private memory settles anew.
  uint64_t largest_decoded_ = 0, largest_encoded_ = 0;
  verdict last_;
};

/// One line for people: what grows, by how much, since when, and the evidence.
std::string explain(const leak_judge::verdict& x);

} // namespace ziyu::supervision
