#include "model/worker/live_bytes.hpp"

#include <charconv>

#include <fcntl.h>
#include <unistd.h>

#ifdef ZIYU_HAS_JEMALLOC
#include <jemalloc/jemalloc.h>

// Read by jemalloc at its start. Large tensors stay with us instead of going back to
// the kernel after each job (a third of the throughput); the trim rung purges by hand.
// Profiling is there to be switched on in a suspect worker and costs nothing until then.
extern "C" const char* malloc_conf;
const char* malloc_conf = "oversize_threshold:0,dirty_decay_ms:-1,muzzy_decay_ms:-1,"
                          "background_thread:false,narenas:1,prof:true,prof_active:false";
#endif

namespace ziyu::worker {

memory_counters::memory_counters() {
  statm_ = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
#ifdef ZIYU_HAS_JEMALLOC
  size_t size = sizeof allocated_;
  mallctl("thread.allocatedp", &allocated_, &size, nullptr, 0);
  mallctl("thread.deallocatedp", &deallocated_, &size, nullptr, 0);
#endif
}

wire::memory_reading memory_counters::read() const {
  wire::memory_reading x;
  const auto net = live();
  x.live = net > 0 ? static_cast<uint64_t>(net) : 0;
  char text[128];
  const auto n = ::pread(statm_, text, sizeof text, 0);
  if (n > 0) {
    uint64_t pages[3] = {};
    auto at = text;
    for (auto& p : pages)
      at = const_cast<char*>(std::from_chars(at, text + n, p).ptr) + 1;
    x.rss_anon = (pages[1] - pages[2]) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  }
  return x;
}

void memory_counters::trim() const {
#ifdef ZIYU_HAS_JEMALLOC
  mallctl("thread.tcache.flush", nullptr, nullptr, nullptr, 0);
  // 4096 is MALLCTL_ARENAS_ALL.
  mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0);
#endif
}

std::string jemalloc_version() {
#ifdef ZIYU_HAS_JEMALLOC
  const char* text = nullptr;
  size_t size = sizeof text;
  if (mallctl("version", &text, &size, nullptr, 0) == 0)
    return text;
#endif
  return {};
}

} // namespace ziyu::worker
