#pragma once

#include "messaging/record.hpp"

#include <deque>
#include <functional>
#include <string>
#include <unordered_map>

namespace ziyu::actors {

/// Remembers (as hashes) the latest `capacity` job ids and the records that they
/// came with. Pure; not thread-safe.
class recent_ids {
public:
  explicit recent_ids(size_t capacity) : capacity_(capacity) {}

  /// Notes that `source` carries job `id`; true if another record did so before.
  /// The same record fetched again is no duplicate.
  bool seen_elsewhere(const std::string& id, const messaging::record_id& source) {
    const auto hash = std::hash<std::string>{}(id);
    const auto origin = std::hash<std::string>{}(messaging::to_string(source));
    auto [i, added] = known_.emplace(hash, origin);
    if (!added)
      return i->second != origin;
    order_.push_back(hash);
    if (order_.size() > capacity_) {
      known_.erase(order_.front());
      order_.pop_front();
    }
    return false;
  }

private:
  size_t capacity_;
  std::deque<size_t> order_;
  std::unordered_map<size_t, size_t> known_;
};

} // namespace ziyu::actors
