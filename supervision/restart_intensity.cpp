#include "supervision/restart_intensity.hpp"

#include <algorithm>

namespace ziyu::supervision {

restart_intensity::restart_intensity(size_t max_restarts, clock::duration period)
  : max_restarts_(max_restarts), period_(period) {
  // nop
}

bool restart_intensity::admit(clock::time_point now) {
  while (!restarts_.empty() && now - restarts_.front() >= period_)
    restarts_.pop_front();
  restarts_.push_back(now);
  return restarts_.size() <= max_restarts_;
}

size_t restart_intensity::recent(clock::time_point now) const {
  return static_cast<size_t>(
    std::count_if(restarts_.begin(), restarts_.end(), [&](auto x) { return now - x < period_; }));
}

} // namespace ziyu::supervision
