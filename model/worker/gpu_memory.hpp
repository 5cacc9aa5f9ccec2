#pragma once

#include <cstdint>

namespace ziyu::worker {

/// What libtorch's caching allocator holds on the accelerators of this process, in bytes, all
/// devices together. It works for each accelerator (CUDA, ROCm, XPU, ...): it reads through
/// c10::DeviceAllocator, which each backend registers. All 0 where no backend is linked, before the
/// first use of a device (reading never makes a context), and with a libtorch that is too old for
/// that interface (CMake says so).
struct gpu_reading {
  uint64_t allocated = 0; ///< Held by tensors.
  uint64_t reserved = 0;  ///< Taken from the device: held by tensors or cached.
};

/// For one thread; takes hardly any time without a GPU.
gpu_reading read_gpu() noexcept;

/// Returns cached memory that is not held to the device; false where there is nothing to
/// empty.
bool empty_gpu_cache() noexcept;

/// The accelerators that libtorch could use here. May ask the driver, but makes no context.
int gpu_count() noexcept;

} // namespace ziyu::worker
