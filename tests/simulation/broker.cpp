#include "tests/simulation/broker.hpp"

#include <algorithm>

namespace ziyu::simulation {

namespace {

constexpr int64_t session_ms = 6'000;

/// transaction.timeout.ms
constexpr int64_t transaction_ms = 10'000;

} // namespace

broker::broker(timeline& time, job_book& jobs)
  : time_(time), jobs_(jobs), owner_(jobs.partitions()), target_(jobs.partitions()),
    committed_(jobs.partitions()) {
  // nop
}

// -- the group ----------------------------------------------------------------------------

uint64_t broker::join(group_member& x) {
  const auto number = next_member_++;
  members_[number].who = &x;
  time_.note("member {} joins", number);
  rebalance();
  return number;
}

void broker::leave(uint64_t number) {
  if (members_.erase(number) == 0)
    return;
  time_.note("member {} leaves", number);
  std::replace(owner_.begin(), owner_.end(), number, uint64_t{0});
  rebalance();
}

void broker::throw_out(uint64_t number) {
  const auto i = members_.find(number);
  if (i == members_.end())
    return;
  time_.note("member {} is thrown out", number);
  auto who = i->second.who;
  members_.erase(i);
  std::replace(owner_.begin(), owner_.end(), number, uint64_t{0});
  if (who != nullptr)
    who->on_thrown_out();
  rebalance();
}

void broker::forget(uint64_t number) {
  members_.at(number).who = nullptr;
  time_.note("member {} is gone without a word", number);
  time_.after_ms(session_ms, [this, number] { throw_out(number); });
}

std::vector<int32_t> broker::owned_by(uint64_t number) const {
  std::vector<int32_t> xs;
  for (size_t p = 0; p < owner_.size(); ++p)
    if (owner_[p] == number)
      xs.push_back(static_cast<int32_t>(p));
  return xs;
}

void broker::rebalance() {
  std::fill(target_.begin(), target_.end(), 0);
  if (members_.empty())
    return;
  ++rebalances;
  const auto generation = ++generation_;
  std::vector<uint64_t> order;
  for (const auto& [number, x] : members_)
    order.push_back(number);
  for (auto i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[time_.chance().below(i)]);
  for (size_t p = 0; p < target_.size(); ++p)
    target_[p] = order[p % order.size()];
  time_.note("rebalance {} of {} members", generation, order.size());
  for (auto& [number, x] : members_) {
    std::vector<int32_t> back;
    for (auto p : owned_by(number))
      if ((!time_.plan().cooperative || target_[static_cast<size_t>(p)] != number)
          && x.wanted_back.insert(p).second)
        back.push_back(p);
    if (back.empty())
      continue;
    if (x.who != nullptr)
      x.who->on_wanted_back(back);
    time_.after_ms(max_poll_interval_ms, [this, n = number, generation] {
      auto i = members_.find(n);
      if (generation != generation_ || i == members_.end() || i->second.wanted_back.empty())
        return;
      if (i->second.who != nullptr && !time_.plan().has(fault::poll_stall))
        time_.violate("P5", "member " + std::to_string(n)
                              + " loses its place: it has not given up what is wanted back");
      throw_out(n);
    });
  }
  settle();
}

void broker::given_up(uint64_t number, const std::vector<int32_t>& partitions) {
  const auto i = members_.find(number);
  if (i == members_.end())
    return; // left already
  for (auto p : partitions) {
    i->second.wanted_back.erase(p);
    if (owner_[static_cast<size_t>(p)] == number)
      owner_[static_cast<size_t>(p)] = 0;
  }
  settle();
}

void broker::settle() {
  const auto waits = std::any_of(members_.begin(), members_.end(),
                                 [](const auto& x) { return !x.second.wanted_back.empty(); });
  if (waits && !time_.plan().cooperative)
    return; // all give up before any gets one
  for (auto& [number, x] : members_) {
    std::vector<int32_t> granted;
    for (size_t p = 0; p < owner_.size(); ++p)
      if (owner_[p] == 0 && target_[p] == number) {
        owner_[p] = number;
        granted.push_back(static_cast<int32_t>(p));
      }
    changes_ += !granted.empty();
    if (!granted.empty() && x.who != nullptr)
      x.who->on_granted(granted);
  }
}

// -- offsets ---------------------------------------------------------------------------------

void broker::check(const char* what, int32_t partition, const messaging::commit_point& x) {
  auto complain = [&](int64_t open) {
    time_.violate("P1", std::string{what} + " offset " + std::to_string(x.next) + " of partition "
                          + std::to_string(partition) + " passes the unfinished "
                          + std::to_string(open) + ", or its map has it");
  };
  if (auto open = jobs_.first_unfinished(partition, x.next); open >= 0)
    complain(open);
  const auto read = messaging::decode_offset_map(x.metadata, x.next);
  if (!read.ignored.empty())
    time_.violate("P3", "the map of a commit cannot be read: " + read.ignored);
  for (const auto& range : read.map.finished)
    for (auto offset = range.first; offset < range.past; ++offset)
      if (!jobs_.at(partition, offset).finished())
        complain(offset);
}

expected<void> broker::commit(uint64_t number, int32_t partition,
                              const messaging::commit_point& x) {
  if (!reachable || !has_coordinator)
    return fail(errc::kafka, "no coordinator");
  if (members_.count(number) == 0)
    return fail(errc::kafka, "unknown member");
  const auto p = static_cast<size_t>(partition);
  time_.note("member {} commits {}-{}", number, partition, x.next);
  // Kafka itself takes it from any member.
  if (owner_[p] != number)
    time_.violate("P2", "member " + std::to_string(number) + " commits partition "
                          + std::to_string(partition) + ", which it has not");
  if (x.next < committed_[p].next)
    time_.violate("P3", "the offset of partition " + std::to_string(partition) + " goes back from "
                          + std::to_string(committed_[p].next) + " to " + std::to_string(x.next));
  check("the committed", partition, x);
  committed_[p] = {x.next, x.metadata};
  ++commits;
  return {};
}

std::optional<messaging::committed_state> broker::committed(int32_t partition) const {
  if (!reachable || !has_coordinator)
    return std::nullopt;
  // Unstable until each transaction that contains it has ended.
  for (const auto& [id, part] : open_)
    for (const auto& o : part.offsets)
      if (o.where.partition == partition)
        return std::nullopt;
  const auto& x = committed_[static_cast<size_t>(partition)];
  auto read = messaging::decode_offset_map(x.metadata, x.next, jobs_.end(partition));
  return messaging::committed_state{x.next, std::move(read.map), std::move(read.ignored)};
}

bool broker::all_committed() const {
  for (size_t p = 0; p < committed_.size(); ++p)
    if (committed_[p].next != jobs_.end(static_cast<int32_t>(p)))
      return false;
  return true;
}

// -- transactions ----------------------------------------------------------------------------

expected<void> broker::add_offsets(uint64_t id, uint64_t number, uint64_t generation,
                                   std::vector<messaging::offset_commit> offsets) {
  if (members_.count(number) == 0 || generation != this->generation())
    return fail(errc::revoked, "illegal generation");
  // Records that nobody has yet may still come: their reader waits for the transaction's end.
  for (const auto& o : offsets)
    if (const auto owner = owner_[static_cast<size_t>(o.where.partition)];
        owner != number && owner != 0)
      time_.violate("P2", "member " + std::to_string(number) + " commits partition "
                            + std::to_string(o.where.partition)
                            + " in a transaction, which it has "
                              "not");
  open_[id] = {number, std::move(offsets), ++transactions_};
  return {};
}

void broker::end_transaction(uint64_t id, bool committed,
                             const std::vector<messaging::outgoing>& records) {
  auto part = std::move(open_[id]);
  open_.erase(id);
  if (!committed)
    return;
  for (const auto& x : records)
    write(x);
  for (const auto& o : part.offsets) {
    const auto p = static_cast<size_t>(o.where.partition);
    const messaging::commit_point point{o.next, o.metadata, 0};
    time_.note("producer {} commits {}-{}", id, o.where.partition, o.next);
    if (o.next < committed_[p].next)
      time_.violate("P3", "the offset of partition " + std::to_string(p) + " goes back from "
                            + std::to_string(committed_[p].next) + " to " + std::to_string(o.next));
    check("the committed", o.where.partition, point);
    committed_[p] = {o.next, o.metadata};
    ++commits;
  }
}

void broker::forget_transaction(uint64_t id) {
  const auto i = open_.find(id);
  if (i == open_.end())
    return;
  time_.after_ms(transaction_ms, [this, id, number = i->second.number] {
    const auto j = open_.find(id);
    if (j != open_.end() && j->second.number == number)
      open_.erase(j);
  });
}

// -- topics -------------------------------------------------------------------------------------

messaging::record_id broker::write(const messaging::outgoing& x) {
  if (x.topic != events_topic)
    jobs_.on_output(x);
  return {x.topic, 0, written_++};
}

} // namespace ziyu::simulation
