#include "tests/simulation/clients.hpp"

namespace ziyu::simulation {

namespace {

using messaging::transaction_end;

/// Bound for all steps of a transaction together.
constexpr int64_t give_up_after_us = 5'000'000;

} // namespace

simulated_transactional_producer::simulated_transactional_producer(timeline& time, broker& where,
                                                                   report_handler report,
                                                                   uint64_t id,
                                                                   std::shared_ptr<const bool> dead)
  : time_(time), broker_(where), report_(std::move(report)), id_(id), dead_(std::move(dead)) {
  broker_.begin_producer(id_);
}

simulated_transactional_producer::~simulated_transactional_producer() {
  // Records that are under way may arrive; else the broker waits for them in vain.
  if (step_ == step::commit && broker_.reachable && time_.chance().one_in(2))
    broker_.end_transaction(id_, true, work_.records);
  else
    broker_.forget_transaction(id_);
}

expected<void> simulated_transactional_producer::submit(messaging::transaction x) {
  if (step_ != step::none)
    return fail(errc::queue_full, "a transaction is under way");
  uint64_t bytes = 0;
  for (const auto& each : x.records)
    bytes += each.bytes();
  if (x.records.size() > max_jobs_in_flight || bytes > max_jobs_in_flight * largest_output_bytes)
    time_.violate("P4", "a transaction of " + std::to_string(x.records.size()) + " records of "
                          + std::to_string(bytes) + " bytes");
  work_ = std::move(x);
  begun_us_ = time_.now();
  step_ = step::produce;
  time_.note("producer {} begins a transaction of {} records and {} offsets", id_,
             work_.records.size(), work_.offsets.size());
  later(10'000, &simulated_transactional_producer::produce);
  return {};
}

void simulated_transactional_producer::later(int64_t most_us,
                                             void (simulated_transactional_producer::*next)()) {
  time_.after_us(time_.chance().between(200, most_us) + broker_.extra_latency_us,
                 life_.guard([this, next] {
                   if (!*dead_)
                     (this->*next)();
                 }));
}

void simulated_transactional_producer::produce() {
  if (time_.strikes(fault::delivery_failure, 8))
    return end(transaction_end::aborted, "a record is not delivered");
  if (!broker_.reachable) {
    if (time_.now() - begun_us_ > give_up_after_us)
      return end(transaction_end::aborted, "no broker");
    return later(100'000, &simulated_transactional_producer::produce);
  }
  step_ = step::offsets;
  later(5'000, &simulated_transactional_producer::send_offsets);
}

void simulated_transactional_producer::send_offsets() {
  if (!broker_.reachable || !broker_.has_coordinator) {
    if (time_.now() - begun_us_ > give_up_after_us)
      return end(transaction_end::aborted, "no coordinator");
    return later(100'000, &simulated_transactional_producer::send_offsets);
  }
  const auto& who = dynamic_cast<const simulated_membership&>(*work_.member);
  if (auto ok = broker_.add_offsets(id_, who.member, who.generation, work_.offsets); !ok)
    return end(transaction_end::fenced, "the group has gone on");
  if (time_.strikes(fault::producer_fatal, 20)) {
    // The successor of the producer ends the transaction.
    broker_.end_transaction(id_, false, {});
    return end(transaction_end::aborted, "the producer broke down",
               time_.of(fault::producer_fatal).between(0, 2'000));
  }
  step_ = step::commit;
  later(10'000, &simulated_transactional_producer::commit);
}

void simulated_transactional_producer::commit() {
  if (!broker_.reachable) // as long as it takes: nobody knows how it ends
    return later(200'000, &simulated_transactional_producer::commit);
  broker_.end_transaction(id_, true, work_.records);
  // Committed, but not known for a while.
  end(transaction_end::committed, "",
      time_.strikes(fault::lost_report, 8) ? time_.of(fault::lost_report).between(100, 3'000) : 0);
}

void simulated_transactional_producer::end(transaction_end how, const char* why, int64_t after_ms) {
  time_.note("producer {} ends a transaction: {} {}", id_, to_string(how), std::string_view{why});
  // Until then another transaction is refused.
  time_.after_ms(after_ms, life_.guard([this, how, why = std::string{why}] {
    step_ = step::none;
    messaging::transaction_report x;
    x.id = work_.id;
    x.end = how;
    if (how != transaction_end::committed)
      x.reason = error{errc::kafka, why};
    if (!*dead_)
      report_(std::move(x));
  }));
  if (how == transaction_end::committed)
    step_ = step::produce; // nothing is open at the broker any more
}

} // namespace ziyu::simulation
