#include "tests/simulation/clients.hpp"

#include <algorithm>

namespace ziyu::simulation {

namespace {

constexpr int64_t commit_interval_us = 1'000'000;

/// The client reports a missing broker after so long.
constexpr int64_t tell_down_after_us = 1'000'000;

/// A partition that nothing holds back brings its records within so many polls.
constexpr uint32_t max_vain_polls = 500;

std::vector<messaging::topic_partition> name(const std::vector<int32_t>& partitions) {
  std::vector<messaging::topic_partition> xs;
  xs.reserve(partitions.size());
  for (auto p : partitions)
    xs.push_back({jobs_topic, p});
  return xs;
}

} // namespace

bool assignments::was_finished(const messaging::record_id& x, uint64_t epoch) const {
  const auto i = found.find({epoch, x.partition});
  return i != found.end() && (x.offset < i->second.next || i->second.map.has_finished(x.offset));
}

simulated_consumer::simulated_consumer(timeline& time, broker& where,
                                       std::shared_ptr<assignments> known)
  : time_(time), broker_(where), known_(std::move(known)), polled_us_(time.now()) {
  rejoin();
}

simulated_consumer::~simulated_consumer() {
  if (!closed_)
    vanish();
}

void simulated_consumer::rejoin() {
  // A member finds its coordinator, sends its request, and waits for the others.
  time_.after_ms(time_.chance().between(1, 100), life_.guard([this] {
    if (closed_ || fatal_ || member_ != 0)
      return;
    if (!broker_.reachable || !broker_.has_coordinator)
      return rejoin();
    member_ = broker_.join(*this);
  }));
}

// -- the coordinator's word --------------------------------------------------------------------

void simulated_consumer::on_granted(const std::vector<int32_t>& partitions) {
  changes_.push_back({partitions, true, false});
}

void simulated_consumer::on_wanted_back(const std::vector<int32_t>& partitions) {
  changes_.push_back({partitions, false, false});
}

void simulated_consumer::on_thrown_out() {
  // The next heartbeat tells it. Until then it goes on as before.
  time_.after_ms(time_.chance().between(0, 3'000), life_.guard([this] {
    if (closed_)
      return;
    member_ = 0;
    changes_.clear();
    std::vector<int32_t> gone;
    for (const auto& [p, x] : mine_)
      gone.push_back(p);
    if (gone.empty())
      rejoin();
    else
      changes_.push_back({std::move(gone), false, true});
  }));
}

// -- the port ------------------------------------------------------------------------------------

messaging::consumer_event simulated_consumer::poll(std::chrono::milliseconds) {
  polled_us_ = time_.now();
  if (fatal_) {
    time_.note("consumer of member {} is broken", member_);
    return messaging::consumer_failed{{errc::kafka_fatal, "by the seed"}};
  }
  if (!broker_.reachable) {
    if (down_since_us_ < 0)
      down_since_us_ = time_.now();
    if (!told_down_ && time_.now() - down_since_us_ >= tell_down_after_us) {
      told_down_ = true;
      return messaging::consumer_failed{{errc::unavailable, "no broker is reachable"}};
    }
  } else {
    down_since_us_ = -1;
    if (std::exchange(told_down_, false))
      return messaging::consumer_recovered{};
  }
  if (time_.now() >= next_commit_us_) {
    next_commit_us_ = time_.now() + commit_interval_us;
    for (auto& [p, x] : mine_)
      commit_stored(p);
  }
  if (!answers_.empty())
    return messaging::offsets_committed{std::exchange(answers_, {})};
  if (!changes_.empty()) {
    auto x = std::move(changes_.front());
    changes_.pop_front();
    return on_change(std::move(x));
  }
  if (auto x = announce())
    return std::move(*x);
  prefetch();
  if (gated_)
    return messaging::nothing{};
  return fetch();
}

