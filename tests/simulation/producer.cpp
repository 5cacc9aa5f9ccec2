#include "tests/simulation/clients.hpp"

#include <algorithm>

namespace ziyu::simulation {

namespace {

constexpr size_t max_queue = 64;

/// message.timeout.ms
constexpr int64_t give_up_after_us = 8'000'000;

} // namespace

simulated_producer::simulated_producer(timeline& time, broker& where, report_handler report,
                                       std::function<uint64_t()> max_jobs,
                                       std::shared_ptr<const bool> dead)
  : time_(time), broker_(where), report_(std::move(report)), max_jobs_(std::move(max_jobs)),
    dead_(std::move(dead)) {
  // nop
}

simulated_producer::~simulated_producer() { purge(errc::kafka); }

expected<void> simulated_producer::produce(const messaging::outgoing& x) {
  if (*dead_)
    return fail(errc::queue_full, "its service is gone");
  if (!fatal_ && time_.strikes(fault::producer_fatal, 40)) {
    time_.note("a producer breaks down with {} records", queue_.size());
    fatal_ = true;
    // What it holds comes back as failed, at once or on the way.
    time_.after_ms(time_.of(fault::producer_fatal).between(0, 200),
                   life_.guard([this] { purge(errc::kafka_fatal); }));
  }
  if (fatal_)
    return fail(errc::kafka_fatal, "by the seed");
  if (queue_.size() >= max_queue || time_.strikes(fault::producer_full, 4))
    return fail(errc::queue_full, "the queue is full");
  queue_.push_back({x, time_.now()});
  const auto is_event = x.topic == events_topic;
  jobs_ += !is_event;
  (is_event ? event_bytes_ : job_bytes_) += x.bytes();
  check_bounds();
  pump();
  return {};
}

void simulated_producer::check_bounds() {
  const auto most = max_jobs_();
  if (jobs_ > most || job_bytes_ > most * largest_output_bytes)
    time_.violate("P4", std::to_string(jobs_) + " results and dead letters of "
                          + std::to_string(job_bytes_) + " bytes wait in a producer, "
                          + std::to_string(most) + " jobs may be in flight");
  if (event_bytes_ > max_event_bytes)
    time_.violate("P4", "events of " + std::to_string(event_bytes_) + " bytes wait in a producer");
}

void simulated_producer::pump() {
  if (pumping_ || queue_.empty())
    return;
  pumping_ = true;
  time_.after_us(time_.chance().between(200, 10'000) + broker_.extra_latency_us,
                 life_.guard([this] {
                   pumping_ = false;
                   deliver();
                   pump();
                 }));
}

void simulated_producer::deliver() {
  if (fatal_)
    return;
  if (!broker_.reachable) {
    while (!queue_.empty() && time_.now() - queue_.front().since_us > give_up_after_us) {
      auto x = std::move(queue_.front());
      queue_.pop_front();
      report(std::move(x), error{errc::kafka, "message timed out"});
    }
    return;
  }
  // A batch at a time.
  for (auto n = time_.chance().between(1, 5); n > 0 && !queue_.empty(); --n) {
    auto x = std::move(queue_.front());
    queue_.pop_front();
    if (time_.strikes(fault::delivery_failure, 8)) {
      report(std::move(x), error{errc::kafka, "not written, by the seed"});
      continue;
    }
    const auto where = broker_.write(x.content);
    if (time_.strikes(fault::lost_report, 12))
      report(std::move(x), error{errc::kafka, "written, and not known, by the seed"});
    else
      report(std::move(x), std::nullopt, where);
  }
}

void simulated_producer::report(pending x, std::optional<error> failure,
                                messaging::record_id where) {
  const auto is_event = x.content.topic == events_topic;
  jobs_ -= !is_event;
  (is_event ? event_bytes_ : job_bytes_) -= x.content.bytes();
  if (!*dead_)
    report_({{x.content.token, std::move(failure), std::move(where)}});
}

void simulated_producer::purge(errc code) {
  while (!queue_.empty()) {
    auto x = std::move(queue_.front());
    queue_.pop_front();
    // The record may have been on its way.
    if (broker_.reachable && time_.chance().one_in(2))
      broker_.write(x.content);
    report(std::move(x), error{code, "the producer is gone"});
  }
}

} // namespace ziyu::simulation
