#pragma once

#include "actors/publisher.hpp"
#include "messaging/consumer.hpp"

#include <deque>
#include <functional>
#include <map>
#include <vector>

namespace ziyu::test {

/// The broker's side of `fake_producer`s: takes records as the test decides, and reports on demand.
struct producer_script {
  using refusal = std::optional<error>;

  std::vector<messaging::outgoing> queued;           ///< All that producers took, in order.
  std::vector<messaging::outgoing> delivered;        ///< All that were acknowledged.
  std::map<uint64_t, messaging::outgoing> in_flight; ///< Of the present producer.
  messaging::producer::report_handler report;
  std::deque<error> refusals;      ///< For the next calls of `produce`.
  std::deque<error> make_failures; ///< For the next calls that make a producer.
  error purge_code{errc::kafka, "the producer was destroyed"};
  bool take_nothing = false; ///< Each `produce` is refused with `queue_full`.
  size_t made = 0, destroyed = 0;

  /// Acknowledges the oldest record in flight.
  void acknowledge() {
    const auto i = in_flight.begin();
    const auto x = i->second;
    in_flight.erase(i);
    delivered.push_back(x);
    report({{x.token, std::nullopt, {x.topic, 0, static_cast<int64_t>(delivered.size())}}});
  }
  void acknowledge_all() {
    while (!in_flight.empty())
      acknowledge();
  }
  /// Reports that the oldest record in flight was not delivered.
  void fail(error why, messaging::refusal refused = messaging::refusal::none) {
    const auto token = in_flight.begin()->first;
    in_flight.erase(in_flight.begin());
    report({{token, std::move(why), {}, refused}});
  }

  actors::producer_factory factory();
};

class fake_producer : public messaging::producer {
public:
  fake_producer(producer_script& script, report_handler report) : script_(script) {
    ++script.made;
    script.report = std::move(report);
  }

  ~fake_producer() override {
    ++script_.destroyed;
    // As the real producer does: each record in flight gets its report.
    while (!script_.in_flight.empty())
      script_.fail(script_.purge_code);
  }

  expected<void> produce(const messaging::outgoing& x) override {
    if (script_.take_nothing)
      return fail(errc::queue_full, "the queue is full");
    if (!script_.refusals.empty()) {
      auto why = script_.refusals.front();
      script_.refusals.pop_front();
      return tl::unexpected(why);
    }
    script_.queued.push_back(x);
    script_.in_flight.emplace(x.token, x);
    return {};
  }

private:
  producer_script& script_;
};

inline actors::producer_factory producer_script::factory() {
  return
    [this](
      messaging::producer::report_handler x) -> expected<std::unique_ptr<messaging::producer>> {
      if (!make_failures.empty()) {
        auto why = make_failures.front();
        make_failures.pop_front();
        return tl::unexpected(why);
      }
      return std::make_unique<fake_producer>(*this, std::move(x));
    };
}

/// A consumer whose events the test queues. On one thread.
class fake_consumer : public messaging::consumer {
public:
  messaging::consumer_event poll(std::chrono::milliseconds limit) override {
    limits.push_back(limit);
    for (auto i = events.begin(); i != events.end(); ++i) {
      if (auto r = std::get_if<messaging::record>(&*i);
          r && (gated || held.contains(r->id.where())))
        continue;
      auto x = std::move(*i);
      events.erase(i);
      return x;
    }
    return messaging::nothing{};
  }
  void gate(bool on) override { gated = on; }
  void wake() override { ++wakes; }
  std::vector<messaging::partition_view> view() override { return views; }
  expected<void> seek(const messaging::topic_partition& where, int64_t offset,
                      std::chrono::milliseconds) override {
    seeks.emplace_back(where, offset);
    return {};
  }
  void pause(bool on) override { paused = on; }
  uint64_t refetched_bytes() const override { return 4'096; }
  void hold(const std::set<messaging::topic_partition>& partitions) override {
    held = partitions;
    ++holds;
  }
  expected<void> store(const messaging::topic_partition& where,
                       messaging::commit_point point) override {
    stored[where] = point.next;
    return {};
  }
  std::shared_ptr<const messaging::group_membership> membership(
    const std::map<messaging::topic_partition, uint64_t>&) const override {
    return nullptr;
  }
  void finish_revoke() override {
    ++revokes_finished;
    if (on_finish_revoke)
      on_finish_revoke();
  }
  expected<void> commit(std::chrono::milliseconds) override { return {}; }
  void close(std::chrono::milliseconds) override { closed = true; }

  std::deque<messaging::consumer_event> events;
  std::vector<std::chrono::milliseconds> limits; ///< Of the polls.
  std::map<messaging::topic_partition, int64_t> stored;
  std::set<messaging::topic_partition> held;
  size_t holds = 0; ///< Calls of `hold`.
  std::vector<messaging::partition_view> views;
  std::vector<std::pair<messaging::topic_partition, int64_t>> seeks;
  bool paused = false;
  bool gated = false, closed = false;
  std::atomic<size_t> wakes = 0;
  size_t revokes_finished = 0;
  std::function<void()> on_finish_revoke;
};

/// A record with an image that nothing decodes.
inline messaging::record make_record(int64_t offset, uint64_t epoch = 1, int32_t partition = 0,
                                     std::optional<std::string> key = {}) {
  messaging::record x;
  x.id = {"image.jobs", partition, offset};
  x.epoch = epoch;
  x.key = key ? std::move(key) : "job-" + std::to_string(partition) + "-" + std::to_string(offset);
  x.value = std::make_shared<const std::string>("image " + std::to_string(offset));
  return x;
}

} // namespace ziyu::test
