#pragma once

// Stand-ins for the neighbours of an actor under test: they record their messages and answer as the
// test decides.

#include "actors/protocol.hpp"

#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <deque>
#include <memory>
#include <vector>

namespace ziyu::test {

// -- dispatcher -------------------------------------------------------------------------

struct dispatcher_log {
  std::vector<actors::fetched_job> fetched;
  size_t fetches = 0; ///< Messages that brought them.
  std::vector<messaging::partitions_assigned> assigned;
  std::vector<messaging::partitions_revoked> revoked;
  std::vector<messaging::offsets_committed> committed;
  std::vector<error> failures;
  std::vector<uint32_t> slots_up, most_jobs;
  std::vector<actors::published> published;
  std::vector<actors::breaker_input> breaker; ///< Without memory readings.
  std::vector<double> memory_shares;
  std::vector<actors::breaker_command> commands;
  size_t reachable = 0;
  actors::dispatcher_status status;
  bool silent = false; ///< Never answers a request for its status.
  std::vector<caf::typed_response_promise<actors::dispatcher_status>> unanswered;
};

inline actors::dispatcher_actor::behavior_type fake_dispatcher(
  actors::dispatcher_actor::pointer self, std::shared_ptr<dispatcher_log> log) {
  using namespace actors;
  return {
    [log](const fetched_jobs& x) {
      ++log->fetches;
      log->fetched.insert(log->fetched.end(), x.jobs.begin(), x.jobs.end());
    },
    [log](const messaging::partitions_assigned& x) { log->assigned.push_back(x); },
    [log](const revocation& x) {
      log->revoked.push_back(x.what);
      x.handled->set_value();
    },
    [log](const messaging::offsets_committed& x) { log->committed.push_back(x); },
    [log](const messaging::consumer_failed& x) { log->failures.push_back(x.reason); },
    [log](atom::slot_up, uint32_t slot, const inference_actor&, uint32_t most_jobs) {
      log->slots_up.push_back(slot);
      log->most_jobs.push_back(most_jobs);
    },
    [log](const published_records& x) {
      log->published.insert(log->published.end(), x.records.begin(), x.records.end());
    },
    [](const plan_request&) { return transaction_plan{}; },
    [log](const breaker_input& x) {
      if (x.memory_share)
        log->memory_shares.push_back(*x.memory_share);
      else
        log->breaker.push_back(x);
    },
    [log](atom::reachable) { ++log->reachable; },
    [self, log](atom::status) -> caf::result<dispatcher_status> {
      if (!log->silent)
        return log->status;
      log->unanswered.push_back(self->make_response_promise<dispatcher_status>());
      return log->unanswered.back();
    },
    [log](const breaker_command& x) {
      log->commands.push_back(x);
      log->status.breaker_mode = x.mode;
      return log->status;
    },
    [](atom::drain, uint64_t) { return true; },
    [](atom::resume) { return true; },
    [](atom::tick) {},
    [](atom::retry) {},
    [](atom::deadline) {},
  };
}

// -- supervisor -------------------------------------------------------------------------

struct supervisor_log {
  std::vector<actors::channel_frame> frames;
  std::vector<actors::channel_closed> closed;
  std::vector<actors::job_done> jobs;
  std::vector<actors::slot_switched> switched;
  std::vector<actors::worker_hung> hung;
  std::vector<actors::death_verdict> verdicts;
  actors::supervisor_status status;
  bool silent = false; ///< Never answers a request for its status.
  std::vector<caf::typed_response_promise<actors::supervisor_status>> unanswered;
};

inline actors::supervisor_actor::behavior_type fake_supervisor(
  actors::supervisor_actor::pointer self, std::shared_ptr<supervisor_log> log) {
  using namespace actors;
  return {
    [](const server_frame&) {},
    [](const server_closed&) {},
    [log](const channel_frame& x) { log->frames.push_back(x); },
    [log](const channel_closed& x) { log->closed.push_back(x); },
    [log](const job_done& x) { log->jobs.push_back(x); },
    [log](const slot_switched& x) { log->switched.push_back(x); },
    [log](const worker_hung& x) { log->hung.push_back(x); },
    [log](const death_verdict& x) { log->verdicts.push_back(x); },
    [self, log](atom::status) -> caf::result<supervisor_status> {
      if (!log->silent)
        return log->status;
      log->unanswered.push_back(self->make_response_promise<supervisor_status>());
      return log->unanswered.back();
    },
    [](atom::drain, uint64_t) { return true; },
    [](atom::tick) {},
    [](const rollout_request&) { return rollout_answer{}; },
    [](atom::refill) {},
    [](atom::restart, uint64_t) {},
    [](atom::deadline, uint64_t) {},
  };
}

// -- publisher --------------------------------------------------------------------------

inline actors::publisher_actor::behavior_type fake_publisher(
  actors::publisher_actor::pointer, std::shared_ptr<std::vector<actors::publication>> log) {
  using namespace actors;
  return {
    [log](const publications& x) { log->insert(log->end(), x.records.begin(), x.records.end()); },
    [](const withdrawal&) {},
    [](const delivery_reports&) {},
    [](atom::commit) {},
    [](atom::drain, uint64_t) { return true; },
    [](atom::tick) {},
    [](atom::deadline) {},
  };
}

// -- inference --------------------------------------------------------------------------

struct inference_log {
  std::vector<actors::attempt_request> requests;
  std::vector<actors::worker_link> links;
  std::vector<actors::kill_notice> kills;
  std::vector<actors::private_reading> readings;
  std::vector<actors::go_ahead> released;
  std::vector<actors::lone_jobs_wish> wishes;
  std::vector<actors::channel_closed> closed;
  /// Requests in their order. Each (deadline, 0) message answers the first one with the front of
  /// `answers`.
  std::deque<caf::typed_response_promise<actors::attempt_outcome>> open;
  std::deque<actors::attempt_outcome> answers;
};

inline actors::inference_actor::behavior_type fake_inference(actors::inference_actor::pointer self,
                                                             std::shared_ptr<inference_log> log) {
  using namespace actors;
  return {
    [self, log](const attempt_request& x) -> caf::result<attempt_outcome> {
      log->requests.push_back(x);
      log->open.push_back(self->make_response_promise<attempt_outcome>());
      return log->open.back();
    },
    [log](const worker_link& x) { log->links.push_back(x); },
    [log](const kill_notice& x) { log->kills.push_back(x); },
    [log](const private_reading& x) { log->readings.push_back(x); },
    [log](const go_ahead& x) { log->released.push_back(x); },
    [log](const lone_jobs_wish& x) { log->wishes.push_back(x); },
    [](const channel_frame&) {},
    [log](const channel_closed& x) { log->closed.push_back(x); },
    [log](atom::deadline, uint64_t) {
      log->open.front().deliver(log->answers.front());
      log->open.pop_front();
      log->answers.pop_front();
    },
  };
}

} // namespace ziyu::test
