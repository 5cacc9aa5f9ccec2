#include "supervision/forecast.hpp"

#include <algorithm>
#include <cmath>

namespace ziyu::supervision {

namespace {

uint64_t jobs_within(double room, double per_job) {
  if (room <= 0)
    return 0;
  if (per_job <= 0)
    return UINT64_MAX;
  const auto jobs = std::floor(room / per_job);
  return jobs >= 1e18 ? UINT64_MAX : static_cast<uint64_t>(jobs);
}

} // namespace

std::optional<forecast> forecast_jobs(const forecast_input& x) {
  if (x.budget == 0 || x.growth.bytes_per_job <= 0)
    return std::nullopt;
  const auto room = static_cast<double>(x.budget) - static_cast<double>(x.used);
  forecast result;
  result.jobs = jobs_within(room, x.growth.bytes_per_job);
  result.earliest = std::min(result.jobs,
                             jobs_within(room - static_cast<double>(x.reserve),
                                         std::max(x.growth.upper, x.growth.bytes_per_job)));
  result.latest = std::max(result.jobs,
                           jobs_within(room + static_cast<double>(x.reserve),
                                       std::min(x.growth.lower, x.growth.bytes_per_job)));
  return result;
}

} // namespace ziyu::supervision
