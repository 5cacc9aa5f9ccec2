#pragma once

#include "tests/simulation/scenario.hpp"
#include "tests/simulation/service.hpp"

namespace ziyu::simulation {

struct options {
  /// Called with a line for each thing that happens.
  timeline::listener trace;
  /// For services that break a promise.
  port_wrappers wrappers;
};

/// The result of a scenario.
struct outcome {
  std::vector<violation> violations; ///< Empty: all promises were kept.
  uint64_t steps = 0;                ///< Messages handled by actors, and tasks of the world.
  int64_t simulated_us = 0;
  uint64_t hash = 0; ///< Hash of everything that happened.
  // How much happened.
  uint64_t jobs = 0, results = 0, dead_letters = 0, repeated = 0;
  uint64_t services = 0, workers = 0, worker_deaths = 0, rebalances = 0, commits = 0;
  uint64_t openings = 0;    ///< Of breakers.
  uint64_t resumptions = 0; ///< After maintenance.
  uint64_t rollouts = 0;    ///< Of another version of the model, which serves.
  uint64_t pauses = 0;      ///< Of consumers, when memory was short.
};

/// Runs the real actors through a scenario: faults occur for a while, then they stop, and all jobs
/// must be finished. The promises are checked after each step.
outcome run(const scenario& x, const options& o = {});

/// A smaller scenario that breaks the same promise as `x` does: fewer kinds of faults,
/// fewer jobs, services, partitions and slots, a shorter time.
/// @param runs Tries at most so many.
scenario shrink(const scenario& x, const options& o = {}, uint32_t runs = 200);

} // namespace ziyu::simulation
