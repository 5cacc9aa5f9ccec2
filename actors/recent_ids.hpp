#pragma once

#include "messaging/record.hpp"

#include <bit>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace ziyu::actors {

/// Remembers (as hashes) the latest `capacity` job ids and the records that they came with.
/// Allocates all of its memory (24 bytes per id) at the start, so that filling it does not look
/// like a leak. Pure; not thread-safe.
class recent_ids {
public:
  /// @param capacity 1 to 2^31.
  explicit recent_ids(size_t capacity)
    : ring_(capacity), table_(std::bit_ceil(2 * capacity), nothing), mask_(table_.size() - 1) {
    // nop
  }

  /// Notes that `source` has job id `id`. True if another record had it before. The same record
  /// fetched again is no duplicate.
  bool seen_elsewhere(const std::string& id, const messaging::record_id& source) {
    const auto hash = std::hash<std::string>{}(id);
    const auto origin = std::hash<std::string>{}(messaging::to_string(source));
    auto place = hash & mask_;
    for (; table_[place] != nothing; place = (place + 1) & mask_)
      if (ring_[table_[place]].id == hash)
        return ring_[table_[place]].origin != origin;
    if (size_ == ring_.size()) {
      forget(next_);
      // The gap may have opened before the place found above.
      for (place = hash & mask_; table_[place] != nothing;)
        place = (place + 1) & mask_;
    } else {
      ++size_;
    }
    ring_[next_] = {hash, origin};
    table_[place] = static_cast<uint32_t>(next_);
    next_ = (next_ + 1) % ring_.size();
    return false;
  }

private:
  struct entry {
    uint64_t id = 0, origin = 0;
  };
  static constexpr uint32_t nothing = UINT32_MAX;

  /// Takes an entry of the ring out of the table. Entries behind it move up (Knuth 6.4, algorithm
  /// R), so that no search ends too early.
  void forget(size_t index) {
    auto gap = ring_[index].id & mask_;
    while (table_[gap] != index)
      gap = (gap + 1) & mask_;
    table_[gap] = nothing;
    for (auto i = (gap + 1) & mask_; table_[i] != nothing; i = (i + 1) & mask_) {
      const auto home = ring_[table_[i]].id & mask_;
      if (((i - home) & mask_) < ((i - gap) & mask_))
        continue; // its home lies behind the gap
      table_[gap] = table_[i];
      table_[i] = nothing;
      gap = i;
    }
  }

  std::vector<entry> ring_;
  std::vector<uint32_t> table_; ///< Open addressing, linear probing; half full at most.
  uint64_t mask_;
  size_t next_ = 0, size_ = 0;
};

} // namespace ziyu::actors
