#include "base/heap.hpp"

#include <cstdlib>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace ziyu {

void keep_heap_compact() {
#ifdef __GLIBC__
  constexpr int arenas = 2, large = 256 * 1024, spare = 512 * 1024;
  ::mallopt(M_ARENA_MAX, arenas);
  ::mallopt(M_MMAP_THRESHOLD, large);
  ::mallopt(M_TRIM_THRESHOLD, spare);
#endif
}

} // namespace ziyu
