#include "supervision/restart_intensity.hpp"

#include <algorithm>

namespace ziyu::supervision {

restart_intensity::restart_intensity(size_t max_restarts, clock::duration period)
  : max_restarts_(max_restarts), period_(period) {
  // nop
}

void restart_intensity::forget_old(clock::time_point now) {
  while (!restarts_.empty() && now - restarts_.front().when >= period_)
    restarts_.pop_front();
  std::erase_if(excused_early_, [&](const auto& x) { return now - x.second >= period_; });
}

bool restart_intensity::admit(clock::time_point now, std::optional<child> who) {
  forget_old(now);
  const auto excused = who && excused_early_.erase(*who) > 0;
  restarts_.push_back({now, who, excused});
  return recent(now) <= max_restarts_;
}

void restart_intensity::excuse(child who, clock::time_point now) {
  forget_old(now);
  const auto i = std::find_if(restarts_.begin(), restarts_.end(),
                              [&](const restart& x) { return x.who == who; });
  if (i != restarts_.end())
    i->excused = true;
  else
    excused_early_[who] = now;
}

bool restart_intensity::accuse(child who, clock::time_point now) {
  forget_old(now);
  excused_early_.erase(who);
  for (auto& x : restarts_)
    if (x.who == who)
      x.excused = false;
  return recent(now) <= max_restarts_;
}

size_t restart_intensity::recent(clock::time_point now) const {
  return static_cast<size_t>(
    std::count_if(restarts_.begin(), restarts_.end(),
                  [&](const restart& x) { return !x.excused && now - x.when < period_; }));
}

} // namespace ziyu::supervision
