#include "actors/metrics.hpp"

#include "base/error.hpp"
#include "configs/schema.hpp"
#include "supervision/circuit_breaker.hpp"
#include "supervision/leak_cause.hpp"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>

#include <sys/resource.h>
#include <unistd.h>

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

/// Start of this process in seconds since the Unix epoch; 0 where /proc does not tell it.
double read_start_time() {
  // Field 22 of stat(5) is the start in clock ticks since boot. The name before it may contain
  // anything.
  std::ifstream stat{"/proc/self/stat"}, boot{"/proc/stat"};
  std::string text{std::istreambuf_iterator<char>{stat}, {}};
  std::istringstream rest{text.substr(std::min(text.size(), text.rfind(')') + 1))};
  std::string word;
  for (auto field = 3; field < 22; ++field)
    rest >> word;
  unsigned long long ticks = 0, booted = 0;
  rest >> ticks;
  for (std::string line; std::getline(boot, line);)
    if (line.starts_with("btime "))
      booted = std::strtoull(line.c_str() + 6, nullptr, 10);
  if (ticks == 0 || booted == 0)
    return 0;
  return static_cast<double>(booted)
         + static_cast<double>(ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

} // namespace

metrics::metrics()
  : build_info(gauges(registry_, "ziyu_build_info", "Always 1; the label is Ziyu's version")),
    model_info(
      gauges(registry_, "ziyu_model_info", "Always 1; the labels name the model that serves")),
    alive(gauges(registry_, "ziyu_alive", "1: the actors answer, as in /livez").Add({})),
    ready(gauges(registry_, "ziyu_ready",
                 "1: a job that is submitted now would be worked on, as in /readyz")
            .Add({})),
    process_start(gauges(registry_, "process_start_time_seconds",
                         "Start of the control process since the Unix epoch")
                    .Add({})),
    process_cpu(counters(registry_, "process_cpu_seconds_total",
                         "User and system time of the control process")
                  .Add({})),
    process_resident(gauges(registry_, "process_resident_memory_bytes",
                            "Resident memory of the control process, shared pages included")
                       .Add({})),
    process_fds(
      gauges(registry_, "process_open_fds", "Open descriptors of the control process").Add({})),
    process_max_fds(
      gauges(registry_, "process_max_fds", "Most descriptors that the control process may open")
        .Add({})),
    lag(gauges(registry_, "ziyu_consumer_lag_records",
               "Records of an assigned partition without a result or dead letter yet")),
    oldest_unfinished(gauges(registry_, "ziyu_oldest_unfinished_job_seconds",
                             "Time since the oldest unfinished job was fetched")
                        .Add({})),
    fetched(counters(registry_, "ziyu_jobs_fetched_total", "Records fetched").Add({})),
    results(counters(registry_, "ziyu_results_total", "Results acknowledged by the broker")),
    results_ok(results.Add({{"status", "ok"}})),
    dead_letters(counters(registry_, "ziyu_dead_letters_total", "Dead letters acknowledged")),
    failed_attempts(counters(registry_, "ziyu_failed_attempts_total", "Attempts that failed")),
    duplicate_ids(
      counters(registry_, "ziyu_duplicate_job_ids_total", "Records whose job id came before")
        .Add({})),
    stale(counters(registry_, "ziyu_stale_outcomes_total",
                   "Outcomes dropped because their partition had been taken away")
            .Add({})),
    already_done(counters(registry_, "ziyu_jobs_already_done_total",
                          "Records fetched again that an earlier owner had finished")
                   .Add({})),
    inference_saved(counters(registry_, "ziyu_inference_saved_total",
                             "Jobs not inferred because their partition had been taken away")
                      .Add({})),
    withdrawn(
      counters(registry_, "ziyu_publications_withdrawn_total",
               "Results and dead letters not produced because their partition had been taken away")
        .Add({})),
    commit_failures(counters(registry_, "ziyu_commit_failures_total",
                             "Commits of a partition's offset that failed and were tried again")
                      .Add({})),
    unrecorded_attempts(counters(registry_, "ziyu_unrecorded_attempts_total",
                                 "Times that first attempts began without an acknowledged commit")
                          .Add({})),
    refetched_bytes(gauges(registry_, "ziyu_refetched_bytes",
                           "Prefetched bytes that the present consumer dropped by a pause or seek "
                           "and had to fetch again")
                      .Add({})),
    ledger_balanced(
      gauges(registry_, "ziyu_ledger_balanced", "1: every fetched record is accounted for")
        .Add({})),
    held_partitions(gauges(registry_, "ziyu_intake_held_partitions",
                           "Partitions held back: their commit's metadata is full, or too many of "
                           "their records are set aside")
                      .Add({})),
    set_aside_records(gauges(registry_, "ziyu_set_aside_records",
                             "Results and dead letters that their topic does not take at present")
                        .Add({})),
    lost_to_retention(
      counters(registry_, "ziyu_records_lost_to_retention_total",
               "Records of the job topic that retention deleted before they were fetched")
        .Add({})),
    head_of_line_jobs(gauges(registry_, "ziyu_head_of_line_jobs",
                             "Jobs that only wait for an earlier one of their key or partition")
                        .Add({})),
    head_of_line_seconds(gauges(registry_, "ziyu_head_of_line_seconds",
                                "Time since the oldest of ziyu_head_of_line_jobs was fetched")
                           .Add({})),
    queued_seconds(histogram(registry_, "ziyu_job_queued_seconds",
                             "From fetch to the start of the last attempt")),
    decode_seconds(histogram(registry_, "ziyu_job_decode_seconds", "Image decoding")),
    preprocess_seconds(histogram(registry_, "ziyu_job_preprocess_seconds",
                                 "Resizing, cropping and normalising for the model")),
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
             "Slots that wait for a standby, since their worker's next job may reach its budget")
        .Add({})),
    standbys(gauges(registry_, "ziyu_standbys_ready", "Warm standbys").Add({})),
    worker_live_bytes(gauges(registry_, "ziyu_worker_live_bytes",
                             "Allocated - deallocated bytes of a slot's worker")),
    worker_private_bytes(
      gauges(registry_, "ziyu_worker_private_bytes", "Private memory of a slot's worker")),
    worker_generation(gauges(registry_, "ziyu_worker_generation", "Generation that serves a slot")),
    worker_jobs_left(gauges(registry_, "ziyu_worker_jobs_left",
                            "Jobs until a slot's worker reaches its budget; +Inf: no forecast")),
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
    container_limit_bytes(gauges(registry_, "ziyu_container_memory_limit_bytes",
                                 "Memory limit of the container (else the host)")
                            .Add({})),
    control_private_bytes(
      gauges(registry_, "ziyu_control_private_bytes", "Private memory of the control process")
        .Add({})),
    fork_server_private_bytes(
      gauges(registry_, "ziyu_fork_server_private_bytes", "Private memory of the fork server")
        .Add({})),
    breaker_state(gauges(registry_, "ziyu_breaker_state",
                         "0 closed, 1 open, 2 half-open, 3 forced_open, 4 disabled")
                    .Add({})),
    breaker_transitions(
      counters(registry_, "ziyu_breaker_transitions_total", "Changes of the breaker's state")),
    breaker_openings(
      counters(registry_, "ziyu_breaker_openings_total", "Openings of the breaker by cause")),
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
    output_dropped(counters(registry_, "ziyu_worker_output_dropped_lines_total",
                            "Lines of workers' output that were dropped, since there were too many")
                     .Add({})),
    publish_retries(counters(registry_, "ziyu_publish_retries_total",
                             "Records produced again after a failed delivery")
                      .Add({})) {
  begin_series();
}

