#include "messaging/offset_ledger.hpp"

#include <algorithm>

namespace ziyu::messaging {

namespace {

bool is_final(record_state x) { return x >= record_state::done; }

} // namespace

std::string_view to_string(record_state x) noexcept {
  switch (x) {
  case record_state::queued: return "queued";
  case record_state::running: return "running";
  case record_state::publishing: return "publishing";
  case record_state::done: return "done";
  case record_state::dead_lettered: return "dead_lettered";
  case record_state::handed_back: return "handed_back";
  }
  return "unknown";
}

bool offset_ledger::balance::balanced() const {
  return fetched == published + dead_lettered + handed_back + in_flight;
}

void offset_ledger::assign(const topic_partition& where, uint64_t epoch) {
  revoke(where);
  auto& x = partitions_[where];
  x.epoch = epoch;
  x.assigned = true;
  x.next = x.highest = x.reported = -1;
}

std::vector<record_id> offset_ledger::revoke(const topic_partition& where) {
  std::vector<record_id> open;
  auto i = partitions_.find(where);
  if (i == partitions_.end() || !i->second.assigned)
    return open;
  auto& x = i->second;
  for (const auto& [offset, state] : x.window)
    if (!is_final(state))
      open.push_back({where.topic, where.partition, offset});
  x.sums.handed_back += open.size();
  x.sums.in_flight = 0;
  x.window.clear();
  x.assigned = false;
  return open;
}

bool offset_ledger::owns(const topic_partition& where, uint64_t epoch) const {
  auto i = partitions_.find(where);
  return i != partitions_.end() && i->second.assigned && i->second.epoch == epoch;
}

bool offset_ledger::fetched(const record_id& id, uint64_t epoch) {
  const auto where = id.where();
  if (!owns(where, epoch))
    return false;
  auto& x = partitions_[where];
  if (id.offset <= x.highest)
    return false;
  if (x.next < 0)
    x.next = x.reported = id.offset; // where we began is no progress to report
  x.highest = id.offset;
  x.window.emplace(id.offset, record_state::queued);
  ++x.sums.fetched;
  ++x.sums.in_flight;
  return true;
}

bool offset_ledger::advance(const record_id& id, uint64_t epoch, record_state to) {
  const auto where = id.where();
  if (!owns(where, epoch))
    return false;
  auto& x = partitions_[where];
  auto i = x.window.find(id.offset);
  if (i == x.window.end() || is_final(i->second))
    return false;
  i->second = to;
  if (!is_final(to))
    return true;
  --x.sums.in_flight;
  ++(to == record_state::done            ? x.sums.published
     : to == record_state::dead_lettered ? x.sums.dead_lettered
                                         : x.sums.handed_back);
  // A record that is handed back is not finished here: nothing at or beyond it may
  // be committed.
  while (!x.window.empty()) {
    const auto& [offset, state] = *x.window.begin();
    if (state != record_state::done && state != record_state::dead_lettered)
      break;
    x.window.erase(x.window.begin());
    // Offsets may have gaps (compaction, transaction markers).
    x.next = x.window.empty() ? x.highest + 1 : x.window.begin()->first;
  }
  return true;
}

std::optional<int64_t> offset_ledger::take_committable(const topic_partition& where) {
  auto i = partitions_.find(where);
  if (i == partitions_.end() || !i->second.assigned)
    return std::nullopt;
  auto& x = i->second;
  if (x.next <= x.reported)
    return std::nullopt;
  x.reported = x.next;
  return x.next;
}

offset_ledger::balance offset_ledger::total() const {
  balance sum;
  for (const auto& [where, x] : partitions_) {
    sum.fetched += x.sums.fetched;
    sum.published += x.sums.published;
    sum.dead_lettered += x.sums.dead_lettered;
    sum.handed_back += x.sums.handed_back;
    sum.in_flight += x.sums.in_flight;
  }
  return sum;
}

nlohmann::json offset_ledger::to_json() const {
  auto show = [](const balance& x) {
    return nlohmann::json{{"fetched", x.fetched},
                          {"published", x.published},
                          {"dead_lettered", x.dead_lettered},
                          {"handed_back", x.handed_back},
                          {"in_flight", x.in_flight},
                          {"balanced", x.balanced()}};
  };
  auto list = nlohmann::json::array();
  for (const auto& [where, x] : partitions_) {
    auto item = show(x.sums);
    item["topic"] = where.topic;
    item["partition"] = where.partition;
    item["epoch"] = x.epoch;
    item["assigned"] = x.assigned;
    item["next_offset"] = x.next;
    item["highest_fetched"] = x.highest;
    list.push_back(std::move(item));
  }
  return {{"total", show(total())}, {"partitions", std::move(list)}};
}

} // namespace ziyu::messaging
