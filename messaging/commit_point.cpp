#include "messaging/commit_point.hpp"

#include <algorithm>

namespace ziyu::messaging {

std::optional<committed_state> within(committed_state x, int64_t end) {
  if (x.next > end)
    return std::nullopt;
  auto& ranges = x.map.finished;
  std::erase_if(ranges, [end](const offset_range& r) { return r.first >= end; });
  if (!ranges.empty())
    ranges.back().past = std::min(ranges.back().past, end);
  x.map.attempts.erase(x.map.attempts.lower_bound(end), x.map.attempts.end());
  return x;
}

} // namespace ziyu::messaging
