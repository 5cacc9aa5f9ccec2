#pragma once

#include <algorithm>
#include <cstdint>

namespace ziyu::supervision {

/// What the workers of one slot have shown of the caches of the model that they run: how far
/// a growth went that was confirmed and then ended by itself. The next worker of the slot is
/// not called leaking for growing as far. Bytes of live memory above those after a worker's
/// first job. Pure; not thread-safe.
class growth_history {
public:
  /// A confirmed growth has ended at `bytes`.
  void note_end(uint64_t bytes) { cache_bytes_ = std::max(cache_bytes_, bytes); }

  /// The highest level at which a growth ended; 0: none has.
  uint64_t cache_bytes() const { return cache_bytes_; }

  /// The slot's workers run another model from now on.
  void forget() { cache_bytes_ = 0; }

private:
  uint64_t cache_bytes_ = 0;
};

} // namespace ziyu::supervision
