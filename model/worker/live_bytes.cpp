#include "model/worker/live_bytes.hpp"

#include <array>
#include <atomic>
#include <charconv>
#include <memory>
#include <mutex>

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#ifdef ZIYU_HAS_JEMALLOC
#include <jemalloc/jemalloc.h>

// Read by jemalloc at its start. Large tensors stay in the process instead of being returned to
// the kernel after each job (that costs a third of the throughput); the trim rung purges
// explicitly. Small requests may use free extents of large images whatever the difference in
// size (2^30); with jemalloc's 2^6 these stayed unused and private memory grew. Returned
// address space is unmapped (retain:false): a worker's limit counts what is mapped, and must
// not count unused space. Profiling can be switched on in a suspect worker and costs nothing
// before.
extern "C" const char* malloc_conf;
const char* malloc_conf = "oversize_threshold:0,dirty_decay_ms:-1,muzzy_decay_ms:-1,"
                          "background_thread:false,narenas:1,lg_extent_max_active_fit:30,"
                          "retain:false,"
                          "prof:true,prof_active:false";
#endif

#ifdef ZIYU_HAS_JEMALLOC

namespace ziyu::worker {

namespace {

using thread_function = void* (*)(void*);

/// The addresses of jemalloc's counters for a thread.
struct thread_counters {
  const uint64_t *allocated = nullptr, *deallocated = nullptr;
  int64_t live() const { return static_cast<int64_t>(*allocated - *deallocated); }
};

/// All threads except the first. Never destroyed: threads may outlive main().
struct other_threads {
  /// More threads than a worker can have; further threads would not be counted.
  static constexpr size_t most = 8192;

  std::mutex mutex;
  std::atomic<bool> any = false; ///< A worker without other threads pays nothing.
  std::array<thread_counters, most> running;
  size_t count = 0;
  int64_t ended = 0; ///< Live bytes that ended threads left behind.
  pthread_key_t at_end;

  other_threads() { ::pthread_key_create(&at_end, leave); }

  static other_threads& get() {
    alignas(other_threads) static char place[sizeof(other_threads)];
    static auto only = new (place) other_threads;
    return *only;
  }

  void enter() {
    thread_counters x;
    size_t size = sizeof x.allocated;
    mallctl("thread.allocatedp", &x.allocated, &size, nullptr, 0);
    mallctl("thread.deallocatedp", &x.deallocated, &size, nullptr, 0);
    const std::lock_guard guard{mutex};
    if (count == most)
      return;
    running[count++] = x;
    any = true;
    ::pthread_setspecific(at_end, x.allocated);
  }

  /// Runs in the ending thread, after its thread_local objects were destroyed.
  static void leave(void* allocated) {
    auto& all = get();
    const std::lock_guard guard{all.mutex};
    for (size_t i = 0; i < all.count; ++i)
      if (all.running[i].allocated == allocated) {
        all.ended += all.running[i].live();
        all.running[i] = all.running[--all.count];
        return;
      }
  }

  int64_t live() {
    if (!any)
      return 0;
    const std::lock_guard guard{mutex};
    auto sum = ended;
    for (size_t i = 0; i < count; ++i)
      sum += running[i].live();
    return sum;
  }
};

struct thread_start {
  thread_function function;
  void* argument;
};

void* begin_thread(void* from) {
  const auto start = *static_cast<thread_start*>(from);
  delete static_cast<thread_start*>(from);
  other_threads::get().enter();
  return start.function(start.argument);
}

} // namespace

} // namespace ziyu::worker

/// Replaces libc's for every library of the process.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*function)(void*), void* argument) noexcept {
  using namespace ziyu::worker;
  static const auto real =
    reinterpret_cast<int (*)(pthread_t*, const pthread_attr_t*, thread_function, void*)>(
      ::dlsym(RTLD_NEXT, "pthread_create"));
  auto start = std::make_unique<thread_start>(thread_start{function, argument});
  const auto code = real(thread, attributes, begin_thread, start.get());
  if (code == 0)
    static_cast<void>(start.release()); // the thread owns it now
  return code;
}

#endif

namespace ziyu::worker {

int64_t memory_counters::live_of_other_threads() {
#ifdef ZIYU_HAS_JEMALLOC
  return other_threads::get().live();
#else
  return 0;
#endif
}

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

void memory_counters::give_back() const {
#ifdef ZIYU_HAS_JEMALLOC
  mallctl("thread.tcache.flush", nullptr, nullptr, nullptr, 0);
  mallctl("arena.0.purge", nullptr, nullptr, nullptr, 0);
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
