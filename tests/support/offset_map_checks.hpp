#pragma once

#include "messaging/offset_map.hpp"

#include <limits>

namespace ziyu::test {

/// Whether a decoded map has the properties that the ledger relies on, whatever the metadata
/// was.
inline bool is_sound(const messaging::decoded_offset_map& x, int64_t base) {
  if (!x.ignored.empty())
    return x.map.empty();
  auto at = base; // the committed offset itself is open
  for (const auto& range : x.map.finished) {
    if (range.first <= at || range.past <= range.first)
      return false;
    at = range.past;
  }
  for (const auto& [offset, count] : x.map.attempts)
    if (offset < base || count == 0 || x.map.has_finished(offset))
      return false;
  return !x.map.begun_below || *x.map.begun_below >= base;
}

} // namespace ziyu::test
