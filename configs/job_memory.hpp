#pragma once

#include <cstdint>

namespace ziyu::configs {

// How `jobs.max_pixels`, `memory.worker_budget_bytes` and `memory.worker_hard_limit_bytes` are
// related (docs/decisions/0013). A worker is killed at its hard limit. When a job begins, the
// worker may hold as much as its budget. So a job may take the difference between the two, less a
// reserve. All values are in bytes. Pure.

/// Pixels that a job may have when nothing else bounds them.
inline constexpr uint64_t most_pixels = 100'000'000;

/// Bytes of a decoded pixel: three channels of 8 bits.
inline constexpr uint64_t bytes_per_pixel = 3;

/// What a job takes beside its decoded image (encoded bytes, rows of the resampler, tensors beyond
/// those of the warm-up) and what allocators waste: an eighth of the room, 16 MiB at most.
uint64_t job_reserve(uint64_t budget, uint64_t hard_limit);

/// The memory that decoding one image may take in a worker that is at its budget.
uint64_t job_room(uint64_t budget, uint64_t hard_limit);

/// The largest image that fits into that room, at most `most_pixels`, at least 1.
uint64_t fitting_pixels(uint64_t budget, uint64_t hard_limit);

/// The smallest hard limit that leaves room for `pixels`, whole MiB.
uint64_t least_hard_limit(uint64_t budget, uint64_t pixels);

} // namespace ziyu::configs
