#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace ziyu::supervision {

/// Decides how many jobs run together, and how long they may take. A free slot waits for no job: it
/// takes its share of those that wait. So a lone job runs at once, and batches grow with the load.
/// Pure; not thread-safe.
class batch_former {
public:
  struct settings {
    uint32_t max_jobs = 1;  ///< Of a batch.
    uint64_t max_bytes = 0; ///< Of the images of a batch; a single image may have more.
    std::chrono::milliseconds timeout{30'000}; ///< For a lone job.
  };

  explicit batch_former(const settings& x) : settings_(x) {}

  /// How many jobs a free slot takes, at least 1.
  /// @param slot_takes What its worker may take together.
  /// @param waiting Jobs that wait for a slot.
  /// @param free_slots Slots without a job, itself included.
  uint32_t most_jobs(uint32_t slot_takes, size_t waiting, size_t free_slots) const;

  /// Whether an image of `bytes` may join others that have `together` bytes.
  bool fits(uint64_t together, uint64_t bytes) const {
    return together == 0 || together + bytes <= settings_.max_bytes;
  }

  /// After this time the worker of so many jobs counts as hung. At most twice that of a lone job.
  std::chrono::milliseconds time_limit(size_t jobs) const;

  /// An attempt at so many jobs has been answered.
  void ended(size_t jobs, std::chrono::microseconds took);

private:
  settings settings_;
  std::chrono::microseconds usual_{0}; ///< Of one job, recently.
};

} // namespace ziyu::supervision
