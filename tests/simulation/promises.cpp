// What must hold of a simulated service, at any moment and at rest.

#include "tests/simulation/service.hpp"

#include <algorithm>

namespace ziyu::simulation {

namespace {

/// A single record may exceed the limit: its image, and a million pixels.
constexpr uint64_t largest_cost = 3'000'000 + 10'000;

/// What a death is counted late, while messages wait.
constexpr int64_t news_us = 5'000'000;

} // namespace

void service::check_ledger(const char* when, bool at_rest) {
  const auto sum = dispatcher_state_->ledger.total();
  if (!sum.balanced() || (at_rest && sum.in_flight > 0))
    time_.violate("ledger", std::string{"out of balance "} + when + ": "
                              + std::to_string(sum.fetched) + " fetched, "
                              + std::to_string(sum.published) + " published, "
                              + std::to_string(sum.dead_lettered) + " dead-lettered, "
                              + std::to_string(sum.handed_back) + " handed back, "
                              + std::to_string(sum.already_done) + " done already, "
                              + std::to_string(sum.in_flight) + " in flight");
  if (const auto wrong = dispatcher_state_->ledger.audit(); !wrong.empty())
    time_.violate("ledger", wrong);
}

uint64_t service::set_aside_jobs() const {
  if (dispatcher_state_ == nullptr)
    return 0;
  const auto& all = dispatcher_state_->publishing;
  return static_cast<uint64_t>(std::count_if(
    all.begin(), all.end(), [](const auto& x) { return x.second->set_aside.has_value(); }));
}

void service::check_bounds() {
  const auto jobs = core_->credit()->jobs(), bytes = core_->credit()->bytes();
  if (jobs > max_jobs_in_flight || bytes > max_bytes_in_flight + largest_cost)
    time_.violate("P4", std::to_string(jobs) + " jobs of " + std::to_string(bytes)
                          + " bytes are in flight");
  // Each job that waits somewhere has credit, but those that are set aside.
  const auto& at = *dispatcher_state_;
  auto known = at.queue.size() + at.publishing.size() - set_aside_jobs();
  for (const auto& [number, x] : at.slots)
    known += x.running.size();
  if (known > jobs)
    time_.violate("P4", "the dispatcher has " + std::to_string(known) + " jobs, with credit for "
                          + std::to_string(jobs));
  const auto pending = transactions_state_ != nullptr ? transactions_state_->pending.size()
                                                      : events_state_->pending_jobs;
  if (pending > max_jobs_in_flight || events_state_->event_bytes > max_event_bytes)
    time_.violate("P4", std::to_string(pending) + " results and dead letters and events of "
                          + std::to_string(events_state_->event_bytes)
                          + " bytes wait in the publisher");
}

/// A member is polled, gated or not; otherwise its group would go on without it.
void service::check_polls() {
  if (inner_ == nullptr)
    return;
  const auto since = std::max(inner_->polled_us(), stalled_until_us_);
  if (time_.now() - since > max_poll_interval_ms * 1'000)
    time_.violate("P5", "the consumer was not polled for "
                          + std::to_string((time_.now() - since) / 1'000) + " ms");
}

void service::check_not_finished_before(const actors::job_entry& x, const char* what) {
  const auto& source = *x.job.source;
  if (assignments_->was_finished(source.id, source.epoch))
    time_.violate("P3", messaging::to_string(source.id) + " " + what
                          + ", though the commit that epoch " + std::to_string(source.epoch)
                          + " began with has it as finished");
}

/// What may be what ends workers runs alone in its worker, and beside no other such job.
void service::check_suspects(uint32_t slot, const messaging::record& begun, size_t batch) {
  const attempted job{begun.id, begun.epoch};
  at_work_[slot].insert(job);
  if (!suspects_.contains(job))
    return;
  if (batch > 1)
    time_.violate("suspects", messaging::to_string(job.first) + " is begun in a batch of "
                                + std::to_string(batch) + ", and a worker has ended with it");
  for (const auto& [other, jobs] : at_work_)
    for (const auto& x : jobs) {
      // One that hangs may have been given up already.
      const auto* running = running_at(other, x.first);
      if (other != slot && suspects_.contains(x) && running != nullptr
          && running->job.source->epoch == x.second)
        time_.violate("suspects", messaging::to_string(job.first) + " is begun beside "
                                    + messaging::to_string(x.first)
                                    + ", and workers have ended with both");
    }
}

/// Deaths that jobs have brought about do not count for the restart intensity, but for those of
/// which it is not told yet.
void service::check_blame() {
  const auto exceeded = supervisor_state_->intensity_exceeded;
  if (!std::exchange(was_blamed_, exceeded) && exceeded) {
    const auto since = time_.now() - std::chrono::microseconds{restart_period}.count() - news_us;
    const auto own = workers_->own_deaths_since(since);
    if (own + time_.plan().slots <= restart_intensity)
      time_.violate("blame", "the restart intensity is exceeded by " + std::to_string(own)
                               + " deaths that are not of poison");
  }
}

void service::check() {
  if (wrappers_.dispatcher)
    wrappers_.dispatcher(*dispatcher_state_);
  check_blame();
  check_ledger("in between", false);
  check_bounds();
  check_polls();
  for (const auto& [what, x] : dispatcher_state_->publishing)
    check_not_finished_before(*x, "comes out");
  const auto open = dispatcher_state_->breaker->state() == supervision::breaker_state::open;
  openings_ += open && !was_open_;
  was_open_ = open;
}

bool service::is_whole() const {
  // A breaker that no job has closed yet rests in half-open.
  return phase_ == phase::running && !gave_up_ && workers_->serving() == time_.plan().slots
         && workers_->alive() == time_.plan().slots + 1 && !supervisor_state_->under_way
         && core_->credit()->jobs() == 0
         && dispatcher_state_->breaker->state() != supervision::breaker_state::open;
}

void service::check_rest() {
  if (phase_ != phase::running)
    return;
  check_ledger("at rest", true);
  if (core_->credit()->jobs() > 0 || core_->credit()->bytes() > 0)
    time_.violate("P4", "credit for " + std::to_string(core_->credit()->jobs()) + " jobs of "
                          + std::to_string(core_->credit()->bytes())
                          + " bytes was never given back");
  const auto& wanted = supervisor_state_->wanted_version().folder();
  if (const auto served = workers_->folders_served();
      supervisor_state_->versions.size() > 1 || served != std::set{wanted})
    time_.violate("version", "at rest " + std::to_string(supervisor_state_->versions.size())
                               + " versions are in the pool, and not all slots are served by "
                               + wanted);
  if (events_state_->pending_jobs > 0
      || (transactions_state_ != nullptr
          && (transactions_state_->pending.bytes() > 0 || !transactions_state_->pending.empty())))
    time_.violate("P4", "the publisher counts what it does not have");
  uint64_t event_bytes = 0;
  for (const auto& x : events_state_->backlog)
    event_bytes += x.what.content->bytes();
  for (const auto& [token, x] : events_state_->in_flight)
    event_bytes += x.what.content->bytes();
  if (event_bytes != events_state_->event_bytes)
    time_.violate("P4", "the publisher counts " + std::to_string(events_state_->event_bytes)
                          + " bytes of events, and has " + std::to_string(event_bytes));
}

} // namespace ziyu::simulation
