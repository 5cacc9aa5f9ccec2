#include "model/worker/faults.hpp"

#include "base/bytes.hpp"
#include "model/worker/gpu_memory.hpp"
#include "model/worker/memory_limit.hpp"

#include <ATen/DeviceAccelerator.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#ifdef ZIYU_HAS_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

namespace ziyu::worker {

namespace {

constexpr size_t page = 4096;

/// Fills a cache of the calling thread, like libraries that keep one per thread.
[[gnu::noinline]] void fill_thread_cache(uint64_t bytes) {
  thread_local std::vector<char> cache;
  cache.assign(bytes, 0x5a);
}

/// Starts a thread that fills its cache and is never used again.
expected<void> start_idle_thread(uint64_t bytes) {
  std::promise<void> filled;
  auto done = filled.get_future();
  try {
    std::thread{[bytes, promise = std::move(filled)]() mutable {
      fill_thread_cache(bytes);
      promise.set_value();
      for (;;)
        ::pause();
    }}.detach();
  } catch (const std::system_error& e) {
    return fail(errc::unavailable, std::string{"thread_local: no further thread: "} + e.what());
  }
  done.wait();
  return {};
}

/// Memory that is free but cannot be used again: each call uses a new arena, like code that makes
/// an allocator per request, and nothing is allocated there later.
expected<void> hoard(uint64_t bytes) {
#ifdef ZIYU_HAS_JEMALLOC
  unsigned arena = 0;
  size_t size = sizeof arena;
  if (mallctl("arenas.create", &arena, &size, nullptr, 0) != 0)
    return fail(errc::unavailable, "fragment: jemalloc has no further arena");
  const auto flags = MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE;
  if (auto block = mallocx(std::max<uint64_t>(bytes, 1), flags)) {
    std::memset(block, 0x5a, bytes);
    dallocx(block, flags);
  }
  return {};
#else
  static_cast<void>(bytes);
  return fail(errc::unavailable, "fragment: this worker was built without jemalloc");
#endif
}

/// Touches memory until the kernel ends this process, and only this one.
expected<void> exhaust_memory() {
  const auto limit = read_memory_limit();
  if (!limit)
    return fail(errc::unavailable, "oom: refused, as no memory limit (cgroup) stands between "
                                   "this process and the whole machine");
  // The kernel chooses this process among all that share the limit.
  make_first_victim();
  constexpr size_t step = 4u << 20;
  for (uint64_t taken = 0; taken < *limit + 2 * step; taken += step) {
    const auto block = ::mmap(nullptr, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                              -1, 0);
    if (block == MAP_FAILED)
      return fail(errc::unavailable, "oom: the system refuses further memory");
    for (size_t i = 0; i < step; i += page)
      static_cast<volatile char*>(block)[i] = 1;
  }
  return fail(errc::unavailable, "oom: survived " + format_bytes(static_cast<int64_t>(*limit)));
}

} // namespace

struct fault_injector::kept {
  std::vector<at::Tensor> tensors;
  std::vector<std::string> encoded;
  std::vector<model::decoded_image> decoded;
  std::vector<model::predictor> models;
  std::vector<void*> blocks;
  uint64_t jobs = 0;       ///< Jobs with a fault.
  uint64_t gpu_blocks = 0; ///< In the GPU's cache because of this fault.
};

fault_injector::fault_injector() : kept_(std::make_unique<kept>()) {
  // nop
}

fault_injector::~fault_injector() = default;

void fault_injector::keep_block(uint64_t bytes) {
  auto block = std::malloc(bytes);
  if (block != nullptr)
    std::memset(block, 0x5a, bytes);
  kept_->blocks.push_back(block);
}

expected<void> fault_injector::inject(const wire::fault_spec& what, model::classifier& by,
                                      std::string_view image) {
  using kind = wire::fault_spec::kind;
  ++kept_->jobs;
  // Faults must show the supervisor's own rungs.
  if (what.what != kind::none)
    lift_growth_limit();
  switch (what.what) {
  case kind::none: break;
  case kind::retain_tensors:
    // The job's image is decoded once more, since the job has freed its own.
    if (auto decoded = model::decode_image(image, by.limits()))
      if (auto logits = by.model().forward(by.input().preprocess(*decoded)))
        kept_->tensors.push_back(std::move(*logits));
    if (what.bytes > 0)
      kept_->tensors.push_back(at::zeros({static_cast<int64_t>(what.bytes)}, at::kByte));
    break;
  case kind::retain_images:
    if (what.bytes > 0) {
      model::pixel_grid pixels{static_cast<uint32_t>(std::min<uint64_t>(what.bytes, 1u << 30)), 1,
                               1};
      std::memset(pixels.data(), 0x5a, pixels.size());
      kept_->decoded.push_back({std::move(pixels)});
      break;
    }
    kept_->encoded.emplace_back(image);
    if (auto decoded = model::decode_image(image, by.limits()))
      kept_->decoded.push_back(std::move(*decoded));
    break;
  case kind::reload_model:
    if (auto again = model::predictor::load(by.model().folder()))
      kept_->models.push_back(std::move(*again));
    break;
  case kind::native_malloc: keep_block(what.bytes); break;
  case kind::slow_leak:
    if (kept_->jobs % what.every == 0)
      keep_block(what.bytes);
    break;
  case kind::of_thread: return start_idle_thread(what.bytes);
  case kind::fragment: return hoard(what.bytes);
  case kind::gpu_cache: {
    if (gpu_count() == 0)
      return fail(errc::unavailable, "gpu_cache: refused, as this worker has no GPU that its "
                                     "libtorch can use");
    // One more block at once than ever before: the cache must grow by one.
    const at::Device gpu{at::getAccelerator(true).value()};
    std::vector<at::Tensor> blocks;
    ++kept_->gpu_blocks;
    try {
      for (uint64_t i = 0; i < kept_->gpu_blocks; ++i)
        blocks.push_back(
          at::empty({static_cast<int64_t>(what.bytes)}, at::TensorOptions{gpu}.dtype(at::kByte)));
    } catch (const c10::Error& e) { // the device is full
      return fail(errc::unavailable, std::string{"gpu_cache: "} + e.what_without_backtrace());
    }
    break;
  }
  case kind::crash:
    ::signal(SIGSEGV, SIG_DFL);
    ::raise(SIGSEGV);
    break;
  case kind::hang:
    for (;;)
      ::pause();
  case kind::slow: std::this_thread::sleep_for(std::chrono::milliseconds{what.ms}); break;
  case kind::garbage: break;
  case kind::oom: return exhaust_memory();
  }
  return {};
}

} // namespace ziyu::worker
