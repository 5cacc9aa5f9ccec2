#pragma once

#include <nlohmann/json.hpp>

#include <string>

namespace ziyu::test {

inline nlohmann::json event_of(const std::string& type, int64_t time_ms, nlohmann::json detail) {
  return {{"schema", "ziyu.event.v1"},
          {"type", type},
          {"time_ms", time_ms},
          {"instance", "host-1"},
          {"detail", std::move(detail)}};
}

/// A leak of 6 MiB per job, as the service reports it: jobs 2 to 24 of slot 0.
inline nlohmann::json leak_report_event(const std::string& id = "0.3-5f2a91c0",
                                        int64_t time_ms = 1'700'000'000'123) {
  using nlohmann::json;
  auto rows = json::array();
  for (int64_t job = 2; job <= 24; ++job)
    rows.push_back({job, 6'292'144, 65'700'000 + job * 6'292'144, 2'800'000 + job * 6'300'000});
  const json allocator{{"function", "operator new(unsigned long)"}, {"library", "libstdc++.so.6"}},
    blamed{{"function", "ziyu::model::keep_tensor(at::Tensor const&)"},
           {"library", "ziyu_worker"},
           {"file", "model/worker/faults.cpp"},
           {"line", 42}},
    caller{{"function", "ziyu::model::run_job(ziyu::wire::job const&)"},
           {"library", "ziyu_worker"}},
    base{{"function", "main"}, {"library", "ziyu_worker"}};
  return event_of(
    "leak_report", time_ms,
    {{"report", id},
     {"slot", 0},
     {"generation", 3},
     {"pid", 4711},
     {"cause", "retained_tensors"},
     {"verdict", "leak"},
     {"reason", "leak of 6.0 MiB per job: 69.7 MiB of 152.6 MiB are used"},
     {"growth",
      {{"bytes", 144'719'312},
       {"jobs", 23},
       {"bytes_per_job", 6'292'144.0},
       {"lower", 6'100'000.0},
       {"upper", 6'400'000.0}}},
     {"forecast", {{"jobs_left", 9}, {"earliest", 8}, {"latest", 11}}},
     {"budget_bytes", 160'000'000},
     {"baseline_bytes", 2'756'608},
     {"private_bytes", 154'000'000},
     {"peak_private_bytes", 154'100'000},
     {"sampling",
      {{"sample_bytes", 524'288}, {"estimated_bytes", 141'000'000}, {"calibrated", true}}},
     {"sites",
      {{{"bytes", 140'000'000},
        {"share", 0.967},
        {"objects", 23},
        {"threads", 1},
        {"cause", "retained_tensors"},
        {"responsible", blamed},
        {"stack", {blamed, caller}},
        {"full_stack", {allocator, blamed, caller, base}}},
       {{"bytes", 4'719'312},
        {"share", 0.033},
        {"objects", 46},
        {"threads", 2},
        {"cause", "native_allocation"},
        {"responsible", caller},
        {"stack", {caller}},
        {"full_stack", {allocator, caller, base}}}}},
     {"flame", "main;ziyu::model::run_job;ziyu::model::keep_tensor 140000000\n"
               "main;ziyu::model::run_job 4719312\n"},
     {"series",
      {{"columns", {"job", "delta_bytes", "live_bytes", "private_bytes"}}, {"rows", rows}}},
     {"explain_ms", 310.5}});
}

inline nlohmann::json replaced_event(const std::string& report, int64_t bytes_recovered,
                                     int64_t time_ms = 1'700'000'000'400) {
  nlohmann::json detail{{"slot", 0},
                        {"generation", 3},
                        {"new_generation", 4},
                        {"cause", "retained_tensors"},
                        {"reason", "9 jobs are left until the budget"},
                        {"bytes_recovered", bytes_recovered},
                        {"ms", 91.6}};
  if (!report.empty())
    detail["report"] = report;
  return event_of("worker_replaced", time_ms, std::move(detail));
}

} // namespace ziyu::test
