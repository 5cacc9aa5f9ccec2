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
  budget,              ///< Not a growth: the worker came near its budget without known growth.
  unknown,
};
std::string_view to_string(leak_cause x) noexcept;
/// The inverse of `to_string`; empty for an unknown name.
std::optional<leak_cause> parse_leak_cause(std::string_view name) noexcept;

/// The counters' values when a cause is to be named, bytes.
struct cause_evidence {
  growth kind = growth::healthy;
  double live_per_job = 0;    ///< Median slope of live bytes.
  double private_per_job = 0; ///< Median slope of private memory.
  double encoded_per_job = 0; ///< Mean size of the recent encoded images.
  double decoded_per_job = 0; ///< Mean size of the recent decoded images.
  double live_grown = 0;      ///< Live bytes since the worker was ready.
  double private_grown = 0;   ///< Private memory since then.
  uint64_t model_bytes = 0;   ///< What loading the model takes; 0: unknown.
  /// Correlation (Pearson, −1..1) of a job's live delta with its decoded size;
  /// 0 when one of them does not vary.
  double delta_image_correlation = 0;
  double gpu_reserved_per_job = 0;  ///< Growth of the GPU's caching allocator.
  double gpu_allocated_per_job = 0; ///< Growth of what tensors hold of that allocator.
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

  /// The frame to blame: the innermost frame that all stacks share and that is not only an
  /// allocator.
  const code_location& responsible() const;
};

/// Names the cause of one site by its stack. The rules are tried in this order, and the first that
/// applies counts. "Frame" means any frame of the stack.
///
/// - thread_local: a frame is a thread's start (`start_thread`, `clone3`) without our job loop
/// around it, or thread-local set-up (`__tls_get_addr`, `allocate_dtv`, "TLS init function"); or at
/// least 4 threads hold the same stack.
/// - model_reloaded: a frame is `torch::jit::load`, `torch::jit::import_ir_module`, an `Unpickler`,
/// `caffe2::serialize`, `torch::jit::freeze`, `ziyu::model::predictor::load` or the
/// `torch::inductor` package loader.
/// - gpu_cache: a frame is of `CUDACachingAllocator` or `CachingHostAllocator`.
/// - retained_images: a frame is of an image codec's library or of OpenCV (which a model may
/// bring), or is `ziyu::model::decode_image` or one of its parts, `preprocess`, `resample`,
/// `pixel_grid`.
/// - retained_tensors: a frame is of `at::`, `c10::`, `torch::` or of libtorch's libraries.
/// - native_allocation: at least one named frame is not the allocator's.
///
/// The order matters: loading a model allocates tensors, and so does preprocessing an image. The
/// cause is then the model or the image.
leak_cause cause_of(const call_stack& stack, uint32_t threads = 1);

/// A first guess from counters alone, described in docs/leak-judgement.md; `unknown` when the
/// numbers do not point to one cause. Pure.
leak_cause name_cause(const cause_evidence& x);

/// Names the cause by counters and call stacks together. Only counters show growth of the GPU's
/// cache alone, and hoarding (also hoarding beside a smaller leak). Otherwise the cause is the one
/// whose sites hold at least half of the growth that was found, else the guess from the counters.
/// Pure.
leak_cause name_cause(const cause_evidence& x, const std::vector<leak_site>& sites);

} // namespace ziyu::supervision
