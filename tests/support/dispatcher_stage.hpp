#pragma once

#include "actors/decoder.hpp"
#include "actors/dispatcher.hpp"
#include "tests/support/actor_stage.hpp"
#include "tests/support/fake_actors.hpp"
#include "tests/support/fake_kafka.hpp"

#include <nlohmann/json.hpp>

#include <functional>

namespace ziyu::test {

using namespace ziyu::actors;
using messaging::topic_partition;
using supervision::breaker_state;
using trigger = supervision::circuit_breaker::trigger;

inline const topic_partition p0{"image.jobs", 0}, p1{"image.jobs", 1};

/// A dispatcher among stand-ins. Stored offsets are committed at once, unless a test decides
/// otherwise.
class Dispatcher : public actor_fixture {
protected:
  ~Dispatcher() override {
    for (auto& x : slots)
      x->open.clear();
  }

  void start(
    uint32_t slot_count = 1, const std::function<void(dispatcher_settings&)>& tune = [](auto&) {}) {
    if (aut) // an earlier one would go on storing
      caf::anon_send_exit(aut, caf::exit_reason::user_shutdown);
    dispatcher_settings s;
    s.results_topic = "image.results";
    s.dead_letters_topic = "image.jobs-dlt";
    s.slots = slot_count;
    s.max_attempts = 3;
    s.breaker.probe_jobs = 2;
    s.credit = credit;
    s.report = report;
    s.store = [this](const topic_partition& where,
                     const messaging::commit_point& x) -> expected<void> {
      if (!store_failures.empty()) {
        auto why = store_failures.front();
        store_failures.pop_front();
        return tl::unexpected(why);
      }
      if (stored.empty() || stored.back() != std::pair{where, x.next})
        stored.emplace_back(where, x.next);
      points[where] = x;
      if (acknowledging)
        caf::anon_send(aut, committed(where, x));
      return {};
    };
    tune(s);
    limits = s.limits;
    if (!s.make_neighbours)
      s.make_neighbours = [this](const dispatcher_actor&) { return fake_neighbours(); };
    aut = own(sys.spawn<dispatcher>(s));
    run();
    assign({p0}, 1);
    for (uint32_t i = 0; i < slot_count; ++i) {
      slots.push_back(std::make_shared<inference_log>());
      actors_of_slots.push_back(spawn(fake_inference, slots[i]));
      slot_up(i);
    }
  }

  dispatcher_neighbours fake_neighbours() {
    return {spawn(fake_publisher, published_log), spawn(fake_supervisor, to_supervisor),
            spawn(decoder, limits)};
  }

  uint32_t slots_take = wire::max_batch;

  void slot_up(uint32_t i) { send(aut, atom::slot_up{}, i, actors_of_slots[i], slots_take); }

  void assign(std::vector<topic_partition> what, uint64_t epoch) {
    for (const auto& where : what)
      epochs[where] = epoch;
    send(aut, messaging::partitions_assigned{epoch, std::move(what), {}});
  }

  /// Assigned after an earlier owner that left this in its commit of offset `next`.
  void assign_from(const topic_partition& where, uint64_t epoch, int64_t next,
                   messaging::offset_map map) {
    epochs[where] = epoch;
    messaging::partitions_assigned news{epoch, {where}, {}};
    news.committed.emplace(where, messaging::committed_state{next, std::move(map), ""});
    send(aut, std::move(news));
  }

  messaging::offsets_committed committed(const topic_partition& where,
                                         const messaging::commit_point& x) {
    return {{{where, epochs[where], x.version, std::nullopt, false}}};
  }

  /// Acknowledges what was stored last for `where`.
  void acknowledge_commit(const topic_partition& where = p0) {
    send(aut, committed(where, points.at(where)));
  }

  /// The map that was stored last for `where`.
  messaging::offset_map stored_map(const topic_partition& where = p0) {
    const auto& x = points.at(where);
    return messaging::decode_offset_map(x.metadata, x.next).map;
  }

  /// Runs until the dispatcher has let go, also of records that the producer never reports.
  void revoke(std::vector<topic_partition> what, uint64_t epoch, bool lost = false) {
    auto done = begin_revoke(std::move(what), epoch, lost);
    if (done.wait_for(0s) != std::future_status::ready)
      advance(3s);
    ASSERT_EQ(done.wait_for(0s), std::future_status::ready);
  }