messaging::consumer_event simulated_consumer::on_change(change x) {
  if (!x.granted) {
    revoking_ = x.partitions;
    revoking_lost_ = x.lost;
    std::erase_if(x.partitions, [this](int32_t p) { return !mine_[p].announced; });
    time_.note("member {} has to give up {} partitions, lost={}", member_, x.partitions.size(),
               x.lost);
    return messaging::partitions_revoked{known_->latest, name(x.partitions), x.lost};
  }
  const auto epoch = ++known_->latest;
  for (auto p : x.partitions) {
    mine_[p] = {};
    mine_[p].epoch = epoch;
    held_.erase(p);
    stuck_.erase(p);
    given_up_.erase(p);
  }
  time_.note("member {} has {} more partitions, epoch {}", member_, x.partitions.size(), epoch);
  if (x.partitions.empty())
    return messaging::partitions_assigned{epoch, {}, {}};
  return messaging::nothing{};
}

/// Where to begin is told by the coordinator, once it is stable, and by the leader.
std::optional<messaging::consumer_event> simulated_consumer::announce() {
  messaging::partitions_assigned news;
  for (auto& [p, x] : mine_) {
    if (x.announced || !broker_.reachable || broker_.leaderless.count(p) > 0
        || (news.epoch != 0 && news.epoch != x.epoch))
      continue;
    auto found = broker_.committed(p);
    if (!found)
      continue;
    x.announced = true;
    x.position = x.prefetched_past = found->next;
    known_->found[{x.epoch, p}] = *found;
    news.epoch = x.epoch;
    news.partitions.push_back({jobs_topic, p});
    time_.note("member {} begins partition {} at {}, epoch {}", member_, p, found->next, x.epoch);
    news.committed.emplace(news.partitions.back(), std::move(*found));
  }
  if (news.partitions.empty())
    return std::nullopt;
  return news;
}

/// Whether the broker would bring more of it.
bool simulated_consumer::can_fetch(int32_t partition, const assignment& x) const {
  return x.announced && x.prefetched_past < broker_.jobs().end(partition) && broker_.reachable
         && stuck_.count(partition) == 0 && broker_.leaderless.count(partition) == 0;
}

/// Also when gated or held. A batch at a time.
void simulated_consumer::prefetch() {
  if (paused_)
    return;
  for (auto& [p, x] : mine_)
    if (x.position == x.prefetched_past && can_fetch(p, x))
      x.prefetched_past = std::min(broker_.jobs().end(p),
                                   x.position + time_.chance().between(1, 8));
}

void simulated_consumer::drop_prefetched(int32_t partition, assignment& x) {
  while (x.prefetched_past > x.position)
    refetched_bytes_ += broker_.jobs().at(partition, --x.prefetched_past).content.bytes();
}

messaging::consumer_event simulated_consumer::fetch() {
  std::vector<int32_t> some;
  for (auto& [p, x] : mine_) {
    if (held_.count(p) > 0)
      continue;
    if (x.position < x.prefetched_past)
      some.push_back(p);
    else if (!can_fetch(p, x))
      x.vain_polls = 0;
    else if (++x.vain_polls == max_vain_polls)
      time_.violate("P5", "nothing of partition " + std::to_string(p)
                            + " comes, though its records wait and it may be fetched");
  }
  if (some.empty())
    return messaging::nothing{};
  const auto p = some[time_.chance().below(some.size())];
  auto& from = mine_[p];
  from.vain_polls = 0;
  auto& job = broker_.jobs().at(p, from.position++);
  ++job.fetched;
  auto r = job.content;
  r.epoch = from.epoch;
  time_.note("member {} fetches {}-{}, epoch {}", member_, p, r.id.offset, r.epoch);
  return r;
}

void simulated_consumer::pause(bool on) {
  time_.note("member {} pauses: {}", member_, on);
  paused_ = on; // for partitions that come later, too
  broker_.pauses += on;
  if (on)
    for (auto& [p, x] : mine_)
      drop_prefetched(p, x);
}

void simulated_consumer::refetch() {
  for (auto& [p, x] : mine_)
    if (auto from = broker_.committed(p)) {
      x.position = std::min(x.position, from->next);
      x.prefetched_past = x.position;
    }
}

void simulated_consumer::get_stuck(uint64_t which, bool for_good) {
  if (mine_.empty())
    return;
  const auto p = std::next(mine_.begin(), static_cast<int64_t>(which % mine_.size()))->first;
  time_.note("member {} is stuck at partition {}, for good: {}", member_, p, for_good);
  stuck_[p] = for_good;
}

void simulated_consumer::hold(const std::set<messaging::topic_partition>& partitions) {
  held_.clear();
  for (const auto& x : partitions)
    held_.insert(x.partition);
}

