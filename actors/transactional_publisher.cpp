#include "actors/transactional_publisher.hpp"

#include "actors/undelivered.hpp"
#include "base/log.hpp"

#include <algorithm>

namespace ziyu::actors {

using namespace std::chrono_literals;
using messaging::transaction_end;

namespace {

constexpr auto tick_interval = 100ms;

/// How long each transaction is of one topic only, to find the topic that takes nothing.
constexpr auto apart_for = 60s;

/// …and how long when a refused record is tried again.
constexpr auto apart_for_a_try = 1s;

/// The dispatcher answers from memory.
constexpr auto plan_limit = 5s;

} // namespace

// -- what comes in ------------------------------------------------------------------

void transactional_publisher_state::accept(const publications& x) {
  const auto first = pending.empty();
  for (const auto& each : x.records)
    take(each);
  pump();
  if (first && !pending.empty())
    look_again();
}

void transactional_publisher_state::take(publication x) {
  if (const auto* why = aside.trouble_of(x.content->topic)) {
    tell_set_aside(x, *why);
    aside.take(std::move(x));
    return;
  }
  pending.push(std::move(x));
}

/// When pending records are due, at the latest.
void transactional_publisher_state::look_again() {
  if (state != phase::idle || pending.empty())
    return;
  const auto due_at = ended + pace->interval();
  const auto left = std::max(due_at - self->clock().now(), std::chrono::steady_clock::duration{});
  self->delayed_send(self, std::chrono::ceil<std::chrono::milliseconds>(left), atom::deadline{});
}

void transactional_publisher_state::withdraw(const withdrawal& x) {
  published_records gone;
  const auto goes = [&](const publication& p) {
    if (std::find(x.partitions.begin(), x.partitions.end(), p.source.where()) == x.partitions.end())
      return false;
    gone.records.push_back({p.kind, p.source, p.epoch, true, {}, {}});
    return true;
  };
  pending.remove_if(goes);
  aside.remove_if(goes);
  if (!gone.records.empty())
    self->send(settings.dispatcher, std::move(gone));
  answer_waiting();
}

// -- one transaction ------------------------------------------------------------------

bool transactional_publisher_state::due(std::chrono::steady_clock::time_point now) const {
  if (state != phase::idle || now < not_before)
    return false;
  if (wanted || !waiting.empty())
    return true;
  const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(now - ended);
  return pace->due(pending.size(), pending.bytes(), rest);
}

bool transactional_publisher_state::ensure_producer() {
  if (producer)
    return true;
  auto weak = caf::actor_cast<caf::weak_actor_ptr>(caf::actor_cast<caf::strong_actor_ptr>(self));
  auto made = settings.make([weak](messaging::transaction_report x) {
    if (auto strong = caf::actor_cast<caf::strong_actor_ptr>(weak))
      caf::anon_send(caf::actor_cast<transactional_publisher_actor>(strong), std::move(x));
  });
  if (!made) {
    spdlog::error("no transactional Kafka producer: {}", made.error().describe());
    tell_breaker(*self, settings.dispatcher,
                 watch->fails(made.error().message, backlog(), self->clock().now()));
    put_off(made.error());
    return false;
  }
  producer = std::move(*made);
  return true;
}

void transactional_publisher_state::pump() {
  const auto now = self->clock().now();
  if (!due(now) || !ensure_producer())
    return;
  state = phase::planning;
  wanted = false;
  begun = now;
  batch.records = pending.take(
    now, [this](size_t records, uint64_t bytes) { return pace->fits(records, bytes); });
  self->request(settings.dispatcher, plan_limit, batch.to_request())
    .then([this](transaction_plan& x) { on_plan(std::move(x)); },
          [this](const caf::error& err) { on_plan_failed(self->system().render(err)); });
}

void transactional_publisher_state::on_plan_failed(const std::string& why) {
  put_back();
  put_off(error{errc::timeout, "the dispatcher did not plan a transaction: " + why});
}

void transactional_publisher_state::on_plan(transaction_plan x) {
  batch.obey(std::move(x));
  if (batch.is_empty()) {
    state = phase::idle;
    answer_waiting();
    return;
  }
  if (!batch.plan.member) {
    put_back();
    put_off(error{errc::unavailable, "not a member of the consumer group at present"});
    return;
  }
  if (auto ok = producer->submit(batch.to_transaction(++number)); !ok) {
    put_back();
    put_off(ok.error());
    return;
  }
  state = phase::running;
}

void transactional_publisher_state::on_report(const messaging::transaction_report& x) {
  if (state != phase::running || x.id != number)
    return;
  if (x.end == transaction_end::committed) {
    on_committed(x);
    return;
  }
  settings.report->stats().publish_retries.Increment();
  spdlog::warn("a transaction of {} records was {}: {}; trying again", batch.records.size(),
               to_string(x.end), x.reason.describe());
  const auto whole_topic = x.refused == messaging::refusal::topic;
  auto& records = batch.records;
  if (x.culprit && *x.culprit < records.size()) {
    const auto topic = records[*x.culprit].content->topic;
    refuse(std::move(records[*x.culprit]), x.reason, whole_topic);
    records.erase(records.begin() + static_cast<std::ptrdiff_t>(*x.culprit));
    put_back();
    if (whole_topic)
      refuse_topic(topic, x.reason);
    pump();
    return;
  }
  if (whole_topic && !records.empty()) {
    const auto topic = records.front().content->topic;
    const auto alone = batch.is_all_of(topic);
    put_back();
    if (alone) {
      pending.split_no_more();
      refuse_topic(topic, x.reason);
    } else {
      pending.split_until(self->clock().now() + apart_for);
    }
    pump();
    return;
  }
  if (x.end == transaction_end::aborted)
    pace->aborted();
  put_back();
  put_off(x.reason);
}

void transactional_publisher_state::on_committed(const messaging::transaction_report& x) {
  const auto now = self->clock().now();
  watch->progressed(now);
  ended = now;
  pace->committed(batch.records.size(),
                  std::chrono::duration_cast<std::chrono::milliseconds>(now - begun));
  retry->reset();
  not_before = {};
  last_trouble.clear();
  published_records done;
  for (const auto& p : batch.records)
    done.records.push_back({p.kind, p.source, p.epoch, false, {}, {}});
  self->send(settings.dispatcher, std::move(done));
  self->send(settings.dispatcher, batch.committed(x.without_maps));
  take_up();
  tell_breaker(*self, settings.dispatcher, watch->works(aside, now));
  batch = {};
  state = phase::idle;
  answer_waiting();
  pump();
  look_again();
}

/// The transaction under way failed. Its records are pending again, at the front, and its offsets
/// will be offered again.
void transactional_publisher_state::put_back() {
  if (auto lost = batch.failed(); !lost.items.empty())
    self->send(settings.dispatcher, std::move(lost));
  pending.put_back(std::move(batch.records));
  batch = {};
  state = phase::idle;
}

void transactional_publisher_state::refuse(publication x, const error& why, bool whole_topic) {
  using messaging::refusal;
  const auto what = fate_of(x, why, whole_topic ? refusal::topic : refusal::record);
  if (what == fate::handed_back)
    self->send(settings.dispatcher,
               published_records{{{x.kind, x.source, x.epoch, false, why, {}}}});
  else if (what == fate::again)
    pending.push_first(std::move(x));
  else
    put_aside(std::move(x), why, what == fate::aside_with_topic);
}

/// All pending records of `topic` wait with the one that it refused.
void transactional_publisher_state::refuse_topic(const std::string& topic, const error& why) {
  const auto is_of_it = [&topic](const publication& x) { return x.content->topic == topic; };
  for (auto& x : pending.remove_if(is_of_it))
    put_aside(std::move(x), why, true);
}

void transactional_publisher_state::put_aside(publication x, const error& why, bool whole_topic) {
  tell_set_aside(x, why);
  const auto first = x;
  if (aside.refuse(std::move(x), why, whole_topic, self->clock().now(),
                   settings.report->env().random()))
    settings.report->emit(set_aside_event(first, why, whole_topic));
}

/// The dispatcher ignores what it knows already.
void transactional_publisher_state::tell_set_aside(const publication& x, const error& why) {
  self->send(settings.dispatcher, published_records{{{x.kind, x.source, x.epoch, false, {}, why}}});
}

/// Records that waited with the committed ones go on.
void transactional_publisher_state::take_up() {
  for (const auto& p : batch.records) {
    auto released = aside.accept(p);
    if (!released)
      continue;
    settings.report->emit(resumed_event(p, *released, self->clock().now()));
    for (auto& each : released->records)
      pending.push(std::move(each));
  }
}

void transactional_publisher_state::put_off(const error& why) {
  not_before = self->clock().now() + retry->next(settings.report->env().random());
  last_trouble = why.describe();
  spdlog::debug("the next transaction waits: {}", last_trouble);
}

std::string transactional_publisher_state::trouble() const {
  const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(self->clock().now()
                                                                           - begun);
  switch (state) {
  case phase::planning: return "the dispatcher has not planned the next one";
  case phase::running:
    return "the current one has taken " + std::to_string(since.count()) + " ms already";
  case phase::idle: break;
  }
  return last_trouble.empty() ? "is the broker reachable, and does the topic exist?" : last_trouble;
}

// -- the surroundings -------------------------------------------------------------------

delivery_watch::backlog transactional_publisher_state::backlog() const {
  return {.records = pending.size() + batch.records.size(),
          .bytes = pending.bytes() + batch.bytes(),
          .waits = waits()};
}

bool transactional_publisher_state::waits() const {
  return state != phase::idle || wanted || !pending.empty();
}

void transactional_publisher_state::on_tick() {
  const auto now = self->clock().now();
  for (auto& x : aside.due(now)) {
    pending.push(std::move(x));
    // By itself, so that no other record has to be repeated with it.
    pending.split_until(now + apart_for_a_try);
  }
  // Also without anything to commit: the breaker waits for it.
  const auto made = !producer && now >= not_before && ensure_producer();
  pump();
  if (!waits())
    watch->progressed(now);
  tell_breaker(*self, settings.dispatcher,
               watch->look(aside, waits(), now, made || (!waits() && producer), [this] {
                 return delivery_watch::stall{"no transaction was committed", trouble(), backlog()};
               }));
  answer_waiting();
}

void transactional_publisher_state::answer_waiting() {
  const auto idle = state == phase::idle && pending.empty() && !wanted;
  const auto now = self->clock().now();
  std::erase_if(waiting, [&](waiter& x) {
    if (!idle && now < x.deadline)
      return false;
    x.answer.deliver(idle);
    return true;
  });
}

transactional_publisher_actor::behavior_type transactional_publisher(
  transactional_publisher_actor::stateful_pointer<transactional_publisher_state> self,
  transactional_publisher_settings settings) {
  auto& st = self->state;
  st.self = self;
  st.settings = std::move(settings);
  st.pace.emplace(st.settings.pace);
  st.retry.emplace(100ms, 5'000ms);
  st.watch.emplace(st.settings.stall_limit, self->clock().now());
  st.ensure_producer();
  self->delayed_send(self, tick_interval, atom::tick{});
  return {
    [self](const publications& x) { self->state.accept(x); },
    [self](const withdrawal& x) { self->state.withdraw(x); },
    [](const delivery_reports&) {
      // This actor has no producer of single records.
    },
    [self](atom::drain, uint64_t limit_ms) -> caf::result<bool> {
      auto& state = self->state;
      state.wanted = true;
      auto promise = self->make_response_promise<bool>();
      state.waiting.push_back({promise, self->clock().now() + std::chrono::milliseconds{limit_ms}});
      state.pump();
      return promise;
    },
    [self](atom::tick) {
      self->state.on_tick();
      self->delayed_send(self, tick_interval, atom::tick{});
    },
    [self](atom::deadline) { self->state.pump(); },
    [self](atom::commit) {
      self->state.wanted = true;
      self->state.pump();
    },
    [self](const messaging::transaction_report& x) { self->state.on_report(x); },
  };
}

} // namespace ziyu::actors
