#pragma once

#include "cli/doctor/images.hpp"
#include "cli/doctor/report.hpp"

#include <chrono>
#include <filesystem>
#include <functional>

namespace ziyu::cli {

/// The task of `ziyu doctor`.
struct examination {
  std::filesystem::path worker; ///< ziyu-worker
  std::filesystem::path helper; ///< ziyu, which names call stacks.
  std::filesystem::path model;
  std::vector<doctor_image> images; ///< Not empty; used in turn.
  std::string source;               ///< The images' source, for people.
  uint64_t jobs = 200;              ///< Least number; up to ten times as many if necessary.
  std::optional<uint64_t> cache;    ///< What the model's caches hold when they are full, if known.
  uint64_t container_limit = 0;     ///< 0: our cgroup's, else the host's.
  uint32_t slots = 0;               ///< 0: as many as fit.
  std::string fault;
  std::chrono::milliseconds load_limit{60'000}; ///< Model loaded and warm.
  std::chrono::milliseconds answer_limit{30'000};
  std::function<bool()> cancelled;
};

/// Runs the model in a real worker and reports the findings. A worker that fails is a finding
/// (`diagnosis::failure`). Errors: the model cannot be used (`model_missing`, …), no worker can be
/// started, `stopping`. No process is left running in any case. Shows its progress on standard
/// error when that is a terminal.
expected<diagnosis> examine(const examination& x);

} // namespace ziyu::cli
