#include "actors/transactional_publisher.hpp"

#include "base/log.hpp"
#include "messaging/dead_letter.hpp"

#include <algorithm>
#include <ranges>

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

void transactional_publisher_state::accept(publication x) {
  if (const auto* why = aside.trouble_of(x.content->topic)) {
    tell_set_aside(x, *why);
    aside.take(std::move(x));
    return;
  }
  const auto first = pending.empty();
  pending_bytes += x.content->bytes();
  pending.push_back(std::move(x));
  pump();
  if (first)
    look_again();
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
  const auto goes = [&](const publication& p) {
    if (std::find(x.partitions.begin(), x.partitions.end(), p.source.where()) == x.partitions.end())
      return false;
    self->send(settings.dispatcher, published{p.kind, p.source, p.epoch, true, {}, {}});
    return true;
  };
  std::erase_if(pending, [&](const publication& p) {
    const auto gone = goes(p);
    pending_bytes -= gone ? p.content->bytes() : 0;
    return gone;
  });
  aside.remove_if(goes);
  answer_waiting();
}

// -- one transaction ------------------------------------------------------------------

bool transactional_publisher_state::due(std::chrono::steady_clock::time_point now) const {
  if (state != phase::idle || now < not_before)
    return false;
  if (wanted || !waiting.empty())
    return true;
  const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(now - ended);
  return pace->due(pending.size(), pending_bytes, rest);
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
  take_batch();
  plan_request ask;
  for (const auto& x : batch)
    ask.records.push_back({x.source, x.epoch});
  self->request(settings.dispatcher, plan_limit, std::move(ask))
    .then([this](transaction_plan& x) { on_plan(std::move(x)); },
          [this](const caf::error& err) { on_plan_failed(self->system().render(err)); });
}

void transactional_publisher_state::take_batch() {
  const auto apart = self->clock().now() < apart_until && !pending.empty();
  std::string only;
  if (apart) {
    // In turn, so that a topic that fails does not keep the others from being tried.
    const auto other = std::find_if(pending.begin(), pending.end(), [this](const publication& x) {
      return x.content->topic != last_apart;
    });
    only = (other == pending.end() ? pending.front() : *other).content->topic;
    last_apart = only;
  }
  uint64_t bytes = 0;
  std::deque<publication> rest;
  while (!pending.empty() && (batch.empty() || pace->fits(batch.size(), bytes))) {
    auto x = std::move(pending.front());
    pending.pop_front();
    if (apart && x.content->topic != only) {
      rest.push_back(std::move(x));
      continue;
    }
    bytes += x.content->bytes();
    batch.push_back(std::move(x));
  }
  for (auto i = rest.rbegin(); i != rest.rend(); ++i)
    pending.push_front(std::move(*i));
  pending_bytes -= bytes;
}

void transactional_publisher_state::on_plan_failed(const std::string& why) {
  put_back();
  put_off(error{errc::timeout, "the dispatcher did not plan a transaction: " + why});
}

void transactional_publisher_state::on_plan(transaction_plan x) {
  // The dispatcher has released records that are not ours any more.
  size_t i = 0;
  std::erase_if(batch, [&](const publication&) { return !x.ours.at(i++); });
  plan = std::move(x);
  if (batch.empty() && plan.offsets.empty()) {
    state = phase::idle;
    answer_waiting();
    return;
  }
  messaging::transaction work;
  work.id = ++number;
  for (const auto& p : batch)
    work.records.push_back(*p.content);
  work.offsets = plan.offsets;
  work.member = plan.member;
  if (!work.member) {
    put_back();
    put_off(error{errc::unavailable, "not a member of the consumer group at present"});
    return;
  }
  if (auto ok = producer->submit(std::move(work)); !ok) {
    put_back();
    put_off(ok.error());
    return;
  }
  state = phase::running;
}

