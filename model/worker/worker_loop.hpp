#pragma once

#include "base/descriptor.hpp"
#include "model/precision_choice.hpp"

#include <chrono>

namespace ziyu::worker {

struct worker_settings {
  bool faults_allowed = false;
  model::choice_request model;
  /// Private memory at which this worker is replaced and killed; 0: never.
  uint64_t budget_bytes = 0, hard_limit_bytes = 0;
};

/// The life of a worker process, from just after the fork to its end: first inference,
/// `ready`, then one job after the other. It ends when told to (`stop`, SIGTERM), when
/// the socket closes, or, even if busy, within 2 s after the control process has
/// ended.
/// @param forked When the fork began.
[[noreturn]] void run_worker(unique_fd socket, model::classifier& by,
                             const worker_settings& settings,
                             std::chrono::steady_clock::time_point forked);

} // namespace ziyu::worker
