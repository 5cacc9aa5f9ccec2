// The dispatcher's commits: what is finished, how far attempts have begun, which attempts will
// begin, and what waits for them to be on record.

#include "actors/dispatcher.hpp"
#include "base/log.hpp"

namespace ziyu::actors {

using namespace std::chrono_literals;

namespace {

/// How long first attempts wait for the commit that puts them on record. After it they begin
/// without: a job that then kills the service may get one attempt more.
constexpr auto record_patience = 5s;

std::string name_of(const messaging::topic_partition& x) {
  return x.topic + "-" + std::to_string(x.partition);
}

} // namespace

void dispatcher_state::store_progress(const messaging::topic_partition& where) {
  obey(where, delivery->progressed(where));
}

void dispatcher_state::obey(const messaging::topic_partition& where,
                            const messaging::delivery_orders& x) {
  if (x.store)
    store(where, *x.store);
  if (x.transaction)
    want_transaction();
}

void dispatcher_state::want_transaction() {
  send_outbox();
  self->send(neighbours.publisher, atom::commit{});
}

void dispatcher_state::store(const messaging::topic_partition& where,
                             const messaging::commit_point& point) {
  const auto ok = settings.store(where, point);
  if (ok)
    return;
  // Tried again at the next tick.
  ledger.progress_lost(where);
  const auto level = ok.error().code == errc::revoked ? spdlog::level::debug : spdlog::level::warn;
  spdlog::log(level, "offset {} of {} not stored: {}", point.next, name_of(where),
              ok.error().describe());
}

void dispatcher_state::on_committed(const messaging::offsets_committed& x) {
  for (const auto& item : x.items) {
    if (item.failure) {
      delivery->failed(item.where, item.epoch);
      settings.report->stats().commit_failures.Increment();
      spdlog::debug("commit of {} failed: {}", name_of(item.where), item.failure->describe());
      continue;
    }
    if (item.without_map && !std::exchange(map_refused, true))
      settings.report->emit(
        events::commit_map_refused{.topic = item.where.topic, .partition = item.where.partition});
    obey(item.where, delivery->committed(item.where, item.epoch, item.version));
  }
  dispatch();
  look_after_departures();
}

transaction_plan dispatcher_state::plan(const plan_request& x) {
  transaction_plan result;
  std::map<messaging::topic_partition, std::set<int64_t>> finishing;
  for (const auto& item : x.records) {
    const auto where = item.source.where();
    const auto i = publishing.find({item.source, item.epoch});
    const auto ours = i != publishing.end() && ledger.owns(where, item.epoch);
    result.ours.push_back(ours);
    if (ours) {
      finishing[where].insert(item.source.offset);
    } else if (i != publishing.end()) {
      settings.report->stats().withdrawn.Increment();
      const auto gone = i->second;
      publishing.erase(i);
      release(gone);
    }
  }
  std::map<messaging::topic_partition, uint64_t> epochs;
  for (const auto& where : partitions) {
    const auto epoch = ledger.epoch_of(where).value_or(0);
    const auto point = delivery->plan(where, finishing[where], departs(where, epoch));
    if (!point)
      continue;
    epochs.emplace(where, epoch);
    result.offsets.push_back({where, point->next, point->metadata, point->leader_epoch});
    result.points.items.push_back({where, epoch, point->version, std::nullopt, false});
  }
  if (!epochs.empty())
    result.member = settings.membership(epochs);
  look_after_departures();
  finish_drain_if_idle(false);
  return result;
}

void dispatcher_state::look_after_commits() {
  const auto now = self->clock().now();
  std::set<messaging::topic_partition> full;
  uint64_t waiting = 0;
  for (const auto& [where, records] : aside)
    waiting += records;
  const auto too_many = waiting >= settings.max_aside || aside_bytes >= settings.max_aside_bytes;
  for (const auto& where : partitions) {
    obey(where, delivery->looked_after(where));
    if (ledger.congested(where) || (too_many && aside.contains(where)))
      full.insert(where);
    if (!ledger.awaits_mark(where)) {
      unacknowledged.erase(where);
      continue;
    }
    const auto since = unacknowledged.emplace(where, now).first->second;
    if (now - since < record_patience || !ledger.begin_unrecorded(where))
      continue;
    settings.report->stats().unrecorded_attempts.Increment();
    spdlog::warn("no commit of {} has been acknowledged for {} s: first attempts begin without it",
                 name_of(where),
                 std::chrono::duration_cast<std::chrono::seconds>(now - since).count());
  }
  if (full != held) {
    for (const auto& where : full)
      if (!held.contains(where))
        spdlog::warn("intake of {} waits: {}", name_of(where),
                     ledger.congested(where)
                       ? "the map of records finished out of order fills the commit's metadata"
                       : "too many of its results and dead letters are set aside, as their topic "
                         "does not take them");
    settings.credit->hold_partitions(full);
    held = std::move(full);
  }
  if (const auto wrong = ledger.audit(); wrong.empty() != balanced) {
    balanced = wrong.empty();
    if (!balanced)
      settings.report->emit(events::ledger_imbalance{.reason = wrong});
  }
}

} // namespace ziyu::actors
