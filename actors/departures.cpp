// The dispatcher's departures: partitions that go to other instances, in good order or not.

#include "actors/dispatcher.hpp"
#include "base/log.hpp"

#include <algorithm>

namespace ziyu::actors {

void dispatcher_state::depart(std::vector<messaging::topic_partition> going,
                              std::chrono::milliseconds limit, std::function<void(uint64_t)> done) {
  departure x;
  for (auto& where : going)
    if (const auto epoch = ledger.epoch_of(where))
      x.partitions.emplace(std::move(where), *epoch);
  x.deadline = self->clock().now() + limit;
  x.done = std::move(done);
  drop_queued(
    [&x](const job_entry& item) { return x.partitions.contains(item.job.source->id.where()); });
  departures.push_back(std::move(x));
  if (delivery->commits_before_departure())
    want_transaction();
  look_after_departures();
}

/// Results of queued work on these partitions would be useless.
void dispatcher_state::drop_queued(const std::function<bool(const job_entry&)>& gone) {
  for (const auto& item : queue.remove_if(gone)) {
    settings.report->stats().inference_saved.Increment();
    release(item);
  }
}

/// False for a partition that has been assigned anew since.
bool dispatcher_state::departs(const messaging::topic_partition& where, uint64_t epoch) const {
  return std::any_of(departures.begin(), departures.end(), [&](const departure& x) {
    const auto i = x.partitions.find(where);
    return i != x.partitions.end() && i->second == epoch;
  });
}

/// Whether the producer has nothing more of `x`, and no commit is missing.
bool dispatcher_state::is_settled(const departure& x) const {
  const auto at_producer = [this, &x](const auto& item) {
    const auto& [source, epoch] = item.first;
    return x.partitions.contains(source.where()) && ledger.owns(source.where(), epoch)
           && !item.second->held && !item.second->set_aside;
  };
  const auto waits = [this](const auto& part) {
    return ledger.owns(part.first, part.second) && !delivery->may_go(part.first);
  };
  return std::none_of(publishing.begin(), publishing.end(), at_producer)
         && std::none_of(x.partitions.begin(), x.partitions.end(), waits);
}

void dispatcher_state::look_after_departures() {
  const auto now = self->clock().now();
  for (size_t i = 0; i < departures.size();) {
    if (now < departures[i].deadline && !is_settled(departures[i])) {
      ++i;
      continue;
    }
    const auto x = std::move(departures[i]);
    departures.erase(departures.begin() + static_cast<std::ptrdiff_t>(i));
    std::vector<messaging::topic_partition> going;
    // Without partitions that have been assigned anew meanwhile.
    for (const auto& [where, epoch] : x.partitions)
      if (ledger.owns(where, epoch))
        going.push_back(where);
    x.done(hand_back(going, false));
  }
}

uint64_t dispatcher_state::hand_back(const std::vector<messaging::topic_partition>& going,
                                     bool lost) {
  uint64_t count = 0;
  for (const auto& where : going) {
    obey(where, delivery->gone(where, !lost));
    count += ledger.revoke(where).size();
    partitions.erase(where);
    unacknowledged.erase(where);
  }
  // Running jobs run on; their outcomes will be stale.
  auto gone = [this](const job_entry& item) {
    return !ledger.owns(item.job.source->id.where(), item.job.source->epoch);
  };
  drop_queued(gone);
  // If possible, no result appears that the next owner will produce again.
  for (auto i = publishing.begin(); i != publishing.end();) {
    if (!i->second->held || !gone(*i->second)) {
      ++i;
      continue;
    }
    settings.report->stats().withdrawn.Increment();
    const auto item = i->second;
    i = publishing.erase(i);
    item->held.reset();
    release(item);
  }
  send_outbox();
  self->send(neighbours.publisher, withdrawal{going});
  return count;
}

} // namespace ziyu::actors