  std::future<void> begin_revoke(std::vector<topic_partition> what, uint64_t epoch,
                                 bool lost = false) {
    auto handled = std::make_shared<std::promise<void>>();
    auto done = handled->get_future();
    send(aut, revocation{{epoch, std::move(what), lost}, handled});
    return done;
  }

  void fetch(messaging::record x, std::optional<error> reason = {}) {
    fetched_job msg;
    msg.source = std::make_shared<const messaging::record>(std::move(x));
    msg.fetched_us = env.us;
    msg.reason = std::move(reason);
    msg.credit = std::make_shared<actors::credit>(credit, 100);
    send(aut, fetched_jobs{{std::move(msg)}});
  }

  /// Answers the oldest request of a slot.
  void answer(uint32_t slot, attempt_outcome x) {
    x.slot = slot;
    ASSERT_FALSE(slots.at(slot)->open.empty());
    slots[slot]->answers.push_back(std::move(x));
    send(actors_of_slots[slot], atom::deadline{}, uint64_t{0});
  }

  void succeed(uint32_t slot = 0) {
    auto r = std::make_shared<wire::result>();
    r->answers.resize(slots.at(slot)->requests.back().jobs.size());
    for (auto& each : r->answers) {
      each.top_k = {{3, 0.9f, "三"}};
      each.width = 12;
      each.height = 10;
    }
    r->delta_live = 4392;
    attempt_outcome x;
    x.most_jobs = slots_take;
    x.answer = r;
    x.generation = 7;
    x.pid = 1234;
    x.model = std::make_shared<const events::model_version>(
      events::model_version{"digits", "1", "abc", "fp32"});
    answer(slot, x);
  }

  void refuse_input(errc code, const char* message) {
    auto r = std::make_shared<wire::result>();
    r->answers.resize(1);
    r->answers[0].error_code = to_string(code);
    r->answers[0].error_message = message;
    attempt_outcome x;
    x.most_jobs = slots_take;
    x.answer = r;
    answer(0, x);
  }

  void fail_attempt(errc code, uint32_t slot = 0, bool slot_up = true) {
    attempt_outcome x;
    x.most_jobs = slots_take;
    x.failure = error{code, "as the test says"};
    x.slot_up = slot_up;
    x.generation = ++generation;
    answer(slot, x);
  }

  void tell(published x) { send(aut, published_records{{std::move(x)}}); }
  /// Until the tick that stores what is finished.
  void acknowledge(const publication& x) {
    tell({x.kind, x.source, x.epoch, false, {}, {}});
    advance(250ms);
  }
  void acknowledge_last() { acknowledge(outbox().back()); }

  /// Publications without events.
  std::vector<publication> outbox() const {
    std::vector<publication> xs;
    for (const auto& x : *published_log)
      if (x.kind != publication_kind::event)
        xs.push_back(x);
    return xs;
  }

  std::string header(const publication& x, const std::string& name) {
    return messaging::find_header(x.content->headers, name).value_or("");
  }

  dispatcher_status status() { return **ask<dispatcher_status>(aut, atom::status{}); }
  nlohmann::json ledger() { return to_json(status().ledger.total); }
  size_t requests(uint32_t slot = 0) const { return slots.at(slot)->requests.size(); }

  void breaker(trigger which, bool raised) {
    send(aut, breaker_input{which, raised, "as the test says", {}});
  }

  std::shared_ptr<intake> credit = std::make_shared<intake>(intake::limits{});
  std::shared_ptr<supervisor_log> to_supervisor = std::make_shared<supervisor_log>();
  messaging::job_limits limits; ///< Of the dispatcher.
  uint64_t generation = 0;      ///< Of the worker that died last.
  int64_t next_offset = 0;      ///< For a test that counts.
  std::shared_ptr<std::vector<publication>> published_log =
    std::make_shared<std::vector<publication>>();
  std::vector<std::pair<topic_partition, int64_t>> stored;   ///< Each change of an offset.
  std::map<topic_partition, messaging::commit_point> points; ///< The latest.
  std::map<topic_partition, uint64_t> epochs;
  std::deque<error> store_failures;
  bool acknowledging = true; ///< Commits are acknowledged at once.
  std::vector<std::shared_ptr<inference_log>> slots;
  std::vector<inference_actor> actors_of_slots;
  dispatcher_actor aut;
};

} // namespace ziyu::test
