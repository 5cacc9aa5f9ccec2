// Readings of an accelerator's allocator, by way of a backend of our own that has one
// device and no hardware. Without a backend: all is 0, which the first test needs to be.

#include "model/worker/gpu_memory.hpp"

#include <gtest/gtest.h>

#ifdef ZIYU_HAS_DEVICE_ALLOCATOR

#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>

namespace ziyu::worker {
namespace {

using c10::CachingAllocator::StatType;

struct fake_allocator : c10::DeviceAllocator {
  int64_t allocated_now = 0, reserved_now = 0;
  bool ready = false;
  int asked = 0;

  bool initialized() override { return ready; }
  void emptyCache(c10::MempoolId_t) override { reserved_now = allocated_now; }
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override {
    ++asked;
    c10::CachingDeviceAllocator::DeviceStats x;
    const auto all = static_cast<size_t>(StatType::AGGREGATE);
    x.allocated_bytes[all].current = allocated_now;
    x.reserved_bytes[all].current = reserved_now;
    return x;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {}
  c10::DataPtr allocate(size_t) override { return {}; }
  void copy_data(void*, const void*, size_t) const override {}
};

struct fake_device : at::PrivateUse1HooksInterface {
  bool has_context = false;

  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return has_context; }
  c10::DeviceIndex deviceCount() const override { return 1; }
};

fake_allocator memory;
fake_device device;

/// libtorch has one registry per process, so that the order of the steps counts.
TEST(GpuMemory, IsReadThroughWhateverBackendIsThere) {
  EXPECT_EQ(gpu_count(), 0) << "this test is for a libtorch without a GPU's backend";
  EXPECT_EQ(read_gpu().reserved, 0u);
  EXPECT_FALSE(empty_gpu_cache());

  c10::SetAllocator(c10::DeviceType::PrivateUse1, &memory);
  at::RegisterPrivateUse1HooksInterface(&device);
  c10::register_privateuse1_backend("fake");
  EXPECT_EQ(gpu_count(), 1);
  memory.allocated_now = 3 << 20;
  memory.reserved_now = 20 << 20;
  EXPECT_EQ(read_gpu().reserved, 0u) << "the allocator has not been used yet";
  EXPECT_FALSE(empty_gpu_cache());
  memory.ready = true;
  EXPECT_EQ(read_gpu().reserved, 0u) << "no device has a context, and reading makes none";
  EXPECT_EQ(memory.asked, 0);

  device.has_context = true;
  EXPECT_EQ(read_gpu().allocated, 3u << 20);
  EXPECT_EQ(read_gpu().reserved, 20u << 20);
  EXPECT_TRUE(empty_gpu_cache());
  EXPECT_EQ(read_gpu().allocated, 3u << 20);
  EXPECT_EQ(read_gpu().reserved, 3u << 20);
}

} // namespace
} // namespace ziyu::worker

#else

TEST(GpuMemory, IsNotReadByALibtorchWithoutTheInterface) {
  EXPECT_EQ(ziyu::worker::gpu_count(), 0);
  EXPECT_EQ(ziyu::worker::read_gpu().reserved, 0u);
  EXPECT_FALSE(ziyu::worker::empty_gpu_cache());
}

#endif
