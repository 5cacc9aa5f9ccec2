#include "actors/metrics.hpp"

#include <prometheus/text_serializer.h>

#include <sstream>

namespace ziyu::actors {

namespace {

auto& counters(prometheus::Registry& r, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(r);
}

auto& gauges(prometheus::Registry& r, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(r);
}

auto& histogram(prometheus::Registry& r, const char* name, const char* help) {
  static const prometheus::Histogram::BucketBoundaries seconds{
    .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30};
  return prometheus::BuildHistogram().Name(name).Help(help).Register(r).Add({}, seconds);
}

} // namespace

metrics::metrics()
  : fetched(counters(registry_, "ziyu_jobs_fetched_total", "Records fetched").Add({})),
    results(counters(registry_, "ziyu_results_total", "Results acknowledged by the broker")),
    dead_letters(counters(registry_, "ziyu_dead_letters_total", "Dead letters acknowledged")),
    failed_attempts(counters(registry_, "ziyu_failed_attempts_total", "Attempts that failed")),
    duplicate_ids(
      counters(registry_, "ziyu_duplicate_job_ids_total", "Records whose job id came before")
        .Add({})),
    stale(counters(registry_, "ziyu_stale_outcomes_total",
                   "Outcomes dropped because their partition was gone")
            .Add({})),
    already_done(counters(registry_, "ziyu_jobs_already_done_total",
                          "Records fetched again that an earlier owner had finished")
                   .Add({})),
    inference_saved(counters(registry_, "ziyu_inference_saved_total",
                             "Jobs not inferred because their partition had gone")
                      .Add({})),
    withdrawn(counters(registry_, "ziyu_publications_withdrawn_total",
                       "Results and dead letters not produced because their partition had gone")
                .Add({})),
    commit_failures(counters(registry_, "ziyu_commit_failures_total",
                             "Commits of a partition's offset that failed and were tried again")
                      .Add({})),
    unrecorded_attempts(counters(registry_, "ziyu_unrecorded_attempts_total",
                                 "Times that first attempts began without a commit behind them")
                          .Add({})),
    refetched_bytes(gauges(registry_, "ziyu_refetched_bytes",
                           "Prefetched bytes that the present consumer dropped by a pause or seek "
                           "and had to fetch again")
                      .Add({})),
    ledger_balanced(
      gauges(registry_, "ziyu_ledger_balanced", "1: every fetched record is accounted for")
        .Add({})),
    held_partitions(gauges(registry_, "ziyu_intake_held_partitions",
                           "Partitions that wait for room in their commit's metadata, or for what "
                           "is set aside of them")
                      .Add({})),
    set_aside_records(gauges(registry_, "ziyu_set_aside_records",
                             "Results and dead letters that their topic does not take at present")
                        .Add({})),
    lost_to_retention(counters(registry_, "ziyu_records_lost_to_retention_total",
                               "Records of the jobs topic deleted before they were fetched")
                        .Add({})),
    head_of_line_jobs(gauges(registry_, "ziyu_head_of_line_jobs",
                             "Jobs that only wait for an earlier one of their key or partition")
                        .Add({})),
    head_of_line_seconds(
      gauges(registry_, "ziyu_head_of_line_seconds", "Age of the oldest such job since its fetch")
        .Add({})),
    queued_seconds(histogram(registry_, "ziyu_job_queued_seconds",
                             "From fetch to the start of the last attempt")),
    decode_seconds(histogram(registry_, "ziyu_job_decode_seconds", "Image decoding")),
    inference_seconds(
      histogram(registry_, "ziyu_job_inference_seconds", "Forward pass of the model")),
    total_seconds(histogram(registry_, "ziyu_job_total_seconds", "From fetch to result")),
    in_flight_jobs(gauges(registry_, "ziyu_in_flight_jobs", "Jobs that hold credit").Add({})),
    in_flight_bytes(
      gauges(registry_, "ziyu_in_flight_bytes", "Bytes that hold credit (encoded + decoded)")
        .Add({})),
    slots_up(gauges(registry_, "ziyu_slots_up", "Slots that take jobs").Add({})),
    slots_held(
      gauges(registry_, "ziyu_slots_held",
             "Slots whose worker's next job may reach its budget, which wait for a standby")
        .Add({})),
    standbys(gauges(registry_, "ziyu_standbys_ready", "Warm standbys").Add({})),
    worker_live_bytes(gauges(registry_, "ziyu_worker_live_bytes",
                             "Allocated - deallocated bytes of a slot's worker")),
    worker_private_bytes(
      gauges(registry_, "ziyu_worker_private_bytes", "Private memory of a slot's worker")),
    worker_generation(gauges(registry_, "ziyu_worker_generation", "Generation that serves a slot")),
    replacements(counters(registry_, "ziyu_worker_replacements_total", "Workers replaced")),
    deaths(counters(registry_, "ziyu_worker_deaths_total", "Workers that died or were killed")),
    recovered_bytes(
      counters(registry_, "ziyu_recovered_bytes_total", "Private memory given back by replacements")
        .Add({})),
    replacement_seconds(histogram(registry_, "ziyu_replacement_seconds",
                                  "From the verdict to the new worker serving the slot")),
    container_used_bytes(gauges(registry_, "ziyu_container_memory_used_bytes",
                                "Memory used by the container (else the host)")
                           .Add({})),
    container_limit_bytes(
      gauges(registry_, "ziyu_container_memory_limit_bytes", "Its limit").Add({})),
    control_private_bytes(
      gauges(registry_, "ziyu_control_private_bytes", "Private memory of the control process")
        .Add({})),
    breaker_state(gauges(registry_, "ziyu_breaker_state",
                         "0 closed, 1 open, 2 half-open, 3 forced open, 4 disabled")
                    .Add({})),
    breaker_transitions(
      counters(registry_, "ziyu_breaker_transitions_total", "Changes of the breaker's state")),
    breaker_openings(counters(registry_, "ziyu_breaker_openings_total",
                              "Openings of the breaker by what opened it")),
    memory_pressure(gauges(registry_, "ziyu_memory_pressure",
                           "Of the container: 0 none, 1 eased, 2 tight, 3 critical")
                      .Add({})),
    credit_jobs(
      gauges(registry_, "ziyu_credit_jobs", "Jobs that may hold credit at present").Add({})),
    credit_bytes(
      gauges(registry_, "ziyu_credit_bytes", "Bytes that may hold credit at present").Add({})),
    events(counters(registry_, "ziyu_events_total", "Events by type")),
    events_dropped(counters(registry_, "ziyu_events_dropped_total",
                            "Events not published because too many were pending")
                     .Add({})),
    publish_retries(counters(registry_, "ziyu_publish_retries_total",
                             "Records produced again after a failed delivery")
                      .Add({})) {
  // nop
}

std::string metrics::text() const {
  std::ostringstream out;
  prometheus::TextSerializer{}.Serialize(out, registry_.Collect());
  return out.str();
}

} // namespace ziyu::actors
