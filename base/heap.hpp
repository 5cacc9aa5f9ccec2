#pragma once

namespace ziyu {

/// Keeps glibc's heap small in a process that runs for months: the heap does not stay at the
/// largest size that it has ever needed. Sets two arenas instead of eight per core, so that memory
/// which one thread frees serves the next one. Blocks of 256 KiB and more (images, heap dumps)
/// come from the system and go back to it, so that they leave no holes; glibc would raise this
/// threshold by itself when such blocks are freed. Costs page faults per large block: about a
/// millisecond per 16 MB. Call it first in main(), before there are threads. Does nothing with
/// another C library.
void keep_heap_compact();

} // namespace ziyu
