// The dispatcher's intake: records that are fetched, partitions that are assigned and revoked.

#include "actors/decoder.hpp"
#include "actors/dispatcher.hpp"
#include "base/log.hpp"

namespace ziyu::actors {

namespace {

/// How long a revocation waits for the acknowledgement of the records at the producer. The group
/// waits meanwhile; without the wait others would do the same jobs again.
constexpr std::chrono::milliseconds departure_limit{2'000};

/// Whether there is no content to read, so that the record is certainly bad input.
bool holds_nothing(const messaging::record& x) {
  return (!x.value || x.value->empty()) && !messaging::find_header(x.headers, "ce_dataref");
}

} // namespace

void dispatcher_state::note_id(job_entry& x, const std::string& id) {
  const auto& source = x.job.source->id;
  x.duplicate_id = seen.seen_elsewhere(id, source);
  if (!x.duplicate_id)
    return;
  settings.report->stats().duplicate_ids.Increment();
  spdlog::debug("job id seen before: job={} source={}", id, messaging::to_string(source));
}

void dispatcher_state::on_fetched(fetched_jobs& x) {
  std::set<messaging::topic_partition> changed;
  for (auto& each : x.jobs) {
    changed.insert(each.source->id.where());
    take_in(std::move(each));
  }
  for (const auto& where : changed)
    store_progress(where); // the mark may have to move on
  dispatch();
}

void dispatcher_state::take_in(fetched_job x) {
  auto& stats = settings.report->stats();
  stats.fetched.Increment();
  const auto id = x.source->id;
  const auto epoch = x.source->epoch;
  const auto ours = !draining && !departs(id.where(), epoch) && ledger.owns(id.where(), epoch);
  const auto verdict = ours ? ledger.fetched(id, epoch, x.source->leader_epoch)
                            : messaging::arrival::refused;
  if (verdict != messaging::arrival::fresh) {
    if (!ours)
      stats.inference_saved.Increment();
    else if (verdict == messaging::arrival::already_done)
      stats.already_done.Increment();
    return;
  }
  auto item = std::make_shared<job_entry>();
  item->job = std::move(x);
  unfinished.insert(item->job.fetched_us);
  item->attempts = ledger.spent_attempts(id);
  const auto& source = *item->job.source;
  if (!item->job.job && holds_nothing(source))
    item->job.reason = decode(source, settings.limits).reason;
  if (item->job.reason) {
    dead_letter(item, *item->job.reason);
    return;
  }
  if (item->attempts >= settings.max_attempts) {
    dead_letter(
      item,
      error{errc::max_attempts,
            std::to_string(item->attempts)
              + " attempts failed before; the instance that made the last one ended during it"});
    return;
  }
  item->unread = !item->job.job && !messaging::is_plain_image(source);
  unread += item->unread;
  // An id inside the content is known only after it is read.
  if (!item->unread)
    note_id(*item, item->job.job ? item->job.job->id : messaging::job_id_of(source));
  queue.push(std::move(item));
}

void dispatcher_state::on_assigned(const messaging::partitions_assigned& x) {
  // Too late for a member that leaves: the partitions would not be revoked from it.
  if (draining)
    return;
  events::partitions_assigned told{.partitions = x.partitions.size(), .epoch = x.epoch};
  for (const auto& where : x.partitions) {
    if (ledger.epoch_of(where)) // its log went back: what is known is of other records
      hand_back({where}, true);
    const auto found = x.committed.find(where);
    if (found == x.committed.end()) {
      ledger.assign(where, x.epoch);
    } else {
      const auto& map = found->second.map;
      for (const auto& range : map.finished)
        told.finished_beyond_offsets += static_cast<uint64_t>(range.past - range.first);
      told.records_with_attempts += map.attempts.size();
      told.partitions_of_dead_owners += map.begun_below.has_value();
      if (!found->second.ignored.empty())
        told.maps_ignored.push_back({where.topic, where.partition, found->second.ignored});
      ledger.assign(where, x.epoch, found->second);
    }
    partitions.insert(where);
    unacknowledged.erase(where);
    obey(where, delivery->assigned(where));
  }
  assigned = true;
  set_reachable();
  settings.report->emit(std::move(told));
}

void dispatcher_state::on_revoked(const messaging::partitions_revoked& x,
                                  std::function<void()> done) {
  const auto tell = [this, x](uint64_t handed_back) {
    settings.report->emit(events::partitions_revoked{
      .partitions = x.partitions.size(), .lost = x.lost, .handed_back = handed_back});
  };
  if (x.lost) {
    assigned = false; // out of the group until it is joined again
    tell(hand_back(x.partitions, true));
    done();
    look_after_departures();
    return;
  }
  depart(x.partitions, departure_limit, [tell, done = std::move(done)](uint64_t handed_back) {
    tell(handed_back);
    done();
  });
}

void dispatcher_state::on_consumer_failed(const error& reason) {
  if (trouble.empty())
    settings.report->emit(events::broker_unavailable{.reason = reason.message});
  trouble = reason.message;
  if (reason.code == errc::kafka_fatal) {
    // A fresh consumer joins the group anew; the previous one's assignment is over.
    assigned = false;
    messaging::partitions_revoked gone;
    gone.partitions.assign(partitions.begin(), partitions.end());
    gone.lost = true;
    on_revoked(gone, [] {});
  }
}

void dispatcher_state::set_reachable() {
  if (trouble.empty())
    return;
  trouble.clear();
  settings.report->emit(events::broker_available{});
}

} // namespace ziyu::actors
