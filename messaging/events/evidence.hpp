#pragma once

#include "messaging/events/fields.hpp"
#include "messaging/events/model_version.hpp"

namespace ziyu::events {

/// Growth per job, with the bounds of its confidence interval.
struct slope {
  double bytes_per_job = 0, lower = 0, upper = 0;

  static void fields(auto& self, auto&& f) {
    f("bytes_per_job", self.bytes_per_job);
    f("lower", self.lower);
    f("upper", self.upper);
  }
};

/// The latest jobs of a worker, the oldest first.
struct series {
  struct point {
    uint64_t job = 0; ///< Counted from 1.
    int64_t delta_bytes = 0;
    uint64_t live_bytes = 0, private_bytes = 0;
  };
  std::vector<point> points = {};

  /// {"columns": [...], "rows": [[...], ...]}
  nlohmann::json to_json() const;
  void read(const nlohmann::json& from);
};

/// What is known about a worker when an event speaks of its memory. Sizes are in bytes.
struct evidence {
  uint32_t slot = 0;
  uint64_t generation = 0;
  int64_t pid = 0;
  std::optional<model_version> model = {}; ///< That it serves.
  uint64_t jobs = 0;
  std::string verdict;     ///< As `supervision::growth`.
  std::string judgement;   ///< The verdict in a sentence.
  double odds = 0;         ///< "evidence": against a healthy worker.
  uint64_t onset_job = 0;  ///< Counted from 1; 0: there is no growth.
  std::string with_inputs; ///< The inputs that a leak grows with.
  slope live_slope, private_slope;
  uint64_t live_bytes = 0, private_bytes = 0, peak_private_bytes = 0, baseline_bytes = 0;
  int64_t last_delta_bytes = 0;
  uint64_t budget_bytes = 0;
  /// Only of workers with memory on a GPU.
  std::optional<uint64_t> gpu_allocated_bytes = {}, gpu_reserved_bytes = {};
  std::optional<slope> gpu_slope = {};
  /// Jobs until the budget; only if confirmed growth leads to it.
  std::optional<uint64_t> jobs_left = {}, jobs_left_earliest = {}, jobs_left_latest = {};
  events::series series;

  static void fields(auto& self, auto&& f) {
    f("slot", self.slot);
    f("generation", self.generation);
    f("pid", self.pid);
    f("model", self.model);
    f("jobs", self.jobs);
    f("verdict", self.verdict);
    f("judgement", self.judgement);
    f("evidence", self.odds);
    f("onset_job", self.onset_job);
    f("with_inputs", self.with_inputs);
    f("live_slope", self.live_slope);
    f("private_slope", self.private_slope);
    f("live_bytes", self.live_bytes);
    f("private_bytes", self.private_bytes);
    f("peak_private_bytes", self.peak_private_bytes);
    f("baseline_bytes", self.baseline_bytes);
    f("last_delta_bytes", self.last_delta_bytes);
    f("budget_bytes", self.budget_bytes);
    f("gpu_allocated_bytes", self.gpu_allocated_bytes);
    f("gpu_reserved_bytes", self.gpu_reserved_bytes);
    f("gpu_slope", self.gpu_slope);
    f("jobs_left", self.jobs_left);
    f("jobs_left_earliest", self.jobs_left_earliest);
    f("jobs_left_latest", self.jobs_left_latest);
    f("series", self.series);
  }
};

} // namespace ziyu::events
