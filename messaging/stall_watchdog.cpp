#include "messaging/stall_watchdog.hpp"

namespace ziyu::messaging {

std::string_view to_string(stall_watchdog::remedy x) noexcept {
  switch (x) {
  case stall_watchdog::remedy::seek: return "seek";
  case stall_watchdog::remedy::reopen: return "reopen";
  case stall_watchdog::remedy::escalate: return "escalate";
  }
  return "unknown";
}

std::vector<stall_watchdog::finding> stall_watchdog::observe(
  duration now, const std::vector<partition_view>& views) {
  now_ = now;
  std::vector<finding> result;
  for (const auto& view : views) {
    auto [i, added] = watched_.try_emplace(view.where);
    auto& x = i->second;
    const auto lag = view.log_end - std::max(view.position, int64_t{0});
    const auto waiting = !view.known || (lag > 0 && !view.held);
    if (added || !waiting || view.known != x.known || view.position > x.position) {
      x = {std::max(view.position, x.position), view.known, now, now, 0};
      continue;
    }
    if (now - x.acted < patience_)
      continue;
    x.acted = now;
    const auto what = x.remedies >= 2 || !view.known ? remedy::escalate
                      : x.remedies == 0              ? remedy::seek
                                                     : remedy::reopen;
    ++x.remedies;
    result.push_back(
      {view.where, what, view.position, std::max(lag, int64_t{0}), view.known, now - x.since});
  }
  return result;
}

} // namespace ziyu::messaging
