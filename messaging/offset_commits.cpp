#include "messaging/offset_commits.hpp"

#include "messaging/kafka_membership.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace ziyu::messaging {

namespace {

/// The pause after a failed commit.
constexpr std::chrono::milliseconds commit_retry{200};

constexpr auto poller_only = "only the thread that polls a consumer commits with it";

} // namespace

offset_commits::offset_commits(rd_kafka_t* client, doorbell& bell,
                               std::chrono::milliseconds interval)
  : client_(client), bell_(bell), answers_(rd_kafka_queue_new(client)), interval_(interval),
    next_(clock::now() + interval) {
  bell_.ring_for(answers_.get());
}

offset_commits::~offset_commits() {
  rd_kafka_queue_io_event_enable(answers_.get(), -1, nullptr, 0);
}

// -- whose they are -----------------------------------------------------------------------

void offset_commits::own(const std::vector<topic_partition>& partitions, uint64_t epoch) {
  std::lock_guard guard{mutex_};
  for (const auto& where : partitions) {
    epochs_[where] = epoch;
    pending_.erase(where); // belongs to an earlier epoch
  }
}

void offset_commits::disown(const std::vector<topic_partition>& partitions) {
  std::lock_guard guard{mutex_};
  for (const auto& where : partitions) {
    epochs_.erase(where);
    pending_.erase(where);
  }
}

void offset_commits::disown_all() {
  std::lock_guard guard{mutex_};
  epochs_.clear();
  pending_.clear();
}

bool offset_commits::owns(const topic_partition& where) const {
  std::lock_guard guard{mutex_};
  return epochs_.contains(where);
}

void offset_commits::close() {
  std::lock_guard guard{mutex_};
  closed_ = true;
}

// -- commits --------------------------------------------------------------------------------

expected<void> offset_commits::store(const topic_partition& where, commit_point point) {
  std::lock_guard guard{mutex_};
  auto i = epochs_.find(where);
  if (i == epochs_.end())
    return fail(errc::revoked,
                where.topic + "-" + std::to_string(where.partition) + " is not assigned to us");
  if (point.epoch != 0 && point.epoch != i->second)
    return fail(errc::revoked, where.topic + "-" + std::to_string(where.partition)
                                 + " was assigned to us anew meanwhile");
  urgent_ = urgent_ || point.urgent;
  pending_.insert_or_assign(where, pending{std::move(point), i->second, false});
  if (urgent_)
    bell_.ring();
  return {};
}

std::shared_ptr<const group_membership> offset_commits::membership(
  const std::map<topic_partition, uint64_t>& epochs) const {
  // Under the lock that `disown` takes: meanwhile the group cannot go on to a generation in which
  // one of them is not ours.
  std::lock_guard guard{mutex_};
  if (closed_) // a closed group answers no question
    return nullptr;
  for (const auto& [where, epoch] : epochs)
    if (const auto i = epochs_.find(where); i == epochs_.end() || i->second != epoch)
      return nullptr;
  return membership_of(client_);
}

expected<void> offset_commits::commit(std::chrono::milliseconds limit) {
  poller_.check(poller_only);
  const auto deadline = clock::now() + limit;
  // Waits for the commit under way first: an older commit must not overtake this one.
  auto answered = await_answer(deadline);
  last_failure_.reset();
  if (answered) {
    send(false);
    answered = await_answer(deadline);
  }
  if (answered && any_without_map()) {
    last_failure_.reset();
    send(true);
    answered = await_answer(deadline);
  }
  if (!answered)
    return fail(errc::timeout,
                "no answer to a commit within " + std::to_string(limit.count()) + " ms");
  if (last_failure_)
    return tl::unexpected(*last_failure_);
  return {};
}

bool offset_commits::any_without_map() const {
  std::lock_guard guard{mutex_};
  return std::any_of(pending_.begin(), pending_.end(),
                     [](const auto& x) { return x.second.without_map; });
}

bool offset_commits::await_answer(clock::time_point deadline) {
  for (;;) {
    bell_.reset();
    take_answers();
    const auto left = deadline - clock::now();
    if (in_flight_.empty() || left <= clock::duration{})
      return in_flight_.empty();
    bell_.wait(std::chrono::ceil<std::chrono::milliseconds>(left));
  }
}

