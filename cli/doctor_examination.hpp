#pragma once

#include "cli/doctor_images.hpp"
#include "cli/doctor_report.hpp"

#include <chrono>
#include <filesystem>
#include <functional>

namespace ziyu::cli {

/// What `ziyu doctor` is to do.
struct examination {
  std::filesystem::path worker; ///< ziyu-worker
  std::filesystem::path helper; ///< ziyu, which names call stacks.
  std::filesystem::path model;
  std::vector<doctor_image> images; ///< Not empty; used in turn.
  std::string source;               ///< Where they come from, for people.
  uint64_t jobs = 200;              ///< At least; ten times as many while growth is not decided.
  std::optional<uint64_t> cache;    ///< What the model's caches hold, if it is known.
  uint64_t container_limit = 0;     ///< 0: that of our cgroup, else of the host.
  uint32_t slots = 0;               ///< 0: as many as fit.
  std::string fault;
  std::chrono::milliseconds answer_limit{30'000};
  std::function<bool()> cancelled;
};

/// Runs the model in a real worker and says what was found. A worker that fails is a
/// finding (`diagnosis::failure`); errors are: the model cannot be used (`model_missing`,
/// …), no worker can be started, `stopping`. Nothing is left running in any case. Shows
/// its progress on standard error when that is a terminal.
expected<diagnosis> examine(const examination& x);

} // namespace ziyu::cli
