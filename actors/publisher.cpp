#include "actors/publisher.hpp"

#include "actors/undelivered.hpp"
#include "base/log.hpp"

#include <algorithm>

namespace ziyu::actors {

using namespace std::chrono_literals;

namespace {

constexpr auto tick_interval = 100ms;

/// A group of records that is not answered for so long holds no other one up.
constexpr auto group_patience = 100ms;

} // namespace

bool publisher_state::ensure_producer() {
  if (producer)
    return true;
  // Reports come on the producer's own thread. A weak handle does not keep this actor
  // alive.
  auto weak = caf::actor_cast<caf::weak_actor_ptr>(caf::actor_cast<caf::strong_actor_ptr>(self));
  auto made = settings.make([weak](std::vector<messaging::delivery_report> x) {
    if (auto strong = caf::actor_cast<caf::strong_actor_ptr>(weak))
      caf::anon_send(caf::actor_cast<publisher_actor>(strong), delivery_reports{std::move(x)});
  });
  if (!made) {
    spdlog::error("no Kafka producer: {}", made.error().describe());
    tell_breaker(*self, settings.dispatcher,
                 watch->fails(made.error().message, waiting(), self->clock().now()));
    not_before = self->clock().now() + retry->next(settings.report->env().random());
    return false;
  }
  producer = std::move(*made);
  ++producers;
  return true;
}

/// A report follows for each record in flight, and puts the record back into the backlog.
void publisher_state::give_up_producer() {
  if (producer && settings.end)
    settings.end(std::move(producer));
  producer.reset();
}

void publisher_state::accept(const publications& x) {
  for (const auto& each : x.records)
    take(each);
  pump();
  send_told();
}

void publisher_state::take(publication x) {
  const auto size = x.content->bytes();
  pending_publication item;
  item.what = std::move(x);
  if (item.what.kind == publication_kind::event) {
    if (event_bytes + size > settings.max_event_bytes) {
      settings.report->stats().events_dropped.Increment();
      return;
    }
    event_bytes += size;
  } else if (pending_jobs++ == 0) {
    watch->progressed(self->clock().now());
  }
  backlog.push_back(std::move(item));
}

void publisher_state::tell(published x) { told.records.push_back(std::move(x)); }

void publisher_state::send_told() {
  if (!told.records.empty())
    self->send(settings.dispatcher, std::exchange(told, {}));
}

void publisher_state::pump() {
  const auto now = self->clock().now();
  if (now < not_before || (backlog.empty() && aside.empty()) || !groups->open(now)
      || !ensure_producer())
    return;
  for (auto& x : aside.due(now)) {
    pending_publication item;
    item.what = std::move(x);
    item.set_aside = true;
    backlog.push_back(std::move(item));
  }
  // Records that are due come before retries that are not due yet.
  for (auto n = backlog.size(); n > 0 && !backlog.empty(); --n) {
    auto x = std::move(backlog.front());
    backlog.pop_front();
    if (now < x.not_before)
      backlog.push_back(std::move(x));
    else if (!hand_on(std::move(x)))
      break;
  }
  groups->close();
}

bool publisher_state::hand_on(pending_publication x) {
  const auto now = self->clock().now();
  if (x.what.kind != publication_kind::event && !x.set_aside)
    if (const auto* why = aside.trouble_of(x.what.content->topic)) {
      tell_set_aside(x, *why);
      aside.take(std::move(x.what));
      return true;
    }
  auto content = *x.what.content;
  content.token = next_token;
  auto ok = producer->produce(content);
  if (ok) {
    x.producer = producers;
    x.given = now;
    x.group = groups->add(now);
    in_flight.emplace(next_token++, std::move(x));
    return true;
  }
  if (ok.error().code == errc::queue_full) {
    backlog.push_front(std::move(x));
    not_before = now + 20ms;
    return false;
  }
  if (ok.error().code == errc::kafka_fatal) {
    spdlog::error("the Kafka producer is unusable, a new one takes over: {}", ok.error().message);
    backlog.push_front(std::move(x));
    give_up_producer();
    not_before = now + retry->next(settings.report->env().random());
    return false;
  }
  on_failure(std::move(x), ok.error(), messaging::refusal::none);
  return true;
}

void publisher_state::on_failure(pending_publication x, const error& why,
                                 messaging::refusal refused) {
  const auto what = fate_of(x.what, why, refused);
  switch (what) {
  case fate::again:
    put_off(x, why);
    backlog.push_back(std::move(x));
    return;
  case fate::aside_alone:
  case fate::aside_with_topic: put_aside(std::move(x), why, what == fate::aside_with_topic); return;
  case fate::handed_back: tell({x.what.kind, x.what.source, x.what.epoch, false, why, {}}); break;
  case fate::dropped:
    spdlog::warn("an event was dropped: {}", why.describe());
    settings.report->stats().events_dropped.Increment();
    break;
  }
  forget(x);
}

void publisher_state::put_off(pending_publication& x, const error& why) {
  ++x.tries;
  x.not_before = self->clock().now() + retry->next(settings.report->env().random());
  spdlog::warn("delivery to {} failed (source {}, try {}): {}; trying again", x.what.content->topic,
               messaging::to_string(x.what.source), x.tries, why.describe());
}

// -- records that cannot be delivered while others can ---------------------------------

void publisher_state::put_aside(pending_publication x, const error& why, bool whole_topic) {
  tell_set_aside(x, why);
  const auto first = x.what;
  if (aside.refuse(std::move(x.what), why, whole_topic, self->clock().now(),
                   settings.report->env().random()))
    settings.report->emit(set_aside_event(first, why, whole_topic));
  else
    spdlog::debug("{} still does not take {}: {}", first.content->topic,
                  messaging::to_string(first.source), why.describe());
}

void publisher_state::tell_set_aside(pending_publication& x, const error& why) {
  if (std::exchange(x.set_aside, true))
    return;
  --pending_jobs;
  tell({x.what.kind, x.what.source, x.what.epoch, false, std::nullopt, why});
}

void publisher_state::take_up(const publication& x) {
  auto released = aside.accept(x);
  if (!released)
    return;
  settings.report->emit(resumed_event(x, *released, self->clock().now()));
  for (auto& each : released->records) {
    pending_publication item;
    item.what = std::move(each);
    item.set_aside = true;
    backlog.push_back(std::move(item));
  }
}

/// librdkafka keeps a record for a topic without a leader until `message.timeout.ms` is over.
void publisher_state::look_for_silent_topics() {
  const auto now = self->clock().now();
  for (auto& [token, x] : in_flight) {
    if (now - x.given < settings.silence_limit)
      break; // so are the records behind it
    if (x.what.kind == publication_kind::event || x.set_aside || watch->last_progress() <= x.given)
      continue;
    const auto& topic = x.what.content->topic;
    if (const auto i = acknowledged.find(topic); i != acknowledged.end() && i->second > x.given)
      continue;
    const error why{errc::timeout, "no delivery report for "
                                     + std::to_string(settings.silence_limit.count())
                                     + " ms, while other topics take records"};
    tell_set_aside(x, why);
    if (aside.suspect(x.what, why, now))
      settings.report->emit(set_aside_event(x.what, why, true));
  }
}

void publisher_state::withdraw(const withdrawal& x) {
  const auto went = [&x](const publication& each) {
    return each.kind != publication_kind::event
           && std::find(x.partitions.begin(), x.partitions.end(), each.source.where())
                != x.partitions.end();
  };
  const auto tell_withdrawn = [this](const publication& each) {
    tell({each.kind, each.source, each.epoch, true, std::nullopt, std::nullopt});
  };
  std::erase_if(backlog, [&](const pending_publication& each) {
    if (!went(each.what))
      return false;
    forget(each);
    tell_withdrawn(each.what);
    return true;
  });
  for (const auto& each : aside.remove_if(went))
    tell_withdrawn(each);
  send_told();
  finish_drain_if_empty(false);
}

void publisher_state::forget(const pending_publication& x) {
  if (x.what.kind == publication_kind::event)
    event_bytes -= x.what.content->bytes();
  else if (!x.set_aside)
    --pending_jobs;
}

void publisher_state::on_reports(const delivery_reports& x) {
  for (const auto& each : x.reports)
    on_report(each);
  pump();
  send_told();
  finish_drain_if_empty(false);
}

void publisher_state::on_report(const messaging::delivery_report& x) {
  auto i = in_flight.find(x.token);
  if (i == in_flight.end())
    return; // a report of a producer that was given up
  auto entry = std::move(i->second);
  in_flight.erase(i);
  groups->settle(entry.group);
  if (!x.failure) {
    on_delivered(entry);
  } else {
    settings.report->stats().publish_retries.Increment();
    // Not for a report of its predecessor, which may have many.
    if (x.failure->code == errc::kafka_fatal && entry.producer == producers)
      give_up_producer();
    on_failure(std::move(entry), *x.failure, x.refused);
  }
}

void publisher_state::on_delivered(const pending_publication& x) {
  const auto is_event = x.what.kind == publication_kind::event;
  retry->reset();
  not_before = {};
  forget(x);
  if (!is_event) {
    watch->progressed(self->clock().now());
    acknowledged[x.what.content->topic] = self->clock().now();
    take_up(x.what);
    tell({x.what.kind, x.what.source, x.what.epoch, false, {}, {}});
  }
  // A delivered event says nothing about results that are not delivered.
  if (!is_event || pending_jobs == 0)
    tell_breaker(*self, settings.dispatcher, watch->works(aside, self->clock().now()));
}

delivery_watch::backlog publisher_state::waiting() const {
  delivery_watch::backlog result{.records = pending_jobs, .waits = pending_jobs > 0};
  const auto add = [&result](const pending_publication& x) {
    if (x.what.kind != publication_kind::event)
      result.bytes += x.what.content->bytes();
  };
  for (const auto& [token, x] : in_flight)
    add(x);
  for (const auto& x : backlog)
    add(x);
  return result;
}

void publisher_state::on_tick() {
  pump();
  look_for_silent_topics();
  look_for_a_stall();
  send_told();
  finish_drain_if_empty(false);
}

void publisher_state::look_for_a_stall() {
  // Records that could not be published may have been handed back.
  const auto able = pending_jobs == 0 && producer;
  tell_breaker(*self, settings.dispatcher,
               watch->look(aside, pending_jobs > 0, self->clock().now(), able, [this] {
                 return delivery_watch::stall{"no delivery report",
                                              "is the broker reachable, and does the topic exist?",
                                              waiting()};
               }));
}

void publisher_state::finish_drain_if_empty(bool timed_out) {
  if (!drained.pending())
    return;
  const auto waits = [](const pending_publication& x) { return !x.set_aside; };
  const auto idle = std::none_of(backlog.begin(), backlog.end(), waits)
                    && std::none_of(in_flight.begin(), in_flight.end(),
                                    [&](const auto& x) { return waits(x.second); });
  if (idle)
    drained.deliver(true);
  else if (timed_out)
    drained.deliver(false);
}

publisher_actor::behavior_type publisher(publisher_actor::stateful_pointer<publisher_state> self,
                                         publisher_settings settings) {
  auto& st = self->state;
  st.self = self;
  st.settings = std::move(settings);
  st.retry.emplace(100ms, 10'000ms);
  st.groups.emplace(st.settings.max_groups, group_patience);
  st.watch.emplace(st.settings.stall_limit, self->clock().now());
  self->delayed_send(self, tick_interval, atom::tick{});
  return {
    [self](const publications& x) { self->state.accept(x); },
    [self](const withdrawal& x) { self->state.withdraw(x); },
    [self](const delivery_reports& x) { self->state.on_reports(x); },
    [](atom::commit) {
      // The consumer commits.
    },
    [self](atom::drain, uint64_t limit_ms) -> caf::result<bool> {
      auto& state = self->state;
      if (state.drained.pending())
        return false;
      state.drained = self->make_response_promise<bool>();
      self->delayed_send(self, std::chrono::milliseconds{limit_ms}, atom::deadline{});
      auto promise = state.drained;
      state.finish_drain_if_empty(false);
      return promise;
    },
    [self](atom::tick) {
      self->state.on_tick();
      self->delayed_send(self, tick_interval, atom::tick{});
    },
    [self](atom::deadline) { self->state.finish_drain_if_empty(true); },
  };
}

} // namespace ziyu::actors
