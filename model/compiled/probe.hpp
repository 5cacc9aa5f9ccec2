#pragma once

#include "model/compiled/package.hpp"

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <vector>

namespace ziyu::model::compiled {

/// An input, and what TorchScript in fp32 answers to it.
struct trial {
  at::Tensor input, wanted; ///< [rows, ...], [rows, classes]
  uint32_t us = UINT32_MAX; ///< The processor time that TorchScript takes.
};

struct probe_limits {
  double tolerance = 1e-3;                   ///< Of an answer, as a part of the largest one.
  std::chrono::milliseconds patience{5'000}; ///< For all of it.
};

/// Tries a package in a child process: code for another processor may kill it, hang or answer
/// nonsense. The child loads the package and runs each of the `trials` (of 1, 2, 4 ... rows).
/// Returns the processor time of each in microseconds, the best of three runs; after one that takes
/// more than three times what TorchScript takes, no larger ones are run. Errors, with what
/// was wrong: `worker_died`, `timeout`, `model_mismatch` (other answers, or threads), and those of
/// `compiled_model::load`. The caller must have one thread.
expected<std::vector<uint32_t>> probe(const package& x, const std::vector<trial>& trials,
                                      const probe_limits& limits);

} // namespace ziyu::model::compiled
