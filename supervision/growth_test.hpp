#pragma once

#include "supervision/robust.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace ziyu::supervision {

/// Whether one exact counter (e.g., live bytes after each job) grows for ever: a
/// sequential test that may be looked at after every job.
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
    double chance = 1;     ///< Of an event in health, at most; 0 < chance <= 1.
    uint32_t visit = 1;    ///< How often this kind of input was seen, with this one.
    size_t stratum = 0;    ///< < `strata`.
    uint64_t least = 1;    ///< A smaller rise is no event.
    bool exact = true;     ///< Equal rises mean something (bytes, not pages).
  };

  /// Takes the counter after one more job. Returns by how much it stands higher
  /// than ever before; 0: no event.
  uint64_t observe(const input& x);

  /// The evidence for a leak: 1/α is reached with probability at most α in health.
  double evidence() const { return evidence_; }

  /// What has grown since `onset`: a run of events that health does not explain.
  struct run {
    uint64_t onset = 0;       ///< Number (from 1) of the job with the first event.
    uint64_t jobs = 0;        ///< From then to the latest one, both included.
    uint64_t events = 0;      ///< Of them.
    uint64_t unexplained = 0; ///< Events whose chance was below 1.
    uint64_t repeats = 0;     ///< Events with exactly a rise seen shortly before.
    uint64_t grown = 0;       ///< Bytes, in sum.
    uint64_t last_event = 0;  ///< Number of the job.
    double mean_rise = 0, rise_variance = 0;
  };
  const run& current() const { return run_; }

  /// Growth that went on at the rate of the current run would, with probability
  /// 1 − `alpha`, have had another event by now: it has stopped.
  bool stopped(double alpha) const;

  /// Forgets the current run and its evidence; the counter's level stays.
  void forget();

  uint64_t jobs() const { return jobs_; }
  /// How often evidence was dropped because a lower level settled: each such fresh
  /// start is another test.
  uint64_t restarts() const { return restarts_; }
  /// Bounds of the growth per job in the current run, each one-sided at the normal
  /// quantile `z`: from the share of jobs with an event and the sizes of the rises.
  slope rate(double z) const;

private:
  static constexpr std::array<double, 5> rates{0.98, 1. / 2, 1. / 8, 1. / 32, 1. / 128};
  static constexpr size_t remembered = 8;

  struct wealth {
    std::array<double, 5> by_rate{};
    std::array<double, strata> by_stratum{};
  };

  bool quiet() const { return falls_ * 8 <= jobs_; }
  void weigh(const input& x, bool event, bool repeat);
  double sum() const;

  wealth wealth_, before_event_;
  run run_, run_before_event_;
  running_moments rises_, rises_before_event_;
  std::array<uint64_t, strata> stratum_jobs_{};
  std::array<uint64_t, remembered> latest_rises_{};
  size_t next_rise_ = 0;
  uint64_t jobs_ = 0, falls_ = 0, restarts_ = 0;
  uint64_t level_ = 0, level_before_event_ = 0, previous_ = 0;
  uint64_t since_fall_ = 0;
  uint64_t event_job_ = 0; ///< Of the latest event that can still be undone.
  double evidence_ = 0;
};

} // namespace ziyu::supervision
