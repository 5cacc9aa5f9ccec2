#pragma once

#include "base/own_process.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

namespace ziyu::model {

/// The least processor time of so many runs, in microseconds: at least 1. Nothing when a `run()` is
/// false, which is the last one then. Throws what `run` throws.
template <class Run>
std::optional<uint32_t> least_time(int runs, const Run& run) {
  auto least = std::chrono::nanoseconds::max();
  for (auto i = 0; i < runs; ++i) {
    const auto start = thread_processor_time();
    if (!run())
      return std::nullopt;
    least = std::min(least, thread_processor_time() - start);
  }
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(least).count();
  return static_cast<uint32_t>(std::clamp<int64_t>(us, 1, UINT32_MAX));
}

} // namespace ziyu::model
