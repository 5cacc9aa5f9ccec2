#pragma once

#include "base/error.hpp"
#include "model/model_folder.hpp"
#include "model/precision.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace at {
class Tensor;
}

namespace ziyu::model {
namespace compiled {
class compiled_model;
}

/// One class of a prediction.
struct class_score {
  uint32_t index = 0;
  /// The model's answer after the model folder's `activation`: 0..1 with softmax and sigmoid, any
  /// number with none.
  float probability = 0;
  std::string label; ///< UTF-8.
};

/// Best first; equal probabilities by index. May be empty if the model folder has a
/// threshold.
using prediction = std::vector<class_score>;

/// Limits libtorch to one thread, for this process and all processes that are forked from it. Call
/// it before anything else uses libtorch: the fork server must be single-threaded when it forks.
/// Calling it again does nothing.
void use_one_thread();

/// A model on the CPU, in inference mode, on one thread: frozen TorchScript, or compiled code.
/// Survives `fork`. Not thread-safe; movable. Never throws.
///
/// Including this header does not pull in libtorch.
class predictor {
public:
  /// Loads the weights of a folder that `read_model_folder` has checked and runs
  /// them once on zeros. Errors: `model_corrupt` (not TorchScript),
  /// `model_mismatch` (does not accept [1, C, crop_height, crop_width], or does
  /// not answer [1, classes] of finite numbers), `labels_mismatch`.
  /// The folder's precision becomes `how`, which must not be int8 (`model_mismatch`).
  static expected<predictor> load(const model_folder& folder, precision how = precision::fp32);

  /// The same with code that has been compiled for the weights of `folder`, with the errors of the
  /// model's answers.
  static expected<predictor> load(const model_folder& folder, precision how,
                                  compiled::compiled_model code);

  predictor(predictor&&) noexcept;
  predictor& operator=(predictor&&) noexcept;
  ~predictor();

  /// Runs `runs` inferences on zeros, so that everything is cached that the first uses cache. After
  /// 3 runs a further inference keeps no live byte.
  expected<void> warm_up(uint32_t runs = 3);

  /// Finds out how many images the model takes together, and whether that is worth while: runs
  /// 1, 2, 4 ... up to `most` (at least 1) of them, and goes on as long as a row's answer is the
  /// same as alone and twice as many take less than twice the time. Returns the time of each size
  /// in microseconds of the processor; the last one is `max_batch`. The first is all there is when
  /// the model takes one image only. Each size is warm afterwards.
  std::vector<uint32_t> measure_batches(uint32_t most);

  /// The largest number of rows that `predict` gives to the model at once: a power of two.
  uint32_t max_batch() const;

  /// An input of rows that differ.
  at::Tensor example(uint32_t rows) const;

  /// The model's raw answer to a tensor of `preprocess`: [N, classes] for N images, before
  /// the activation. `inference_failed` with libtorch's reason.
  expected<at::Tensor> forward(const at::Tensor& input);

  /// The `top_k` best classes (at least 1, at most all) of each of the input's rows, without those
  /// below the threshold. More rows than `max_batch`, or a number that is no power of two, run in
  /// parts: the model sees few shapes, so that its plans and its memory settle. `inference_failed`
  /// for the rows of a part when the model throws; of a row, when it is NaN.
  std::vector<expected<prediction>> predict(const at::Tensor& input, uint32_t top_k);

  /// Activation and ranking of a row of what `forward` returned.
  expected<prediction> rank(const at::Tensor& logits, int64_t row, uint32_t top_k) const;

  /// Moves the weights into pages that processes share, for a process that is going to fork
  /// (model/shared_weights.hpp). What it loads later has weights of its own, as a leak must have.
  /// @returns The bytes moved: 0 for compiled code, whose weights are shared already. Errors: `io`.
  expected<uint64_t> share_weights();

  /// Adds to the warnings of `folder()`.
  void warn(std::string why);

  /// The numbers that it computes with; its input is bfloat16 in bf16, else float32.
  precision computes_in() const;
  uint32_t classes() const;
  const model_folder& folder() const;

private:
  struct state;
  /// Runs the model once on zeros and checks its answer.
  static expected<predictor> checked(std::unique_ptr<state> x);
  /// The time of `rows` rows in microseconds. Nothing if the model does not answer them as it
  /// answers each of them `alone`, which the call with one row sets.
  std::optional<uint32_t> time_of(uint32_t rows, at::Tensor& alone);
  explicit predictor(std::unique_ptr<state> x);
  std::unique_ptr<state> state_;
};

/// "2.15.0".
std::string torch_version();

} // namespace ziyu::model
