#pragma once

#include "supervision/robust.hpp"

#include <cstdint>
#include <optional>

namespace ziyu::supervision {

/// How many more jobs a growing worker can do before its memory reaches a budget.
struct forecast {
  uint64_t jobs = 0;     ///< Most likely.
  uint64_t earliest = 0; ///< At the slope's upper bound, with `reserve` used up.
  uint64_t latest = 0;   ///< At the slope's lower bound; UINT64_MAX: perhaps never.
};

/// The input of a forecast, bytes.
struct forecast_input {
  uint64_t used = 0;   ///< Private memory now.
  uint64_t budget = 0; ///< 0: none, so there is no forecast.
  slope growth;        ///< Per job; with bounds.
  /// How far memory goes up and down around the slope: subtracted from the room for `earliest`,
  /// added to it for `latest`.
  uint64_t reserve = 0;
};

/// Extrapolates linearly. Empty without a budget or when `growth.bytes_per_job` is
/// not positive. 0 jobs when the budget is reached. Pure.
std::optional<forecast> forecast_jobs(const forecast_input& x);

} // namespace ziyu::supervision