std::optional<consumer_event> offset_commits::next_answer() {
  poller_.check(poller_only);
  take_answers();
  if (news_.empty())
    return std::nullopt;
  auto x = std::move(news_.front());
  news_.pop_front();
  return x;
}

offset_commits::clock::time_point offset_commits::due() {
  poller_.check(poller_only);
  return in_flight_.empty() ? next_ : clock::time_point::max();
}

void offset_commits::send_if_due() {
  poller_.check(poller_only);
  if (!in_flight_.empty())
    return;
  const auto now = clock::now();
  {
    std::lock_guard guard{mutex_};
    if (now < (urgent_ ? not_before_ : std::max(next_, not_before_)))
      return;
  }
  send(false);
}

/// Commits explicitly, with metadata: rd_kafka_offsets_store drops metadata before 2.2.0.
void offset_commits::send(bool without_map_only) {
  next_ = clock::now() + interval_;
  {
    std::lock_guard guard{mutex_};
    urgent_ = false;
    for (auto i = pending_.begin(); i != pending_.end();) {
      if (without_map_only && !i->second.without_map) {
        ++i;
        continue;
      }
      in_flight_.insert(std::move(*i));
      i = pending_.erase(i);
    }
  }
  if (in_flight_.empty())
    return;
  partition_list_ptr list{rd_kafka_topic_partition_list_new(static_cast<int>(in_flight_.size()))};
  for (const auto& [where, x] : in_flight_) {
    auto item = rd_kafka_topic_partition_list_add(list.get(), where.topic.c_str(), where.partition);
    item->offset = x.point.next;
    if (x.point.leader_epoch >= 0)
      set_leader_epoch(*item, x.point.leader_epoch);
    if (x.without_map || x.point.metadata.empty())
      continue;
    item->metadata_size = x.point.metadata.size();
    item->metadata = std::malloc(item->metadata_size); // the list frees it
    std::memcpy(item->metadata, x.point.metadata.data(), item->metadata_size);
  }
  const auto status = rd_kafka_commit_queue(client_, list.get(), answers_.get(), nullptr, nullptr);
  if (status != RD_KAFKA_RESP_ERR_NO_ERROR)
    on_answer(status, nullptr);
}

void offset_commits::take_answers() {
  while (event_ptr event{rd_kafka_queue_poll(answers_.get(), 0)})
    if (rd_kafka_event_type(event.get()) == RD_KAFKA_EVENT_OFFSET_COMMIT)
      on_answer(rd_kafka_event_error(event.get()),
                rd_kafka_event_topic_partition_list(event.get()));
}

void offset_commits::on_answer(rd_kafka_resp_err_t overall, rd_kafka_topic_partition_list_t* list) {
  offsets_committed news;
  auto sent = std::exchange(in_flight_, {});
  std::lock_guard guard{mutex_};
  for (auto& [where, x] : sent) {
    auto status = overall;
    if (auto item = list == nullptr ? nullptr
                                    : rd_kafka_topic_partition_list_find(list, where.topic.c_str(),
                                                                         where.partition))
      status = item->err != RD_KAFKA_RESP_ERR_NO_ERROR ? item->err : overall;
    offsets_committed::item item{where, x.epoch, x.point.version, std::nullopt, x.without_map};
    if (status != RD_KAFKA_RESP_ERR_NO_ERROR) {
      last_failure_ = to_error(status,
                               "commit of " + where.topic + "-" + std::to_string(where.partition));
      item.failure = last_failure_;
      not_before_ = clock::now() + commit_retry;
      // A broker may be configured for less than the default of 4096 bytes.
      x.without_map = x.without_map || status == RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE;
      if (x.without_map)
        not_before_ = {};
      urgent_ = urgent_ || x.point.urgent || x.without_map;
      if (auto i = epochs_.find(where); i != epochs_.end() && i->second == x.epoch) {
        const auto without_map = x.without_map;
        // Repeats it without the map, unless there is a newer one, which the broker would refuse as
        // well.
        auto& next = pending_.try_emplace(where, std::move(x)).first->second;
        next.without_map = next.without_map || without_map;
      }
    }
    news.items.push_back(std::move(item));
  }
  news_.emplace_back(std::move(news));
}

} // namespace ziyu::messaging
