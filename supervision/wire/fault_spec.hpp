#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <string_view>

namespace ziyu::wire {

/// A fault to inject into a worker's jobs, to prove that the service heals.
struct fault_spec {
  enum class kind : uint8_t {
    none,
    retain_tensors, ///< Keeps the output and a tensor of `bytes`.
    retain_images,  ///< Keeps the encoded and the decoded image, or `bytes` of pixels.
    reload_model,   ///< Loads the model once more and keeps it.
    native_malloc,  ///< Keeps `bytes` of malloc'ed, touched memory.
    slow_leak,      ///< native_malloc of `bytes`, but only by every `every`-th job.
    of_thread,      ///< One more thread that keeps `bytes` of its own.
    fragment,       ///< `bytes` of freed memory that the allocator cannot use again.
    gpu_cache,      ///< `bytes` more in the GPU's caching allocator; needs a GPU.
    crash,          ///< SIGSEGV.
    hang,           ///< Never answers.
    slow,           ///< Takes `ms` longer.
    garbage,        ///< Writes rubbish to the socket instead of the answer.
    oom,            ///< Allocates until its cgroup's limit kills it.
  };
  kind what = kind::none;
  uint64_t bytes = 0;
  uint64_t ms = 0;
  uint64_t every = 1;
};

/// Parses a fault or the empty text (no fault). Amounts of bytes are as in `parse_bytes`:
///
///     retain_tensors[:bytes]   the output alone without an amount
///     retain_images[:bytes]    the job's own image without an amount
///     reload_model
///     native_malloc[:bytes]    1 MiB without an amount, as for the next three
///     thread_local[:bytes]
///     fragment[:bytes]
///     gpu_cache[:bytes]
///     slow_leak:bytes:every    e.g., slow_leak:64KiB:10
///     crash, hang, garbage, oom
///     slow:ms
///
/// The error lists what is known.
expected<fault_spec> parse_fault(std::string_view text);

} // namespace ziyu::wire