void transactional_publisher_state::on_report(const messaging::transaction_report& x) {
  using messaging::refusal;
  if (state != phase::running || x.id != number)
    return;
  if (x.end == transaction_end::committed) {
    on_committed(x);
    return;
  }
  settings.report->stats().publish_retries.Increment();
  spdlog::warn("a transaction of {} records was {}: {}; trying again", batch.size(),
               to_string(x.end), x.reason.describe());
  if (x.culprit && *x.culprit < batch.size()) {
    const auto topic = batch[*x.culprit].content->topic;
    refuse(std::move(batch[*x.culprit]), x.reason, x.refused == refusal::topic);
    batch.erase(batch.begin() + static_cast<std::ptrdiff_t>(*x.culprit));
    put_back();
    if (x.refused == refusal::topic)
      refuse_topic(topic, x.reason);
    pump();
    return;
  }
  if (x.refused == refusal::topic && !batch.empty()) {
    const auto topic = batch.front().content->topic;
    const auto alone = std::all_of(batch.begin(), batch.end(), [&topic](const publication& p) {
      return p.content->topic == topic;
    });
    put_back();
    if (alone) {
      apart_until = {};
      refuse_topic(topic, x.reason);
    } else {
      apart_until = self->clock().now() + apart_for;
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
  pace->committed(batch.size(), std::chrono::duration_cast<std::chrono::milliseconds>(now - begun));
  retry->reset();
  not_before = {};
  last_trouble.clear();
  for (const auto& p : batch)
    self->send(settings.dispatcher, published{p.kind, p.source, p.epoch, false, {}, {}});
  for (auto& item : plan.points.items)
    item.without_map = x.without_maps;
  self->send(settings.dispatcher, plan.points);
  take_up();
  tell_breaker(*self, settings.dispatcher, watch->works(aside, now));
  batch.clear();
  plan = {};
  state = phase::idle;
  answer_waiting();
  pump();
  look_again();
}

/// The transaction under way failed. Its records are pending again, at the front, and its offsets
/// will be offered again.
void transactional_publisher_state::put_back() {
  messaging::offsets_committed lost;
  lost.items = std::move(plan.points.items);
  for (auto& item : lost.items)
    item.failure = error{errc::kafka, "the transaction was not committed"};
  if (!lost.items.empty())
    self->send(settings.dispatcher, std::move(lost));
  for (auto i = batch.rbegin(); i != batch.rend(); ++i) {
    pending_bytes += i->content->bytes();
    pending.push_front(std::move(*i));
  }
  batch.clear();
  plan = {};
  state = phase::idle;
}

/// The dispatcher makes a dead letter of a result that is too large. A dead letter that is too
/// large is sent in a smaller form, whose headers say where the job is. Any other record can only
/// be tried again, until its topic is mended.
void transactional_publisher_state::refuse(publication x, const error& why, bool whole_topic) {
  const auto too_large = why.code == errc::job_too_large;
  if (too_large && x.kind != publication_kind::dead_letter) {
    self->send(settings.dispatcher, published{x.kind, x.source, x.epoch, false, why, {}});
    return;
  }
  auto less = too_large ? messaging::slimmed(*x.content, why) : std::nullopt;
  if (!less) {
    put_aside(std::move(x), why, whole_topic);
    return;
  }
  x.content = std::make_shared<const messaging::outgoing>(std::move(*less));
  pending_bytes += x.content->bytes();
  pending.push_front(std::move(x));
}

/// All pending records of `topic` wait with the one that it refused.
void transactional_publisher_state::refuse_topic(const std::string& topic, const error& why) {
  std::deque<publication> rest;
  for (auto& x : pending) {
    if (x.content->topic != topic) {
      rest.push_back(std::move(x));
      continue;
    }
    pending_bytes -= x.content->bytes();
    put_aside(std::move(x), why, true);
  }
  pending = std::move(rest);
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
  self->send(settings.dispatcher, published{x.kind, x.source, x.epoch, false, {}, why});
}

/// Records that waited with the committed ones go on.
void transactional_publisher_state::take_up() {
  for (const auto& p : batch) {
    auto released = aside.accept(p);
    if (!released)
      continue;
    settings.report->emit(resumed_event(p, *released, self->clock().now()));
    for (auto& each : released->records) {
      pending_bytes += each.content->bytes();
      pending.push_back(std::move(each));
    }
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
  delivery_watch::backlog x{.records = pending.size() + batch.size(), .bytes = pending_bytes};
  for (const auto& each : batch)
    x.bytes += each.content->bytes();
  x.waits = waits();
  return x;
}

bool transactional_publisher_state::waits() const {
  return state != phase::idle || wanted || !pending.empty();
}

void transactional_publisher_state::on_tick() {
  const auto now = self->clock().now();
  for (auto& x : aside.due(now)) {
    pending_bytes += x.content->bytes();
    pending.push_back(std::move(x));
    // By itself, so that no other record has to be repeated with it.
    apart_until = std::max(apart_until, now + apart_for_a_try);
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
    [self](const publication& x) { self->state.accept(x); },
    [self](const withdrawal& x) { self->state.withdraw(x); },
    [](const messaging::delivery_report&) {
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
