#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>

namespace ziyu::test {

/// The answer of /health when all is well.
inline nlohmann::json healthy_answer() {
  return {{"status", "healthy"},
          {"memory_percent", 31.27},
          {"threshold_exceeded", false},
          {"memory_used_bytes", 335'544'320},
          {"memory_limit_bytes", 1'073'741'824},
          {"memory_source", "cgroup2"},
          {"breaker", "closed"},
          {"breaker_reason", ""},
          {"consuming", true},
          {"slots", 2},
          {"slots_up", 2},
          {"standbys", 1},
          {"replacements", 3},
          {"reasons", nlohmann::json::array()},
          {"kafka", ""},
          {"lag_records", 7},
          {"oldest_unfinished_s", 0.42},
          {"waiting", 0},
          {"running", 1},
          {"results", 512},
          {"dead_letters", 4}};
}

/// The answer of /workers: a leaking worker in slot 0, a healthy one in slot 1, a standby.
inline nlohmann::json workers_answer() {
  using nlohmann::json;
  auto slope = [](double x, double lower, double upper) {
    return json{{"bytes_per_job", x}, {"lower", lower}, {"upper", upper}};
  };
  auto rows = json::array();
  for (int64_t job = 1; job <= 11; ++job)
    rows.push_back({job, 6'292'144, 65'711'136 + job * 6'292'144, 2'800'000 + job * 6'300'000});
  const json columns{"job", "delta_bytes", "live_bytes", "private_bytes"};
  auto worker = [&](int64_t number, int64_t pid, const char* state, int64_t private_bytes) {
    return json{{"worker", number},
                {"pid", pid},
                {"state", state},
                {"jobs", 0},
                {"verdict", "warming_up"},
                {"live_bytes", 65'711'136},
                {"private_bytes", private_bytes},
                {"budget_bytes", 134'217'728},
                {"last_delta_bytes", 0},
                {"live_slope", slope(0, 0, 0)},
                {"private_slope", slope(0, 0, 0)},
                {"series", {{"columns", columns}, {"rows", json::array()}}}};
  };
  auto leaking = worker(5, 4711, "serving", 72'100'000);
  leaking.update({{"slot", 0},
                  {"generation", 3},
                  {"jobs", 11},
                  {"verdict", "leak"},
                  {"live_bytes", 134'924'800},
                  {"last_delta_bytes", 6'292'144},
                  {"jobs_left", 9},
                  {"jobs_left_earliest", 8},
                  {"live_slope", slope(6'292'144, 6'100'000, 6'400'000)},
                  {"private_slope", slope(6'300'000, 6'300'000, 6'300'000)},
                  {"series", {{"columns", columns}, {"rows", rows}}}});
  auto healthy = worker(4, 4710, "serving", 2'900'000);
  healthy.update({{"slot", 1}, {"generation", 1}, {"jobs", 480}, {"verdict", "healthy"}});
  return {{"workers", {worker(6, 4712, "standby", 2'700'000), healthy, leaking}},
          {"replacements", 3},
          {"fork_server", {{"pid", 2952}, {"up", true}, {"ready", true}, {"number", 1}}}};
}

/// The answer of /ledger with so many finished jobs.
inline nlohmann::json ledger_answer(uint64_t published = 512, uint64_t dead_lettered = 4) {
  return {{"total",
           {{"fetched", published + dead_lettered},
            {"published", published},
            {"dead_lettered", dead_lettered},
            {"handed_back", 0},
            {"in_flight", 0},
            {"balanced", true}}},
          {"partitions", nlohmann::json::array()}};
}

} // namespace ziyu::test
