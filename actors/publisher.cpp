#include "actors/publisher.hpp"

#include "base/log.hpp"

#include <algorithm>

namespace ziyu::actors {

using namespace std::chrono_literals;

namespace {

constexpr auto tick_interval = 100ms;

} // namespace

bool publisher_state::ensure_producer() {
  if (producer)
    return true;
  // The reports come on the producer's own thread; a weak handle keeps them from
  // keeping this actor alive.
  auto weak = caf::actor_cast<caf::weak_actor_ptr>(caf::actor_cast<caf::strong_actor_ptr>(self));
  auto made = settings.make([weak](messaging::delivery_report x) {
    if (auto strong = caf::actor_cast<caf::strong_actor_ptr>(weak))
      caf::anon_send(caf::actor_cast<publisher_actor>(strong), std::move(x));
  });
  if (!made) {
    spdlog::error("no Kafka producer: {}", made.error().describe());
    set_failing(true, made.error().message, pressure());
    not_before = self->clock().now() + retry->next(settings.report->env().random());
    return false;
  }
  producer = std::move(*made);
  ++producers;
  return true;
}

void publisher_state::accept(publication x) {
  const auto size = x.content->bytes();
  if (x.kind == publication_kind::event) {
    if (event_bytes + size > settings.max_event_bytes) {
      settings.report->stats().events_dropped.Increment();
      return;
    }
    event_bytes += size;
  }
  if (x.kind != publication_kind::event && pending_jobs++ == 0)
    last_progress = self->clock().now();
  backlog.push_back({std::move(x), {}, 0, 0});
  pump();
}

void publisher_state::pump() {
  const auto now = self->clock().now();
  if (backlog.empty() || now < not_before || !ensure_producer())
    return;
  // Retries that are not due yet step aside for what is.
  for (auto n = backlog.size(); n > 0 && !backlog.empty(); --n) {
    auto x = std::move(backlog.front());
    backlog.pop_front();
    if (now < x.not_before) {
      backlog.push_back(std::move(x));
      continue;
    }
    auto content = *x.what.content;
    content.token = next_token;
    if (auto ok = producer->produce(content)) {
      x.producer = producers;
      in_flight.emplace(next_token++, std::move(x));
      continue;
    } else if (ok.error().code == errc::queue_full) {
      backlog.push_front(std::move(x));
      not_before = now + 20ms;
      return;
    } else if (ok.error().code == errc::kafka_fatal) {
      spdlog::error("the Kafka producer is unusable, a new one takes over: {}", ok.error().message);
      backlog.push_front(std::move(x));
      // Destroying it hands out a report for each record in flight, which
      // brings them back into the backlog.
      producer.reset();
      not_before = now + retry->next(settings.report->env().random());
      return;
    } else if (!hand_back(x, ok.error()) && !drop_hopeless(x, ok.error())) {
      put_off(x, ok.error());
      backlog.push_back(std::move(x));
    }
  }
}

void publisher_state::put_off(pending_publication& x, const error& why) {
  ++x.tries;
  x.not_before = self->clock().now() + retry->next(settings.report->env().random());
  spdlog::warn("delivery to {} failed (source {}, try {}): {}; trying again", x.what.content->topic,
               messaging::to_string(x.what.source), x.tries, why.describe());
  if (why.code != errc::job_too_large || x.what.kind != publication_kind::dead_letter)
    return;
  if (auto less = messaging::slimmed(*x.what.content, why))
    x.what.content = std::make_shared<const messaging::outgoing>(std::move(*less));
}

bool publisher_state::drop_hopeless(const pending_publication& x, const error& why) {
  if (x.what.kind != publication_kind::event || why.code != errc::job_too_large)
    return false;
  spdlog::warn("an event was dropped: {}", why.describe());
  settings.report->stats().events_dropped.Increment();
  forget(x);
  return true;
}

bool publisher_state::hand_back(const pending_publication& x, const error& why) {
  if (x.what.kind != publication_kind::result || why.code != errc::job_too_large)
    return false;
  forget(x);
  self->send(settings.dispatcher, published{x.what.kind, x.what.source, x.what.epoch, false, why});
  return true;
}

void publisher_state::withdraw(const withdrawal& x) {
  std::erase_if(backlog, [&](const pending_publication& each) {
    if (each.what.kind == publication_kind::event
        || std::find(x.partitions.begin(), x.partitions.end(), each.what.source.where())
             == x.partitions.end())
      return false;
    forget(each);
    self->send(settings.dispatcher,
               published{each.what.kind, each.what.source, each.what.epoch, true, std::nullopt});
    return true;
  });
  finish_drain_if_empty(false);
}

void publisher_state::forget(const pending_publication& x) {
  if (x.what.kind == publication_kind::event)
    event_bytes -= x.what.content->bytes();
  else
    --pending_jobs;
}

void publisher_state::on_report(const messaging::delivery_report& x) {
  auto i = in_flight.find(x.token);
  if (i == in_flight.end())
    return; // a report of a producer that was given up
  auto entry = std::move(i->second);
  in_flight.erase(i);
  const auto is_event = entry.what.kind == publication_kind::event;
  if (!x.failure) {
    if (!is_event)
      last_progress = self->clock().now();
    retry->reset();
    not_before = {};
    forget(entry);
    // An event that arrives says nothing about results that do not.
    if (!is_event || pending_jobs == 0)
      set_failing(false, "");
    if (!is_event)
      self->send(settings.dispatcher,
                 published{entry.what.kind, entry.what.source, entry.what.epoch, false, {}});
  } else {
    settings.report->stats().publish_retries.Increment();
    // Not for a report of its predecessor, of which there may be many.
    if (x.failure->code == errc::kafka_fatal && entry.producer == producers)
      producer.reset();
    if (!hand_back(entry, *x.failure) && !drop_hopeless(entry, *x.failure)) {
      put_off(entry, *x.failure);
      backlog.push_back(std::move(entry));
    }
  }
  pump();
  finish_drain_if_empty(false);
}

supervision::circuit_breaker::numbers publisher_state::pressure() const {
  uint64_t bytes = 0;
  const auto add = [&bytes](const pending_publication& x) {
    if (x.what.kind != publication_kind::event)
      bytes += x.what.content->bytes();
  };
  for (const auto& [token, x] : in_flight)
    add(x);
  for (const auto& x : backlog)
    add(x);
  const auto silent = pending_jobs > 0 ? self->clock().now() - last_progress
                                       : std::chrono::steady_clock::duration{};
  return {{"silent_ms", static_cast<double>(
                          std::chrono::duration_cast<std::chrono::milliseconds>(silent).count())},
          {"pending_records", static_cast<double>(pending_jobs)},
          {"pending_bytes", static_cast<double>(bytes)}};
}

void publisher_state::set_failing(bool on, const std::string& reason,
                                  supervision::circuit_breaker::numbers values) {
  if (failing == on)
    return;
  failing = on;
  self->send(settings.dispatcher, breaker_input{supervision::circuit_breaker::trigger::publisher,
                                                on, reason, std::nullopt, std::move(values)});
  if (!on)
    self->send(settings.dispatcher, atom::reachable{});
}

void publisher_state::on_tick() {
  pump();
  const auto now = self->clock().now();
  if (!failing && pending_jobs > 0 && now - last_progress > settings.stall_limit)
    set_failing(true,
                "no delivery report for " + std::to_string(settings.stall_limit.count())
                  + " ms: is the broker reachable and the topic there?",
                pressure());
  finish_drain_if_empty(false);
}

void publisher_state::finish_drain_if_empty(bool timed_out) {
  if (!drained.pending())
    return;
  if (in_flight.empty() && backlog.empty())
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
  st.last_progress = self->clock().now();
  self->delayed_send(self, tick_interval, atom::tick{});
  return {
    [self](const publication& x) { self->state.accept(x); },
    [self](const withdrawal& x) { self->state.withdraw(x); },
    [self](const messaging::delivery_report& x) { self->state.on_report(x); },
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
