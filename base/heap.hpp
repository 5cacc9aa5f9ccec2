#pragma once

namespace ziyu {

/// For a process that runs for months: keeps glibc's heap from growing to the largest mess
/// it has ever been in. Two arenas instead of eight per core, as what one thread frees must
/// serve the next; blocks of 256 KiB and more (images, heap dumps) come from the system
/// and go back to it, instead of leaving holes of their size, which glibc would come to
/// prefer by itself (its threshold follows what is freed). Costs page faults per large block: a
/// millisecond per 16 MB or so. Call first in main(), before there are threads. Does
/// nothing with another C library.
void keep_heap_compact();

} // namespace ziyu
