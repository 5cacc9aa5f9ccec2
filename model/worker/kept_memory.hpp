#pragma once

#include "supervision/wire/frames.hpp"

#include <algorithm>
#include <cstdint>

namespace ziyu::worker {

/// Tells when the allocator keeps so much freed memory that it must be returned to the system.
/// Large images leave behind memory that usual jobs do not need. If it stayed, a healthy worker's
/// private memory would come near its budget. Memory that usual jobs free stays for the next job:
/// taking pages from the kernel anew costs as much as a small job. Pure.
class kept_memory {
public:
  /// @param fresh The reading when the worker was ready: each job needs what was kept then.
  /// @param most Bytes that may be kept beyond that.
  kept_memory(const wire::memory_reading& fresh, uint64_t most) : base_(fresh), most_(most) {}

  /// Whether more than the bound is kept, by a reading between two jobs.
  bool is_too_much(const wire::memory_reading& now) const { return kept(now) > most_; }

  /// Memory that is left after a return cannot be returned: it is the base from now on.
  void gave_back(const wire::memory_reading& now) {
    if (now.rss_anon > base_.rss_anon)
      base_ = now;
  }

private:
  uint64_t kept(const wire::memory_reading& now) const {
    const auto grown = now.rss_anon - std::min(now.rss_anon, base_.rss_anon);
    const auto held = now.live - std::min(now.live, base_.live);
    return grown - std::min(grown, held);
  }

  wire::memory_reading base_;
  uint64_t most_;
};

/// The bound for a worker with `budget` that has `private_bytes` when it is ready: a quarter
/// of the room between them, so that kept memory and a further large job stay far from the
/// budget. At most 64 MiB, the pixels of a photograph of 22 megapixels. Without a budget (0)
/// 64 MiB.
inline uint64_t most_kept(uint64_t budget, uint64_t private_bytes) {
  constexpr uint64_t most = uint64_t{64} << 20;
  return budget == 0 ? most : std::min(most, (budget - std::min(budget, private_bytes)) / 4);
}

} // namespace ziyu::worker
