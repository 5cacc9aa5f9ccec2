#include "supervision/replacement_schedule.hpp"

#include <algorithm>
#include <limits>
#include <tuple>

namespace ziyu::supervision {

namespace {

/// Seconds until the budget at the earliest.
double deadline_of(const doomed_worker& x) {
  if (x.jobs_left == 0)
    return 0;
  if (x.jobs_per_second <= 0)
    return std::numeric_limits<double>::infinity();
  return static_cast<double>(x.jobs_left) / x.jobs_per_second;
}

} // namespace

replacement_schedule::plan replacement_schedule::decide(std::vector<doomed_worker> workers,
                                                        uint32_t replacing) const {
  std::sort(workers.begin(), workers.end(), [](const auto& x, const auto& y) {
    return std::tuple{deadline_of(x), x.slot} < std::tuple{deadline_of(y), y.slot};
  });
  const auto turns = std::max(1u, max_unavailable_);
  const auto free = turns - std::min(turns, replacing);
  plan result;
  for (const auto& x : workers) {
    if (result.start.size() < free)
      result.start.push_back(x.slot);
    else if (x.jobs_left <= 1) // holding takes no time, so it begins at the last moment
      result.hold.push_back(x.slot);
    else
      result.wait.push_back(x.slot);
  }
  return result;
}

} // namespace ziyu::supervision
