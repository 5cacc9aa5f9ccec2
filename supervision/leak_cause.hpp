#pragma once

#include "supervision/call_stack.hpp"
#include "supervision/leak_judge.hpp"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace ziyu::supervision {

/// Why a worker's memory grows: the named cause of a replacement.
enum class leak_cause : uint8_t {
  retained_tensors,
  retained_images,
  model_reloaded,
  gpu_cache,
  native_allocation,
  thread_local_growth, ///< "thread_local".
  hoarding,            ///< Fragmentation, or caches of the allocator.
  budget,              ///< None: it came near its budget, and is not known to grow.
  unknown,
};
std::string_view to_string(leak_cause x) noexcept;
/// The inverse of `to_string`; empty for an unknown name.
std::optional<leak_cause> parse_leak_cause(std::string_view name) noexcept;

/// What the counters say when a cause is to be named, bytes.
struct cause_evidence {
  growth kind = growth::healthy;
  double live_per_job = 0;    ///< Median slope of live bytes.
  double private_per_job = 0; ///< Median slope of private memory.
  double encoded_per_job = 0; ///< Mean size of the encoded images of late.
  double decoded_per_job = 0; ///< Mean size of the decoded images of late.
  double live_grown = 0;      ///< Live bytes since the worker was ready.
  double private_grown = 0;   ///< Private memory since then.
  uint64_t model_bytes = 0;   ///< What loading the model takes; 0: unknown.
  /// Correlation (Pearson, −1..1) of a job's live delta with its decoded size;
  /// 0 when one of them does not vary.
  double delta_image_correlation = 0;
  double gpu_reserved_per_job = 0;  ///< Growth of the GPU's caching allocator.
  double gpu_allocated_per_job = 0; ///< Growth of what tensors hold of it.
};

/// A place in the code that makes memory grow.
struct leak_site {
  double bytes = 0, objects = 0;
  double share = 0;     ///< Of all growth, 0..1 (rounding aside).
  uint32_t threads = 0; ///< Most threads that hold memory of one of its stacks.
  call_stack stack;     ///< All of its largest stack, innermost first.
  stack_range relevant; ///< The part of `stack` to show first.
  /// Index into `stack` of the innermost frame that all of the site's stacks have in
  /// common.
  size_t common = 0;
  leak_cause cause = leak_cause::unknown; ///< By `cause_of`.

  /// The frame to blame: the innermost one that all stacks share and that is more
  /// than an allocator.
  const code_location& responsible() const;
};

/// Names the cause of one site by its stack. The first rule that fits counts:
///
/// | rule | a frame of the stack is | cause |
/// |---|---|---|
/// | thread | a thread's start (`start_thread`, `clone3`) without our job loop around it, or thread-local set-up (`__tls_get_addr`, `allocate_dtv`, "TLS init function"); or ≥ 4 threads hold the same stack | thread_local |
/// | model | `torch::jit::load`, `torch::jit::import_ir_module`, an `Unpickler`, `caffe2::serialize`, `torch::jit::freeze`, `ziyu::model::predictor::load`, `torch::inductor` package loader | model_reloaded |
/// | GPU | `CUDACachingAllocator`, `CachingHostAllocator` | gpu_cache |
/// | image | any function of an image codec's library or of OpenCV (which a model may bring), `ziyu::model::decode_image` and its kind, `preprocess`, `resample`, `pixel_grid` | retained_images |
/// | tensor | any function of `at::`, `c10::`, `torch::`, or of libtorch's libraries | retained_tensors |
/// | else | at least one named frame that is not the allocator | native_allocation |
///
/// Order matters: loading a model allocates tensors, and so does preprocessing an
/// image; what is kept is the model, the image.
leak_cause cause_of(const call_stack& stack, uint32_t threads = 1);

/// A first guess from counters alone, documented in docs/leak-judgement.md;
/// `unknown` when the numbers do not single one out. Pure.
leak_cause name_cause(const cause_evidence& x);

/// Counters and call stacks together. Growth of the GPU's cache alone and hoarding are seen by counters only, also hoarding beside a leak that holds less; else the cause whose
/// sites hold at least half of the growth that was found; else what the counters guess. Pure.
leak_cause name_cause(const cause_evidence& x, const std::vector<leak_site>& sites);

} // namespace ziyu::supervision