/// Makes all known series: an alert on an increase misses the first event of a new series.
void metrics::begin_series() {
  build_info.Add({{"version", ZIYU_VERSION}}).Set(1);
  process_start.Set(read_start_time());
  for (auto code = static_cast<int>(errc::empty_image);
       code <= static_cast<int>(errc::result_too_large); ++code)
    dead_letters.Add({{"code", std::string{to_string(static_cast<errc>(code))}}});
  for (auto code : {errc::worker_died, errc::deadline_exceeded, errc::hard_limit, errc::bad_frame,
                    errc::misreported, errc::inference_failed, errc::timeout})
    failed_attempts.Add({{"code", std::string{to_string(code)}}});
  for (const auto* how : {"oom_killed", "hard_limit", "deadline_exceeded", "bad_frame",
                          "misreported", "timeout", "unknown", "exit code 1", "signal 6 (SIGABRT)",
                          "signal 7 (SIGBUS)", "signal 9 (SIGKILL)", "signal 11 (SIGSEGV)"})
    deaths.Add({{"how", how}});
  for (const auto* cause : {"crash", "hang", "hard_limit", "oom_killed", "bad_frame", "misreported",
                            "timeout", "rollout"})
    replacements.Add({{"cause", cause}});
  using supervision::leak_cause;
  for (auto i = 0; i <= static_cast<int>(leak_cause::unknown); ++i)
    replacements.Add({{"cause", std::string{to_string(static_cast<leak_cause>(i))}}});
  using supervision::breaker_state;
  for (auto x : {breaker_state::closed, breaker_state::open, breaker_state::half_open,
                 breaker_state::forced_open, breaker_state::disabled})
    breaker_transitions.Add({{"to", std::string{to_string(x)}}});
  using trigger = supervision::circuit_breaker::trigger;
  for (auto i = 0; i <= static_cast<int>(trigger::error_rate); ++i)
    breaker_openings.Add({{"cause", std::string{to_string(static_cast<trigger>(i))}}});
  breaker_openings.Add({{"cause", "probes"}});
  for (const auto& type : configs::event_types())
    events.Add({{"type", type}});
}

