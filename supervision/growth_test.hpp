#pragma once

#include "supervision/robust.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace ziyu::supervision {

/// Tests whether one counter (e.g., live bytes after each job) grows for ever. The test is
/// sequential: its result may be looked at after every job.
///
/// An *event* is a job after which the counter is higher than ever before. A healthy counter has
/// events too, but finitely many. The caller passes, for each job, the greatest probability of
/// an event in health (`chance`: 1 where an event is expected, e.g., for an input of a new
/// kind). Against this stand many assumed leaks at once: rates (each job, one in 2, 8, 32, 128),
/// only inputs of one stratum, and any job as the first that leaks. The likelihood ratios of
/// each assumed leak are multiplied. The weighted sum of all is a nonnegative supermartingale
/// under health, an *e-process*: the probability that it ever reaches 1/α is at most α (Ville
/// 1939), so that repeated looks cost nothing. Pure; O(1) time and memory per job; not
/// thread-safe.
class growth_test {
public:
  static constexpr size_t strata = 24;

  struct input {
    uint64_t value = 0;
    double chance = 1;  ///< Greatest probability of an event in health; 0 < chance <= 1.
    bool alike = true;  ///< Equal rises prove nothing: a cache may take as much for each kind.
    size_t stratum = 0; ///< < `strata`.
    uint64_t least = 1; ///< A smaller rise is no event; at least 1.
    /// Each rise and fall has a meaning (bytes, not pages). If not, the counter goes up and down by
    /// itself, and a rise is an event only if it is larger than that by `least`.
    bool exact = true;
  };

  /// Takes the counter after one more job. Returns how much it is higher than ever before; 0: no
  /// event.
  uint64_t observe(const input& x);

  /// The evidence for a leak: 1/α is reached with probability at most α in health.
  double evidence() const { return evidence_; }

  /// The growth that the strongest of the assumed leaks explains.
  struct run {
    uint64_t onset = 0;       ///< Number (from 1) of its first job; 0: nothing grows.
    uint64_t events = 0;      ///< Since the onset, with the inputs that it leaks with.
    uint64_t all_events = 0;  ///< Since the onset, with all inputs.
    uint64_t unexplained = 0; ///< Events whose chance was below 1.
    uint64_t grown = 0;       ///< Bytes.
  };
  run current() const;

  /// Bytes that the run has grown by, with the rises right before its onset that are like its own
  /// (half to twice its mean): a leak from birth looks like warm-up for some jobs, and what it kept
  /// until then takes as much room. Only a run of fewer than 16 events is followed back.
  uint64_t grown_at_its_pace() const;

  /// Number of the job with the latest event; 0: none.
  uint64_t last_event() const { return last_event_; }

  /// Whether growth has stopped: had it gone on at the rate of the latest events, another event
  /// would, with probability 1 − `alpha`, have come by now.
  bool stopped(double alpha) const;

  /// Drops all evidence; the counter's level stays.
  void forget();

  uint64_t jobs() const { return jobs_; }

  /// How far a counter that is not exact goes up and down by itself.
  uint64_t noise() const { return noise_; }

  /// Recent growth per job (the latest 16 events of the current run). Its bounds, each one-sided at
  /// the normal quantile `z`, follow from the rate of events and the quartiles of their sizes. All
  /// 0 with fewer than two events.
  slope rate(double z) const;

private:
  static constexpr std::array<double, 5> rates{0.98, 1. / 2, 1. / 8, 1. / 32, 1. / 128};
  static constexpr size_t remembered = 16;

  /// One assumed leak.
  struct hypothesis {
    double wealth = 0;
    double priors = 0;  ///< Sum of the priors of the onsets from `since` on.
    uint64_t since = 0; ///< No evidence for an onset before this job.
    uint64_t level = 0; ///< The counter's level at `since`.
    uint64_t seen = 0;  ///< The counter's events up to `since`.
    uint32_t events = 0, unexplained = 0;
    uint32_t compared = 0, repeated = 0; ///< Events whose rises were compared; equal ones.
  };
  struct step {
    uint64_t job = 0, rise = 0;
  };

  void learn_noise(uint64_t value);

  /// The probability that the counter is only temporarily higher than ever.
  double chance_of_excursion() const;
  bool quiet() const { return falls_ * 8 <= jobs_; }
  bool seen_of_late(uint64_t rise) const;
  enum class sameness : uint8_t { unknown, other, repeated };
  void sum_up();
  void weigh(hypothesis& x, double rate, double prior, const input& in, bool event, sameness rise);
  const step& latest(size_t back) const { return steps_[(event_count_ - 1 - back) % remembered]; }

  std::array<hypothesis, rates.size() + strata> hypotheses_, before_event_;
  size_t strongest_ = 0; ///< Of `hypotheses_`.
  std::array<uint64_t, strata> stratum_jobs_{};
  std::array<step, remembered> steps_{}; ///< The latest events, a ring.
  uint64_t event_count_ = 0;
  uint64_t jobs_ = 0, falls_ = 0, deep_falls_ = 0, rises_ = 0, since_fall_ = 0;
  uint64_t level_ = 0, level_before_event_ = 0, previous_ = 0, before_rise_ = 0;
  uint64_t trough_ = 0; ///< The lowest value since the level was set.
  uint64_t noise_ = 0, noise_at_trough_ = 0;
  uint64_t last_event_ = 0, last_event_before_ = 0;
  uint64_t undoable_ = 0; ///< Job of the latest event, which may still be a spike.
  double evidence_ = 0;
};

} // namespace ziyu::supervision
