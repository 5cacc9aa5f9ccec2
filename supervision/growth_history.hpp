#pragma once

#include <algorithm>
#include <cstdint>

namespace ziyu::supervision {

/// What the workers of one slot have shown about the caches of their model: how far a confirmed
/// growth went that then ended by itself. Growth of the slot's next worker up to this level is not
/// called a leak. In bytes of live memory above the level after a worker's first job. Pure; not
/// thread-safe.
class growth_history {
public:
  /// A confirmed growth has ended at `bytes`.
  void note_end(uint64_t bytes) { cache_bytes_ = std::max(cache_bytes_, bytes); }

  /// The highest level at which a growth ended; 0: no growth has ended.
  uint64_t cache_bytes() const { return cache_bytes_; }

  /// Called when the slot's workers run another model from now on.
  void forget() { cache_bytes_ = 0; }

private:
  uint64_t cache_bytes_ = 0;
};

} // namespace ziyu::supervision
