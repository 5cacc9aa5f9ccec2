// The dispatcher's results and dead letters: what goes to the publisher, and the
// outcome.

#include "actors/dispatcher.hpp"
#include "base/ascii.hpp"
#include "base/log.hpp"

#include <algorithm>

namespace ziyu::actors {

using messaging::record_state;

namespace {

double to_ms(uint64_t us) { return static_cast<double>(us) / 1000.; }

/// True for a header that describes the job's payload. Bridges from HTTP write names in any case.
bool describes_payload(const std::string& header) {
  const auto name = ascii_lower(header);
  return name == "content-type" || name == "ce_datacontenttype" || name == "ce_dataref";
}

/// The headers of a job that go on with its result: all except those that describe the job's own
/// payload.
messaging::header_list carried_headers(const messaging::header_list& from) {
  messaging::header_list result;
  for (const auto& x : from)
    if (!describes_payload(x.first))
      result.push_back(x);
  result.emplace_back("content-type", "application/json");
  return result;
}

} // namespace

void dispatcher_state::publish_result(const entry_ptr& item, const job_outcome& of) {
  auto& env = settings.report->env();
  auto& stats = settings.report->stats();
  const auto& outcome = of.attempt;
  const auto& answer = *of.answer;
  const auto& whole = *outcome.answer;
  messaging::result x;
  x.job_id = item->job.job->id;
  for (const auto& score : answer.top_k)
    x.top_k.push_back({score.label, score.probability, score.index});
  if (outcome.model)
    x.model = *outcome.model;
  x.slot = outcome.slot;
  x.generation = outcome.generation;
  x.pid = outcome.pid;
  x.batch = static_cast<uint32_t>(of.batch);
  const auto queued_us = item->started_us - item->job.fetched_us;
  const auto total_us = env.monotonic_us() - item->job.fetched_us;
  x.queued_ms = to_ms(static_cast<uint64_t>(std::max<int64_t>(queued_us, 0)));
  x.decode_ms = to_ms(answer.decode_us);
  x.preprocess_ms = to_ms(answer.preprocess_us);
  x.inference_ms = to_ms(answer.inference_us);
  x.total_ms = to_ms(static_cast<uint64_t>(std::max<int64_t>(total_us, 0)));
  x.width = answer.width;
  x.height = answer.height;
  x.delta_bytes = whole.delta_live;
  x.live_bytes = whole.memory.live;
  x.private_bytes = outcome.private_bytes;
  x.source = item->job.source->id;
  x.attempt = item->attempts;
  x.duplicate_id = item->duplicate_id;
  x.finished_ms = env.wall_ms();
  stats.queued_seconds.Observe(x.queued_ms / 1000);
  stats.decode_seconds.Observe(x.decode_ms / 1000);
  stats.preprocess_seconds.Observe(x.preprocess_ms / 1000);
  stats.inference_seconds.Observe(x.inference_ms / 1000);
  stats.total_seconds.Observe(x.total_ms / 1000);
  messaging::outgoing content;
  content.topic = settings.results_topic;
  // Byte for byte, so that results go to the same partition as others of the key, and a compacted
  // topic keeps one record of each key.
  content.key = item->job.source->key.value_or(x.job_id);
  content.value = messaging::to_json_text(x);
  content.headers = carried_headers(item->job.source->headers);
  publish(publication_kind::result, item, std::move(content));
}

void dispatcher_state::dead_letter(const entry_ptr& item, const error& reason) {
  auto& env = settings.report->env();
  const auto& source = *item->job.source;
  const auto job_id = item->job.job ? item->job.job->id : messaging::job_id_of(source);
  settings.report->emit(events::dead_lettered{.job_id = job_id,
                                              .source = messaging::to_string(source.id),
                                              .code = std::string{to_string(reason.code)},
                                              .message = reason.message,
                                              .attempts = item->attempts});
  messaging::outgoing content;
  content.topic = settings.dead_letters_topic;
  content.key = source.key;
  if (source.value)
    content.value = *source.value;
  // A replayed job has the reason of its previous dead letter in its headers: it is replaced.
  content.headers = messaging::without_reason(source.headers);
  for (auto& x : messaging::dead_letter_headers(source, reason, item->attempts, env.wall_ms(),
                                                settings.dead_letter_style))
    content.headers.push_back(std::move(x));
  content.headers.emplace_back("ziyu-job-id", job_id);
  item->last_failure = reason;
  publish(publication_kind::dead_letter, item, std::move(content));
}

void dispatcher_state::publish(publication_kind kind, const entry_ptr& item,
                               messaging::outgoing content) {
  const auto& source = *item->job.source;
  ledger.advance(source.id, source.epoch, record_state::publishing);
  publishing[{source.id, source.epoch}] = item;
  publication msg;
  msg.kind = kind;
  msg.content = std::make_shared<const messaging::outgoing>(std::move(content));
  msg.source = source.id;
  msg.epoch = source.epoch;
  // Dead letters have no order among results. Transactions keep the order in which results are
  // given to them, also when they are repeated.
  const auto waits = kind == publication_kind::result && delivery->keeps_order_here();
  if (waits && !queue.may_publish(*item))
    item->held = std::move(msg);
  else
    outbox.records.push_back(std::move(msg));
}

void dispatcher_state::send_outbox() {
  if (!outbox.records.empty())
    self->send(neighbours.publisher, std::exchange(outbox, {}));
}

/// The job is finished except that its topic takes no records. It waits there without credit, so
/// that others are fetched, and its offset is not committed. No job waits behind a dead letter,
/// which has no order.
void dispatcher_state::put_aside(const entry_ptr& item, publication_kind kind) {
  const auto& source = *item->job.source;
  if (item->set_aside || !ledger.owns(source.id.where(), source.epoch))
    return;
  item->set_aside = item->job.credit->bytes();
  item->job.credit.reset();
  aside_bytes += source.bytes();
  ++aside[source.id.where()];
  if (kind == publication_kind::dead_letter) {
    item->job.job.reset(); // the dead letter has all of it
    leave_lane(item);
  }
}

/// The job goes on like any other.
void dispatcher_state::take_back(const entry_ptr& item) {
  const auto bytes = std::exchange(item->set_aside, std::nullopt);
  if (!bytes)
    return;
  const auto& source = *item->job.source;
  aside_bytes -= source.bytes();
  if (const auto i = aside.find(source.id.where()); --i->second == 0)
    aside.erase(i);
  item->job.credit = std::make_shared<credit>(settings.credit, *bytes);
}

void dispatcher_state::leave_lane(const entry_ptr& item) {
  if (std::exchange(item->off_lane, true))
    return;
  if (const auto next = queue.finish(*item)) {
    outbox.records.push_back(std::move(*next->held));
    next->held.reset();
  }
}

void dispatcher_state::on_published(const published_records& x) {
  std::set<messaging::topic_partition> changed;
  for (const auto& each : x.records) {
    settle_published(each);
    changed.insert(each.source.where());
  }
  for (const auto& where : changed)
    store_progress(where);
  send_outbox();
  look_after_departures();
  finish_drain_if_idle(false);
}

void dispatcher_state::settle_published(const published& x) {
  auto i = publishing.find({x.source, x.epoch});
  if (i == publishing.end())
    return;
  if (x.set_aside) {
    put_aside(i->second, x.kind);
    return;
  }
  auto item = std::move(i->second);
  publishing.erase(i);
  auto& stats = settings.report->stats();
  const auto ours = ledger.owns(x.source.where(), x.epoch);
  if (x.refused && ours) {
    take_back(item);
    dead_letter(item, error{errc::result_too_large, x.refused->message});
    return;
  }
  if (x.withdrawn || x.refused) {
    stats.withdrawn.Increment();
    release(item);
    return;
  }
  if (x.kind == publication_kind::result) {
    ++results;
    stats.results_ok.Increment();
  } else {
    ++dead_letters;
    stats.dead_letters.Add({{"code", std::string{to_string(item->last_failure.code)}}}).Increment();
  }
  const auto to = x.kind == publication_kind::result ? record_state::done
                                                     : record_state::dead_lettered;
  if (!ledger.advance(x.source, x.epoch, to))
    stats.stale.Increment();
  release(item);
  set_reachable();
}

bool dispatcher_state::all_published() const {
  return std::all_of(publishing.begin(), publishing.end(),
                     [](const auto& x) { return x.second->set_aside.has_value(); });
}

void dispatcher_state::release(const entry_ptr& item) {
  const auto& id = item->job.source->id;
  take_back(item);
  item->job.credit.reset();
  if (std::exchange(item->unread, false))
    --unread;
  if (const auto i = unfinished.find(item->job.fetched_us); i != unfinished.end())
    unfinished.erase(i);
  announced.erase(id);
  if (isolated == id)
    isolated.reset();
  if (next_suspect == id)
    next_suspect.reset();
  leave_lane(item);
}

} // namespace ziyu::actors
