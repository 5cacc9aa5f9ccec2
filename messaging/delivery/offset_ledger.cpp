#include "messaging/delivery/offset_ledger.hpp"

#include <algorithm>
#include <ranges>

namespace ziyu::messaging {

namespace {

/// Accounts of ended epochs that a report still shows.
constexpr size_t max_ended_accounts = 64;

constexpr size_t congested_bytes = max_offset_metadata_bytes * 3 / 4;

bool is_final(record_state x) { return x >= record_state::done; }

std::string name_of(const topic_partition& x) {
  return x.topic + "-" + std::to_string(x.partition);
}

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

// -- assignments --------------------------------------------------------------------

void offset_ledger::assign(const topic_partition& where, uint64_t epoch,
                           const std::optional<committed_state>& found) {
  revoke(where);
  auto& x = partitions_[where] = partition{};
  x.epoch = epoch;
  x.assigned = true;
  x.ahead = lookahead_.least;
  if (!found)
    return;
  x.next = found->next;
  x.highest = found->next - 1;
  if (found->leader_epoch >= 0)
    x.leader_epochs.emplace(std::max<int64_t>(found->next - 1, 0), found->leader_epoch);
  x.durable_next = found->next;
  x.restored = found->map;
  x.ignored = found->ignored;
  x.suspects_below = found->map.begun_below.value_or(-1);
  x.restored.begun_below.reset();
  settle_prefix(x);
  extend(x);
}

std::vector<record_id> offset_ledger::revoke(const topic_partition& where) {
  std::vector<record_id> open;
  auto i = partitions_.find(where);
  if (i == partitions_.end() || !i->second.assigned)
    return open;
  auto& x = i->second;
  for (const auto& [offset, record] : x.open)
    if (!is_final(record.state))
      open.push_back({where.topic, where.partition, offset});
  x.sums.handed_back += open.size();
  x.sums.in_flight = 0;
  x.open.clear();
  x.assigned = false;
  ended_sums_ += x.sums;
  ended_.push_back({where, x.epoch, x.sums});
  x.sums = {};
  if (ended_.size() > max_ended_accounts)
    ended_.pop_front();
  return open;
}

const offset_ledger::partition* offset_ledger::current(const topic_partition& where) const {
  auto i = partitions_.find(where);
  return i != partitions_.end() && i->second.assigned ? &i->second : nullptr;
}

offset_ledger::partition* offset_ledger::owned(const topic_partition& where, uint64_t epoch) {
  auto i = partitions_.find(where);
  return i != partitions_.end() && i->second.assigned && i->second.epoch == epoch ? &i->second
                                                                                  : nullptr;
}

std::optional<uint64_t> offset_ledger::epoch_of(const topic_partition& where) const {
  const auto x = current(where);
  return x == nullptr ? std::nullopt : std::optional{x->epoch};
}

bool offset_ledger::owns(const topic_partition& where, uint64_t epoch) const {
  const auto x = current(where);
  return x != nullptr && x->epoch == epoch;
}

// -- records ------------------------------------------------------------------------

arrival offset_ledger::fetched(const record_id& id, uint64_t epoch, int32_t leader_epoch) {
  const auto found = owned(id.where(), epoch);
  if (found == nullptr)
    return arrival::refused;
  auto& x = *found;
  if (!x.any_fetched && (x.next < 0 || id.offset < x.durable_next)) {
    // No commit was known, or the log does not reach it any more and was reset: the commit says
    // nothing about these records.
    x.next = id.offset;
    x.highest = id.offset - 1;
    x.restored = {};
    x.suspects_below = x.begun_below = x.durable_begun_below = -1;
    x.leader_epochs.clear();
  }
  x.any_fetched = true;
  if (id.offset <= x.highest)
    return arrival::refused;
  if (leader_epoch >= 0
      && (x.leader_epochs.empty() || x.leader_epochs.rbegin()->second != leader_epoch))
    x.leader_epochs.emplace(id.offset, leader_epoch);
  const auto finished = id.offset < x.next || x.restored.has_finished(id.offset);
  x.highest = id.offset;
  ++x.sums.fetched;
  if (finished) {
    ++x.sums.already_done;
  } else {
    open_record record;
    if (auto i = x.restored.attempts.find(id.offset); i != x.restored.attempts.end()) {
      record.spent = i->second;
      record.killed_an_owner = id.offset < x.suspects_below;
    }
    x.open.emplace(id.offset, record);
    ++x.sums.in_flight;
  }
  // Keeps only the restored entries that are beyond.
  x.restored.attempts.erase(x.restored.attempts.begin(),
                            x.restored.attempts.upper_bound(id.offset));
  auto& ranges = x.restored.finished;
  while (!ranges.empty() && ranges.front().past <= id.offset + 1)
    ranges.erase(ranges.begin());
  if (!ranges.empty())
    ranges.front().first = std::max(ranges.front().first, id.offset + 1);
  settle_prefix(x);
  extend(x);
  return finished ? arrival::already_done : arrival::fresh;
}

bool offset_ledger::advance(const record_id& id, uint64_t epoch, record_state to) {
  const auto x = owned(id.where(), epoch);
  if (x == nullptr)
    return false;
  auto i = x->open.find(id.offset);
  if (i == x->open.end() || is_final(i->second.state))
    return false;
  i->second.state = to;
  if (!is_final(to))
    return true;
  --x->sums.in_flight;
  ++(to == record_state::done            ? x->sums.published
     : to == record_state::dead_lettered ? x->sums.dead_lettered
                                         : x->sums.handed_back);
  // A record that is handed back is not finished here. It stays open in the map, and no commit
  // passes it.
  if (to != record_state::handed_back) {
    x->open.erase(i);
    settle_prefix(*x);
    ++x->version;
  }
  return true;
}

/// `next` is the first open record, or, if there is none, the offset after the latest fetched
/// record. Offsets between them that were never fetched do not exist (compaction, transaction
/// markers).
void offset_ledger::settle_prefix(partition& x) {
  const auto before = x.next;
  if (!x.open.empty()) {
    x.next = x.open.begin()->first;
  } else {
    x.next = std::max(x.next, x.highest + 1);
    for (const auto& range : x.restored.finished)
      if (range.first <= x.next)
        x.next = std::max(x.next, range.past);
  }
  if (x.next != before)
    ++x.version;
}

// -- attempts -----------------------------------------------------------------------

offset_ledger::open_record* offset_ledger::find(const record_id& id) {
  return const_cast<open_record*>(std::as_const(*this).find(id));
}

const offset_ledger::open_record* offset_ledger::find(const record_id& id) const {
  const auto x = current(id.where());
  if (x == nullptr)
    return nullptr;
  auto i = x->open.find(id.offset);
  return i == x->open.end() ? nullptr : &i->second;
}

uint32_t offset_ledger::spent_attempts(const record_id& id) const {
  const auto r = find(id);
  return r == nullptr ? 0 : r->spent;
}

bool offset_ledger::killed_an_owner(const record_id& id) const {
  const auto r = find(id);
  return r != nullptr && r->killed_an_owner;
}

void offset_ledger::fail_attempt(const record_id& id, uint64_t epoch) {
  const auto x = owned(id.where(), epoch);
  if (x == nullptr)
    return;
  if (auto i = x->open.find(id.offset); i != x->open.end()) {
    ++i->second.spent;
    ++x->version;
  }
}

bool offset_ledger::is_suspect(const partition& x, int64_t offset, const open_record& r) {
  return r.spent > 0 || offset < x.suspects_below;
}

bool offset_ledger::may_begin(const record_id& id) const {
  const auto r = find(id);
  if (r == nullptr)
    return false;
  const auto& x = *current(id.where());
  if (is_suspect(x, id.offset, *r))
    return r->announced > r->spent && r->announced_at <= x.durable;
  return id.offset < x.durable_begun_below;
}

bool offset_ledger::announce(const record_id& id) {
  const auto r = find(id);
  if (r == nullptr)
    return false;
  auto& x = partitions_.find(id.where())->second;
  if (!is_suspect(x, id.offset, *r) || r->announced > r->spent)
    return false;
  r->announced = r->spent + 1;
  r->announced_at = ++x.version;
  x.urgent = true;
  return true;
}

/// Keeps `begun_below` ahead, one extension at a time.
void offset_ledger::extend(partition& x) {
  if (x.begun_at > x.durable || x.highest + 1 + x.ahead / 2 < x.begun_below)
    return;
  x.begun_below = std::max(x.highest + 1 + x.ahead, x.suspects_below);
  x.raised_from = x.highest;
  x.begun_at = ++x.version;
  x.urgent = true;
}

// -- commits ------------------------------------------------------------------------

int32_t offset_ledger::leader_epoch_below(const partition& x, int64_t offset) {
  const auto i = x.leader_epochs.lower_bound(offset);
  return i == x.leader_epochs.begin() ? -1 : std::prev(i)->second;
}

offset_map offset_ledger::map_of(const partition& x, bool leaving) {
  offset_map map;
  auto at = x.next;
  auto add = [&map](int64_t first, int64_t past) {
    if (first >= past)
      return;
    if (!map.finished.empty() && map.finished.back().past == first)
      map.finished.back().past = past;
    else
      map.finished.push_back({first, past});
  };
  for (const auto& [offset, record] : x.open) {
    add(at, offset);
    at = offset + 1;
    const auto attempts = leaving ? record.spent : std::max(record.spent, record.announced);
    if (attempts > 0)
      map.attempts.emplace(offset, attempts);
  }
  if (!x.open.empty())
    add(at, x.highest + 1);
  for (const auto& range : x.restored.finished)
    add(std::max(range.first, x.next), range.past);
  for (const auto& [offset, attempts] : x.restored.attempts)
    if (offset >= x.next && !map.has_finished(offset))
      map.attempts.emplace(offset, attempts);
  if (!leaving && x.begun_below >= x.next)
    map.begun_below = x.begun_below;
  else if (leaving && x.suspects_below > x.next)
    map.begun_below = x.suspects_below; // some suspects are left
  return map;
}

std::optional<commit_point> offset_ledger::point_of(partition& x,
                                                    const std::set<int64_t>& finishing,
                                                    bool leaving) const {
  auto next = x.next;
  auto map = offset_map{};
  if (finishing.empty()) {
    map = map_of(x, leaving);
  } else {
    ++x.version; // the next commit differs, though the ledger learns that only later
    auto then = x;
    for (const auto offset : finishing)
      then.open.erase(offset);
    settle_prefix(then);
    next = then.next;
    map = map_of(then, leaving);
  }
  x.map_bytes = offset_map_bytes(map, next);
  commit_point point{next, encode_offset_map(map, next), x.version};
  point.epoch = x.epoch;
  point.leader_epoch = leader_epoch_below(x, next);
  const auto settled = x.offered == x.durable; // nothing is on its way
  x.offered = x.version;
  point.urgent = std::exchange(x.urgent, false) || leaving;
  if (settled && finishing.empty() && point.next == x.durable_next
      && point.metadata == x.durable_map) {
    // This point has been committed together with a transaction's results.
    settle_version(x, x.version);
    return std::nullopt;
  }
  x.offered_next = point.next;
  x.offered_map = point.metadata;
  return point;
}

std::optional<commit_point> offset_ledger::take_progress(const topic_partition& where,
                                                         const std::set<int64_t>& finishing) {
  if (finishing.empty() && !has_progress(where))
    return std::nullopt;
  return point_of(partitions_.at(where), finishing, false);
}

bool offset_ledger::has_progress(const topic_partition& where) const {
  const auto x = current(where);
  return x != nullptr && x->next >= 0 && x->version > x->offered;
}

bool offset_ledger::is_urgent(const topic_partition& where) const {
  return has_progress(where) && current(where)->urgent;
}

void offset_ledger::progress_lost(const topic_partition& where) {
  auto i = partitions_.find(where);
  if (i == partitions_.end())
    return;
  auto& x = i->second;
  x.offered = x.durable;
  x.urgent = x.begun_at > x.durable
             || std::any_of(x.open.begin(), x.open.end(),
                            [&x](const auto& r) { return r.second.announced_at > x.durable; });
}

std::optional<commit_point> offset_ledger::farewell(const topic_partition& where,
                                                    const std::set<int64_t>& finishing) {
  auto i = partitions_.find(where);
  if (i == partitions_.end() || !i->second.assigned || i->second.next < 0)
    return std::nullopt;
  ++i->second.version;
  return point_of(i->second, finishing, true);
}

void offset_ledger::committed(const topic_partition& where, uint64_t epoch, uint64_t version) {
  const auto x = owned(where, epoch);
  if (x == nullptr || version <= x->durable)
    return;
  if (version == x->offered) {
    x->durable_next = x->offered_next;
    x->durable_map = x->offered_map;
  }
  settle_version(*x, version);
  if (x->next >= 0)
    extend(*x);
  // Drops entries that will not be needed: all but the last one below the committed offset.
  auto& leaders = x->leader_epochs;
  const auto past = leaders.lower_bound(x->durable_next);
  if (past != leaders.begin())
    leaders.erase(leaders.begin(), std::prev(past));
}

void offset_ledger::settle_version(partition& x, uint64_t version) const {
  x.durable = version;
  if (x.begun_at > version || x.durable_begun_below == x.begun_below)
    return;
  x.durable_begun_below = x.begun_below;
  x.ahead = std::clamp(4 * (x.highest - x.raised_from), lookahead_.least, lookahead_.most);
}

bool offset_ledger::awaits_mark(const topic_partition& where) const {
  const auto x = current(where);
  return x != nullptr && x->begun_at > x->durable;
}

bool offset_ledger::begin_unrecorded(const topic_partition& where) {
  auto i = partitions_.find(where);
  if (i == partitions_.end() || !i->second.assigned)
    return false;
  auto& x = i->second;
  const auto waited = x.durable_begun_below <= x.highest;
  // Far enough ahead that the next call has nothing to do.
  x.begun_below = std::max(x.begun_below, x.highest + 1 + x.ahead);
  x.durable_begun_below = x.begun_below;
  return waited;
}

bool offset_ledger::congested(const topic_partition& where) const {
  const auto x = current(where);
  return x != nullptr && x->map_bytes > congested_bytes && x->restored.finished.empty();
}

// -- the account --------------------------------------------------------------------

offset_ledger::balance offset_ledger::total() const {
  auto sum = ended_sums_;
  for (const auto& [where, x] : partitions_)
    sum += x.sums;
  return sum;
}

std::optional<offset_ledger::progress> offset_ledger::progress_of(
  const topic_partition& where) const {
  const auto x = current(where);
  if (x == nullptr)
    return std::nullopt;
  return progress{x->sums.in_flight, x->any_fetched ? x->highest + 1 : x->next};
}

std::string offset_ledger::audit() const {
  if (!ended_sums_.balanced() || ended_sums_.in_flight != 0)
    return "the sum of the ended epochs does not add up: " + to_json(ended_sums_).dump();
  for (const auto& [where, x] : partitions_) {
    const auto open = std::count_if(x.open.begin(), x.open.end(),
                                    [](const auto& r) { return !is_final(r.second.state); });
    if (!x.sums.balanced() || x.sums.in_flight != static_cast<uint64_t>(open))
      return name_of(where) + " in epoch " + std::to_string(x.epoch) + " does not add up: "
             + to_json(x.sums).dump() + ", with " + std::to_string(open) + " open records";
  }
  return {};
}

ledger_report offset_ledger::report() const {
  ledger_report result;
  result.total = total();
  for (const auto& [where, x] : partitions_)
    if (x.assigned)
      result.partitions.push_back(
        {where, x.epoch, x.sums,
         ledger_report::place{.next_offset = x.next,
                              .highest_fetched = x.any_fetched ? x.highest : -1,
                              .committed_offset = x.durable_next,
                              .map_bytes = x.map_bytes,
                              .commit_pending = x.version > x.durable,
                              .map_ignored = x.ignored}});
  for (auto i = ended_.rbegin(); i != ended_.rend(); ++i)
    result.partitions.push_back({i->where, i->epoch, i->sums, std::nullopt});
  return result;
}

} // namespace ziyu::messaging