void metrics::begin_slots(uint32_t slots) {
  for (uint32_t i = 0; i < slots; ++i)
    set_jobs_left(i, {});
}

metrics::slot_series& metrics::series_of(uint32_t slot) {
  std::lock_guard guard{mutex_};
  if (const auto i = slot_series_.find(slot); i != slot_series_.end())
    return i->second;
  const prometheus::Labels labels{{"slot", std::to_string(slot)}};
  return slot_series_
    .emplace(slot, slot_series{worker_live_bytes.Add(labels), worker_private_bytes.Add(labels),
                               worker_generation.Add(labels), worker_jobs_left.Add(labels)})
    .first->second;
}

void metrics::set_worker_memory(uint32_t slot, uint64_t live_bytes, uint64_t private_bytes) {
  auto& series = series_of(slot);
  series.live_bytes.Set(static_cast<double>(live_bytes));
  series.private_bytes.Set(static_cast<double>(private_bytes));
}

void metrics::set_generation(uint32_t slot, uint64_t generation) {
  series_of(slot).generation.Set(static_cast<double>(generation));
}

void metrics::set_jobs_left(uint32_t slot, std::optional<uint64_t> jobs) {
  series_of(slot).jobs_left.Set(jobs ? static_cast<double>(*jobs)
                                     : std::numeric_limits<double>::infinity());
}

void metrics::serve_model(const events::model_version& x) {
  std::lock_guard guard{mutex_};
  auto& now = model_info.Add({{"name", x.name},
                              {"version", x.version},
                              {"sha256", x.sha256},
                              {"precision", x.precision},
                              {"decode", x.decode}});
  if (model_series_ != nullptr && model_series_ != &now)
    model_info.Remove(model_series_);
  model_series_ = &now;
  now.Set(1);
}

void metrics::set_lag(const std::map<messaging::topic_partition, uint64_t>& records) {
  std::lock_guard guard{mutex_};
  std::erase_if(lag_series_, [&](const auto& x) {
    if (records.contains(x.first))
      return false;
    lag.Remove(x.second);
    return true;
  });
  for (const auto& [where, count] : records) {
    auto& series = lag_series_[where];
    if (series == nullptr)
      series = &lag.Add({{"topic", where.topic}, {"partition", std::to_string(where.partition)}});
    series->Set(static_cast<double>(count));
  }
}

void metrics::read_process() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& x) {
    return static_cast<double>(x.tv_sec) + static_cast<double>(x.tv_usec) / 1e6;
  };
  {
    std::lock_guard guard{mutex_};
    process_cpu.Increment(
      std::max(0., seconds(usage.ru_utime) + seconds(usage.ru_stime) - process_cpu.Value()));
  }
  unsigned long long pages = 0, resident = 0;
  if (std::ifstream in{"/proc/self/statm"}; in >> pages >> resident)
    process_resident.Set(static_cast<double>(resident)
                         * static_cast<double>(::sysconf(_SC_PAGESIZE)));
  std::error_code failed;
  std::filesystem::directory_iterator files{"/proc/self/fd", failed};
  if (!failed) // the descriptor of this folder is among them
    process_fds.Set(static_cast<double>(std::distance(begin(files), end(files)) - 1));
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    process_max_fds.Set(static_cast<double>(limit.rlim_cur));
}

std::string metrics::text() const {
  std::ostringstream out;
  prometheus::TextSerializer{}.Serialize(out, registry_.Collect());
  return out.str();
}

} // namespace ziyu::actors
