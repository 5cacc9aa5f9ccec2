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

/// The order of replacements that are due: at most `max_unavailable` slots are without their own
/// worker at once, and no worker reaches its budget while it waits for its turn. All replacements
/// take about as long, so the earliest deadline comes first (Jackson 1955). Pure: no clock; ask
/// again after each job, tick, or finished replacement.
class replacement_schedule {
public:
  /// Slots, most urgent first.
  struct plan {
    std::vector<uint32_t> start; ///< Replace now.
    std::vector<uint32_t> hold;  ///< Give these no more jobs: the next one may reach the budget.
    std::vector<uint32_t> wait;  ///< Until a turn is free.
  };

  /// @param max_unavailable At least 1.
  explicit replacement_schedule(uint32_t max_unavailable) : max_unavailable_(max_unavailable) {}

  /// @param workers Doomed workers that are not being replaced yet.
  /// @param replacing Slots that are without their own worker already.
  plan decide(std::vector<doomed_worker> workers, uint32_t replacing) const;

private:
  uint32_t max_unavailable_;
};

} // namespace ziyu::supervision
