#pragma once

#include "supervision/robust.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace ziyu::supervision {

/// Whether one counter (e.g., live bytes after each job) grows for ever: a sequential
/// test that may be looked at after every job.
///
/// An *event* is a job after which the counter stands higher than ever. A healthy
/// counter has events too, but finitely many; the caller says for each job how
/// probable one is at most (`chance`: 1 for what must be expected, e.g., an input of
/// a new kind). Against this stand many leaks at once: rates (each job, one in 2, 8,
/// 32, 128), only inputs of one stratum, and any job as the first that leaks. For
/// each the likelihood ratio is multiplied up; the weighted sum of all is a
/// nonnegative supermartingale under health, an *e-process*: the probability that it
/// ever reaches 1/α is at most α (Ville 1939), so that looking after each job costs
/// nothing. Pure; O(1) time and memory per job; not thread-safe.
class growth_test {
public:
  static constexpr size_t strata = 24;

  struct input {
    uint64_t value = 0;
    double chance = 1;  ///< Of an event in health, at most; 0 < chance <= 1.
    bool alike = true;  ///< Equal rises prove nothing: a cache may take the same for each kind.
    size_t stratum = 0; ///< < `strata`.
    uint64_t least = 1; ///< A smaller rise is no event; at least 1.
    bool exact = true;  ///< Each rise and fall means something (bytes, not pages).
  };

  /// Takes the counter after one more job. Returns by how much it stands higher
  /// than ever before; 0: no event.
  uint64_t observe(const input& x);

  /// The evidence for a leak: 1/α is reached with probability at most α in health.
  double evidence() const { return evidence_; }

  /// The growth that the strongest of the assumed leaks explains.
  struct run {
    uint64_t onset = 0;       ///< Number (from 1) of its first job; 0: nothing grows.
    uint64_t events = 0;      ///< Since then, of the inputs that it leaks with.
    uint64_t all_events = 0;  ///< Since then, of all inputs.
    uint64_t unexplained = 0; ///< Events whose chance was below 1.
    uint64_t grown = 0;       ///< Bytes.
  };
  run current() const;

  /// Number of the job with the latest event; 0: none.
  uint64_t last_event() const { return last_event_; }

  /// Growth that went on at the rate of the latest events would, with probability
  /// 1 − `alpha`, have had another one by now: it has stopped.
  bool stopped(double alpha) const;

  /// Drops all evidence; the counter's level stays.
  void forget();

  uint64_t jobs() const { return jobs_; }

  /// Growth per job of late (the latest 16 events of the current run), with bounds,
  /// each one-sided at the normal quantile `z`: from how often events come, and the quartiles of their
  /// sizes. All 0 with fewer than two events.
  slope rate(double z) const;

private:
  static constexpr std::array<double, 5> rates{0.98, 1. / 2, 1. / 8, 1. / 32, 1. / 128};
  static constexpr size_t remembered = 16;

  /// One assumed leak.
  struct hypothesis {
    double wealth = 0;
    double priors = 0;  ///< Of the onsets from `since` on, in sum.
    uint64_t since = 0; ///< The job before which nothing speaks for it.
    uint64_t level = 0; ///< The counter's, then.
    uint64_t seen = 0;  ///< Events of the counter, then.
    uint32_t events = 0, unexplained = 0;
    uint32_t compared = 0, repeated = 0; ///< Events whose rises were compared; equal ones.
  };
  struct step {
    uint64_t job = 0, rise = 0;
  };

  /// How probable it is that the counter is higher than ever for a while only.
  double chance_of_excursion() const;
  bool quiet() const { return falls_ * 8 <= jobs_; }
  bool seen_of_late(uint64_t rise) const;
  enum class sameness : uint8_t { unknown, other, repeated };
  void weigh(hypothesis& x, double rate, double prior, const input& in, bool event, sameness rise);
  const hypothesis* strongest() const;
  const step& latest(size_t back) const { return steps_[(event_count_ - 1 - back) % remembered]; }

  std::array<hypothesis, rates.size() + strata> hypotheses_, before_event_;
  std::array<uint64_t, strata> stratum_jobs_{};
  std::array<step, remembered> steps_{}; ///< The latest events, a ring.
  uint64_t event_count_ = 0;
  uint64_t jobs_ = 0, falls_ = 0, deep_falls_ = 0, rises_ = 0, since_fall_ = 0;
  uint64_t level_ = 0, level_before_event_ = 0, previous_ = 0, before_rise_ = 0;
  uint64_t last_event_ = 0, last_event_before_ = 0;
  uint64_t undoable_ = 0; ///< Job of the latest event, while it may be a spike.
  double evidence_ = 0;
};

} // namespace ziyu::supervision
