// The dispatcher's commits: what is finished, how far has been begun, which attempts are
// about to begin, and what waits for them to be on record.

#include "actors/dispatcher.hpp"
#include "base/log.hpp"

namespace ziyu::actors {

using namespace std::chrono_literals;

namespace {

/// What first attempts wait for the commit that puts them on record. After it work goes on
/// without: a job that kills the service then may get an attempt more.
constexpr auto record_patience = 5s;

std::string name_of(const messaging::topic_partition& x) {
  return x.topic + "-" + std::to_string(x.partition);
}

} // namespace

void dispatcher_state::store_progress(const messaging::topic_partition& where) {
  if (const auto point = ledger.take_progress(where))
    store(where, *point);
}

void dispatcher_state::store(const messaging::topic_partition& where,
                             const messaging::commit_point& point) {
  const auto ok = settings.store(where, point);
  if (ok)
    return;
  // The next tick tries again.
  ledger.progress_lost(where);
  const auto level = ok.error().code == errc::revoked ? spdlog::level::debug : spdlog::level::warn;
  spdlog::log(level, "offset {} of {} not stored: {}", point.next, name_of(where),
              ok.error().describe());
}

void dispatcher_state::on_committed(const messaging::offsets_committed& x) {
  for (const auto& item : x.items) {
    if (item.failure) {
      // The consumer tries again as long as the partition is ours.
      settings.report->stats().commit_failures.Increment();
      spdlog::debug("commit of {} failed: {}", name_of(item.where), item.failure->describe());
      continue;
    }
    if (item.without_map && !std::exchange(map_refused, true))
      settings.report->emit(spdlog::level::warn, "commit_map_refused",
                            {{"topic", item.where.topic}, {"partition", item.where.partition}});
    ledger.committed(item.where, item.epoch, item.version);
    store_progress(item.where);
  }
  dispatch();
}

void dispatcher_state::look_after_commits() {
  const auto now = self->clock().now();
  std::set<messaging::topic_partition> full;
  for (const auto& where : partitions) {
    store_progress(where);
    if (ledger.congested(where))
      full.insert(where);
    if (!ledger.awaits_mark(where)) {
      unacknowledged.erase(where);
      continue;
    }
    const auto since = unacknowledged.emplace(where, now).first->second;
    if (now - since < record_patience || !ledger.begin_unrecorded(where))
      continue;
    settings.report->stats().unrecorded_attempts.Increment();
    spdlog::warn("no commit of {} has been acknowledged for {} s: first attempts go on without",
                 name_of(where),
                 std::chrono::duration_cast<std::chrono::seconds>(now - since).count());
  }
  if (full != held) {
    for (const auto& where : full)
      if (!held.contains(where))
        spdlog::warn("intake of {} waits: the map of what is finished out of order fills its "
                     "commit's metadata",
                     name_of(where));
    settings.credit->hold_partitions(full);
    held = std::move(full);
  }
  if (const auto wrong = ledger.audit(); wrong.empty() != balanced) {
    balanced = wrong.empty();
    if (!balanced)
      settings.report->emit(spdlog::level::critical, "ledger_imbalance", {{"reason", wrong}});
  }
}

} // namespace ziyu::actors
