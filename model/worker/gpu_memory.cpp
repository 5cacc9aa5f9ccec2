#include "model/worker/gpu_memory.hpp"

#ifdef ZIYU_HAS_DEVICE_ALLOCATOR
#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <c10/core/CachingDeviceAllocator.h>
#endif

#include <algorithm>

namespace ziyu::worker {

#ifdef ZIYU_HAS_DEVICE_ALLOCATOR

namespace {

/// The accelerator and its allocator; null without an accelerator.
struct device_memory {
  c10::DeviceType type = c10::DeviceType::CPU;
  c10::DeviceAllocator* allocator = nullptr;
};

device_memory find() {
  const auto type = at::accelerator::getAccelerator();
  if (!type)
    return {};
  // Throws for a backend that registers none.
  const auto allocator = c10::getDeviceAllocator(*type);
  return {*type, allocator->initialized() ? allocator : nullptr};
}

uint64_t now(const c10::CachingAllocator::StatArray& x) {
  const auto value = x[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].current;
  return static_cast<uint64_t>(std::max<int64_t>(value, 0));
}

} // namespace

gpu_reading read_gpu() noexcept {
  gpu_reading x;
  try {
    const auto memory = find();
    if (memory.allocator == nullptr)
      return x;
    const auto& hooks = at::globalContext().getAcceleratorHooksInterface(memory.type);
    for (c10::DeviceIndex i = 0; i < hooks.deviceCount(); ++i) {
      if (!hooks.hasPrimaryContext(i))
        continue;
      const auto stats = memory.allocator->getDeviceStats(i);
      x.allocated += now(stats.allocated_bytes);
      x.reserved += now(stats.reserved_bytes);
    }
  } catch (const std::exception&) {
    // A backend without these statistics counts as none.
  }
  return x;
}

bool empty_gpu_cache() noexcept {
  try {
    const auto memory = find();
    if (memory.allocator == nullptr)
      return false;
    memory.allocator->emptyCache();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

int gpu_count() noexcept {
  try {
    const auto type = at::accelerator::getAccelerator();
    return type ? at::globalContext().getAcceleratorHooksInterface(type).deviceCount() : 0;
  } catch (const std::exception&) {
    return 0;
  }
}

#else

gpu_reading read_gpu() noexcept { return {}; }
bool empty_gpu_cache() noexcept { return false; }
int gpu_count() noexcept { return 0; }

#endif

} // namespace ziyu::worker
