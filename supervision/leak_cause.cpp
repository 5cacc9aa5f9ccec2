#include "supervision/leak_cause.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

namespace ziyu::supervision {

namespace {

bool near(double value, double target, double tolerance) {
  return target > 0 && std::abs(value - target) <= tolerance * target;
}

/// The GPU's cache grows, but not what tensors hold of it.
bool of_gpu_cache(const cause_evidence& x) {
  constexpr double least = 64 * 1024;
  return x.gpu_reserved_per_job > least && x.gpu_allocated_per_job < 0.5 * x.gpu_reserved_per_job;
}

constexpr std::array<std::string_view, 9> names{
  "retained_tensors", "retained_images", "model_reloaded", "gpu_cache", "native_allocation",
  "thread_local",     "hoarding",        "budget",         "unknown",
};

// Beginnings of frames' short names, or parts of their libraries' names.
constexpr std::string_view model_functions[] = {
  "torch::jit::load",
  "torch::jit::import_ir_module",
  "torch::jit::freeze",
  "torch::jit::Unpickler",
  "torch::jit::(anonymous namespace)::ScriptModuleDeserializer",
  "caffe2::serialize::",
  "torch::inductor::AOTIModelPackageLoader",
  "ziyu::model::predictor::load",
  "ziyu::model::classifier::load",
};
constexpr std::string_view gpu_functions[] = {
  "c10::cuda::CUDACachingAllocator",
  "at::CachingHostAllocator",
  "at::cuda::CachingHostAllocator",
};
constexpr std::string_view image_functions[] = {
  "cv::",
  "ziyu::model::decode_",
  "ziyu::model::pixel_grid",
  "ziyu::model::preprocess",
  "ziyu::model::resample",
};
constexpr std::string_view image_libraries[] = {
  "libopencv_", "libjpeg", "libturbojpeg", "libpng", "libwebp", "libtiff", "libopenjp2",
};
constexpr std::string_view tensor_functions[] = {"at::", "c10::", "torch::"};
constexpr std::string_view tensor_libraries[] = {"libtorch", "libc10"};
constexpr std::string_view thread_functions[] = {
  "__tls_get_addr", "__tls_init", "allocate_dtv", "TLS init function", "_dl_allocate_tls",
};
constexpr std::string_view thread_starts[] = {
  "start_thread", "clone", "clone3", "__clone3", "execute_native_thread_routine",
};

bool begins(std::string_view text, const auto& prefixes) {
  return std::any_of(std::begin(prefixes), std::end(prefixes),
                     [&](std::string_view x) { return text.starts_with(x); });
}

/// True if a frame's function or library begins with one of these.
template <class Functions>
bool any_function(const std::vector<std::string>& stack, const Functions& functions) {
  return std::any_of(stack.begin(), stack.end(),
                     [&](const std::string& x) { return begins(x, functions); });
}

template <class Libraries>
bool any_library(const call_stack& stack, const Libraries& libraries) {
  return std::any_of(stack.begin(), stack.end(),
                     [&](const code_location& x) { return begins(x.library, libraries); });
}

/// True for a thread other than the one that does the jobs.
bool of_another_thread(const std::vector<std::string>& stack) {
  return any_function(stack, thread_starts)
         && std::none_of(stack.begin(), stack.end(), [](const std::string& x) {
              return x == "main" || x.starts_with("ziyu::worker::run_worker");
            });
}

} // namespace

std::string_view to_string(leak_cause x) noexcept {
  const auto i = static_cast<size_t>(x);
  return i < names.size() ? names[i] : "unknown";
}

std::optional<leak_cause> parse_leak_cause(std::string_view name) noexcept {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    return std::nullopt;
  return static_cast<leak_cause>(found - names.begin());
}

const code_location& leak_site::responsible() const {
  static const code_location nowhere;
  if (stack.empty())
    return nowhere;
  const auto from = std::min(std::max(common, relevant.begin), stack.size() - 1);
  for (auto i = from; i < stack.size(); ++i)
    if (role_of(stack[i]) == frame_role::code && !stack[i].function.empty())
      return stack[i];
  return stack[from];
}

leak_cause cause_of(const call_stack& stack, uint32_t threads) {
  constexpr uint32_t many_threads = 4;
  std::vector<std::string> functions;
  for (const auto& x : stack)
    functions.push_back(short_name(x.function));
  if (of_another_thread(functions) || any_function(functions, thread_functions)
      || threads >= many_threads)
    return leak_cause::thread_local_growth;
  if (any_function(functions, model_functions))
    return leak_cause::model_reloaded;
  if (any_function(functions, gpu_functions))
    return leak_cause::gpu_cache;
  if (any_function(functions, image_functions) || any_library(stack, image_libraries))
    return leak_cause::retained_images;
  if (any_function(functions, tensor_functions) || any_library(stack, tensor_libraries))
    return leak_cause::retained_tensors;
  const auto named = std::any_of(stack.begin(), stack.end(), [](const code_location& x) {
    return !x.library.empty() && role_of(x) != frame_role::allocator;
  });
  return named ? leak_cause::native_allocation : leak_cause::unknown;
}

/// Memory that is not live is called hoarded only above this, and above the live growth.
constexpr double least_hoarded = 8 << 20;

leak_cause name_cause(const cause_evidence& x) {
  if (of_gpu_cache(x))
    return leak_cause::gpu_cache;
  if (x.kind == growth::hoarding)
    return leak_cause::hoarding;
  if (x.kind != growth::growing && x.kind != growth::leak && x.kind != growth::mixed) {
    // There is no verdict yet, but the memory is used up. A worker that is not even suspected has
    // only come near its budget.
    const auto hoarded = x.private_grown - x.live_grown;
    if (x.kind == growth::suspected)
      return hoarded > least_hoarded && hoarded > x.live_grown ? leak_cause::hoarding
                                                               : leak_cause::unknown;
    // A fast leak can use up the budget before there is a verdict.
    return x.kind == growth::warming_up && x.live_grown > hoarded ? leak_cause::unknown
                                                                  : leak_cause::budget;
  }
  // Only tensors hold memory of the GPU's allocator.
  if (x.gpu_allocated_per_job > 0 && x.live_per_job < x.gpu_allocated_per_job)
    return leak_cause::retained_tensors;
  // Data that are kept of an image are as large as the image: the growth follows the images' sizes
  // from job to job, or equals their mean.
  const auto image = x.encoded_per_job + x.decoded_per_job;
  if (x.delta_image_correlation > 0.95 || near(x.live_per_job, image, 0.02)
      || near(x.live_per_job, x.decoded_per_job, 0.02))
    return leak_cause::retained_images;
  if (near(x.live_per_job, static_cast<double>(x.model_bytes), 0.5) && x.live_per_job > 64 * 1024)
    return leak_cause::model_reloaded;
  // Counters of bytes cannot tell tensors from raw allocations: only call stacks can.
  return leak_cause::unknown;
}

leak_cause name_cause(const cause_evidence& x, const std::vector<leak_site>& sites) {
  if (of_gpu_cache(x))
    return leak_cause::gpu_cache;
  std::array<double, names.size()> bytes{};
  double all = 0, objects = 0;
  for (const auto& site : sites) {
    bytes[static_cast<size_t>(site.cause)] += std::max(site.bytes, 0.0);
    all += std::max(site.bytes, 0.0);
    objects += std::max(site.objects, 0.0);
  }
  const auto most = std::max_element(bytes.begin(), bytes.end());
  const auto cause = static_cast<leak_cause>(most - bytes.begin());
  const auto clear = all > 0 && *most >= 0.5 * all && cause != leak_cause::unknown;
  // Stacks are private memory that is not live: leaked threads can look like hoarding.
  if (x.kind == growth::hoarding)
    return clear && cause == leak_cause::thread_local_growth ? cause : leak_cause::hoarding;
  // More memory is not live than is live. Each sampled small object takes pages of its own, so that
  // a leak of small objects can look like hoarding.
  constexpr double small = 4096;
  const auto hoarded = x.private_grown - x.live_grown;
  if (clear && cause != leak_cause::thread_local_growth && hoarded > least_hoarded
      && hoarded > x.live_grown && all > small * objects)
    return leak_cause::hoarding;
  return clear ? cause : name_cause(x);
}

} // namespace ziyu::supervision
