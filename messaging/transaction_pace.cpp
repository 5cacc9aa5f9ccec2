#include "messaging/transaction_pace.hpp"

#include <algorithm>

namespace ziyu::messaging {

namespace {

/// Weight of the latest commit; as RFC 6298 smooths round trips.
constexpr double newest = 0.125;

} // namespace

transaction_pace::transaction_pace(settings x)
  : settings_(x), interval_(x.min_interval), max_records_(x.max_records) {
  // nop
}

bool transaction_pace::fits(uint64_t records, uint64_t bytes) const {
  return records < max_records_ && bytes < settings_.max_bytes;
}

bool transaction_pace::due(uint64_t records, uint64_t bytes, duration rest) const {
  return records > 0 && (rest >= interval_ || !fits(records, bytes));
}

void transaction_pace::committed(uint64_t records, duration time) {
  const auto ms = static_cast<double>(time.count());
  commit_ms_ = commit_ms_ == 0 ? ms : (1 - newest) * commit_ms_ + newest * ms;
  const auto wanted = commit_ms_ * (1 - settings_.share) / settings_.share;
  interval_ = std::clamp(duration{static_cast<duration::rep>(wanted)}, settings_.min_interval,
                         settings_.max_interval);
  if (records >= max_records_)
    max_records_ = std::min(2 * max_records_, settings_.max_records);
}

void transaction_pace::aborted() {
  max_records_ = std::max(max_records_ / 2, settings_.min_records);
}

} // namespace ziyu::messaging
