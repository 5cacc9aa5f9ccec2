#include "supervision/oom_watch.hpp"

#include <algorithm>

namespace ziyu::supervision {

namespace {

/// Bound for the kills counted between two readings.
constexpr uint64_t most_at_once = 1024;

} // namespace

void oom_watch::observe(uint64_t kills, clock::time_point now) {
  const auto before = counter_.value_or(kills);
  counter_ = kills;
  // A counter that has fallen belongs to another cgroup: nothing is known of that one.
  for (auto n = std::min(kills - std::min(before, kills), most_at_once); n > 0; --n)
    unclaimed_.push_back(now);
}

bool oom_watch::claim(clock::time_point now) {
  while (!unclaimed_.empty() && now - unclaimed_.front() >= keep_)
    unclaimed_.pop_front();
  if (unclaimed_.empty())
    return false;
  unclaimed_.pop_front();
  return true;
}

} // namespace ziyu::supervision
