#include "supervision/batch_former.hpp"

#include <algorithm>

namespace ziyu::supervision {

namespace {

/// A job of a batch may take so many times as long as jobs usually do.
constexpr auto patience = 4;

} // namespace

uint32_t batch_former::most_jobs(uint32_t slot_takes, size_t waiting, size_t free_slots) const {
  const auto slots = std::max<size_t>(free_slots, 1);
  const auto share = (waiting + slots - 1) / slots;
  auto most = std::min<size_t>({share, slot_takes, settings_.max_jobs});
  // Their time must fit into the longest time limit.
  if (usual_.count() > 0)
    most = std::min<size_t>(most, static_cast<size_t>(1 + settings_.timeout / (patience * usual_)));
  return static_cast<uint32_t>(std::max<size_t>(most, 1));
}

std::chrono::milliseconds batch_former::time_limit(size_t jobs) const {
  using std::chrono::milliseconds;
  const auto others = static_cast<int64_t>(std::max<size_t>(jobs, 1) - 1);
  const auto more = std::chrono::duration_cast<milliseconds>(others * patience * usual_);
  return settings_.timeout + std::min(more, settings_.timeout);
}

void batch_former::ended(size_t jobs, std::chrono::microseconds took) {
  const auto each = took / static_cast<int64_t>(std::max<size_t>(jobs, 1));
  // Slow jobs are believed at once, fast ones by and by.
  usual_ = each > usual_ ? each : usual_ - (usual_ - each) / 8;
}

} // namespace ziyu::supervision
