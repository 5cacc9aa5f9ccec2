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
  plan result;
  const auto machines = std::max(1u, settings_.max_unavailable);
  const auto takes = settings_.replacement_seconds;
  std::sort(workers.begin(), workers.end(), [](const auto& x, const auto& y) {
    return std::tuple{deadline_of(x), x.slot} < std::tuple{deadline_of(y), y.slot};
  });
  // Backwards: the worker `machines` places later can start only when this one is
  // done.
  const auto n = workers.size();
  std::vector<double> latest_start(n);
  for (auto i = n; i-- > 0;) {
    const auto end = i + machines < n
                       ? std::min(deadline_of(workers[i]), latest_start[i + machines])
                       : deadline_of(workers[i]);
    latest_start[i] = end - takes;
  }
  const auto free = machines - std::min(machines, replacing);
  for (size_t i = 0; i < n; ++i) {
    const auto& x = workers[i];
    if (result.start.size() < free && result.start.size() == i
        && latest_start[i] <= settings_.margin_seconds) {
      result.start.push_back(x.slot);
      continue;
    }
    // Holding takes no time, so it begins at the last moment.
    if (x.jobs_left <= 1)
      result.hold.push_back(x.slot);
    else
      result.wait.push_back(x.slot);
  }
  return result;
}

} // namespace ziyu::supervision
