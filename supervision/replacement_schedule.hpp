#pragma once

#include <cstdint>
#include <vector>

namespace ziyu::supervision {

/// A worker whose memory grows, as the schedule sees it.
struct doomed_worker {
  uint32_t slot = 0;
  /// Jobs until its budget at the earliest (`forecast::earliest`).
  uint64_t jobs_left = 0;
  double jobs_per_second = 0; ///< Its pace; 0: it does no jobs at present.
};

/// Staggers the replacements of several doomed workers: at most `max_unavailable` slots are
/// without their own worker at once, and no worker reaches its budget while it waits for its
/// turn.
///
/// All replacements take about as long, so this is the problem of unit jobs with deadlines on
/// `max_unavailable` machines: earliest deadline first is optimal (Jackson 1955). Counting
/// backwards from the deadlines gives the latest start of each replacement. No replacement starts
/// before that, since late replacements are fewer replacements. Pure: no clock; ask again after
/// each job, tick, or finished replacement.
class replacement_schedule {
public:
  struct settings {
    uint32_t max_unavailable = 1;   ///< At least 1.
    double replacement_seconds = 1; ///< One replacement, pessimistically.
    double margin_seconds = 1;      ///< Starts so much before the latest possible time.
  };

  /// Slots, most urgent first.
  struct plan {
    std::vector<uint32_t> start; ///< Replace now.
    std::vector<uint32_t> hold;  ///< Give these no more jobs: the next one may reach the budget.
    std::vector<uint32_t> wait;  ///< Later.
  };

  explicit replacement_schedule(settings x) : settings_(x) {}

  /// @param workers Doomed workers that are not being replaced yet.
  /// @param replacing Slots that are without their own worker already.
  plan decide(std::vector<doomed_worker> workers, uint32_t replacing) const;

private:
  settings settings_;
};

} // namespace ziyu::supervision