std::vector<messaging::partition_view> simulated_consumer::view() {
  std::vector<messaging::partition_view> xs;
  for (const auto& [p, x] : mine_) {
    const auto told = broker_.reachable && broker_.leaderless.count(p) == 0;
    xs.push_back({{jobs_topic, p},
                  x.epoch,
                  x.announced ? x.position : -1,
                  told && x.announced ? broker_.jobs().end(p) : -1,
                  held_.count(p) > 0,
                  x.announced});
  }
  return xs;
}

expected<void> simulated_consumer::seek(const messaging::topic_partition& where, int64_t offset,
                                        std::chrono::milliseconds) {
  if (const auto i = mine_.find(where.partition); i != mine_.end()) {
    drop_prefetched(where.partition, i->second);
    i->second.position = i->second.prefetched_past = offset;
  }
  if (const auto i = stuck_.find(where.partition); i != stuck_.end() && !i->second)
    stuck_.erase(i);
  return {};
}

expected<void> simulated_consumer::store(const messaging::topic_partition& where,
                                         messaging::commit_point point) {
  if (closed_ || fatal_)
    return fail(errc::revoked, "the consumer is closed");
  const auto p = where.partition;
  broker_.check("the stored", p, point);
  const auto i = mine_.find(p);
  if (i == mine_.end()) {
    // For partitions whose loss this consumer itself has reported, no late work is excused.
    if (given_up_.count(p) > 0)
      time_.violate("P2", "offset " + std::to_string(point.next) + " is stored for partition "
                            + std::to_string(p) + ", which was given up");
    return fail(errc::revoked, "not ours");
  }
  time_.note("member {} stores {}-{}", member_, p, point.next);
  if (point.next < i->second.stored_next)
    time_.violate("P3", "the stored offset of partition " + std::to_string(p) + " goes back");
  i->second.stored_next = point.next;
  if (point.urgent)
    next_commit_us_ = time_.now();
  i->second.stored = std::move(point);
  return {};
}

void simulated_consumer::commit_stored(int32_t partition) {
  auto& x = mine_.at(partition);
  if (!x.stored)
    return;
  messaging::offsets_committed::item answer;
  answer.where = {jobs_topic, partition};
  answer.epoch = x.epoch;
  answer.version = x.stored->version;
  if (auto ok = broker_.commit(member_, partition, *x.stored); ok)
    x.stored.reset();
  else
    answer.failure = ok.error();
  answers_.push_back(std::move(answer));
}

std::shared_ptr<const messaging::group_membership> simulated_consumer::membership(
  const std::map<messaging::topic_partition, uint64_t>& epochs) const {
  for (const auto& [where, epoch] : epochs)
    if (const auto i = mine_.find(where.partition); i == mine_.end() || i->second.epoch != epoch)
      return nullptr;
  if (closed_ || member_ == 0)
    return nullptr;
  return std::make_shared<simulated_membership>(member_, broker_.generation());
}

void simulated_consumer::finish_revoke() {
  if (revoking_.empty())
    return;
  for (auto p : revoking_) {
    if (!revoking_lost_ && mine_.count(p) > 0)
      commit_stored(p);
    mine_.erase(p);
    given_up_.insert(p);
  }
  const auto partitions = std::move(revoking_);
  revoking_.clear();
  if (revoking_lost_)
    rejoin();
  else
    broker_.given_up(member_, partitions);
}

expected<void> simulated_consumer::commit(std::chrono::milliseconds) {
  for (auto& [p, x] : mine_)
    commit_stored(p);
  if (std::any_of(mine_.begin(), mine_.end(), [](const auto& x) { return x.second.stored; }))
    return fail(errc::kafka, "not all is committed");
  return {};
}

void simulated_consumer::close(std::chrono::milliseconds) {
  if (std::exchange(closed_, true))
    return;
  if (!fatal_)
    for (auto& [p, x] : mine_)
      commit_stored(p);
  mine_.clear();
  broker_.leave(member_);
}

void simulated_consumer::vanish() {
  if (std::exchange(closed_, true))
    return;
  // The group waits for the session's end before it goes on without it.
  life_.renew();
  if (broker_.is_member(member_))
    broker_.forget(member_);
}

} // namespace ziyu::simulation
