#include "model/predictor.hpp"

#include "model/compiled/compiled_model.hpp"
#include "model/least_time.hpp"
#include "model/shared_weights.hpp"
#include "model/torch_reason.hpp"

#include <ATen/Parallel.h>
#include <torch/script.h>
#include <torch/version.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <mutex>
#include <numeric>
#include <optional>

namespace ziyu::model {
namespace {

std::string shape_of(const at::Tensor& tensor) {
  std::string result = "[";
  for (const auto size : tensor.sizes())
    result += (result.size() > 1 ? ", " : "") + std::to_string(size);
  return result + "]";
}

/// A batch is worth while if it takes less than this share of the time of its halves ...
constexpr auto least_gain = 0.97;
/// ... or no more than this for each image: about what the work around the model may take.
constexpr uint32_t negligible_us = 1'000;

/// The first runs of a shape plan it.
constexpr auto measured_runs = 4;

/// Applies the activation to the model's answer, in place.
void activate(std::vector<double>& scores, activation how) {
  if (how == activation::sigmoid)
    for (auto& x : scores)
      x = 1 / (1 + std::exp(-x));
  if (how != activation::softmax)
    return;
  const auto highest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (auto& x : scores)
    sum += x = std::exp(x - highest);
  for (auto& x : scores)
    x /= sum;
}

} // namespace

namespace {

/// Convolutions are a third faster with it, from two images on.
void use_channels_last(torch::jit::Module& x) {
  const c10::InferenceMode guard{false};
  for (auto parameter : x.parameters())
    if (parameter.dim() == 4)
      parameter.set_data(parameter.data().contiguous(at::MemoryFormat::ChannelsLast));
}

} // namespace

void use_one_thread() {
  static std::once_flag once;
  std::call_once(once, [] {
    at::set_num_threads(1);
    try {
      at::set_num_interop_threads(1);
    } catch (const std::exception&) {
      // Fails only if inter-op work has been launched before. Ziyu never launches any; without it
      // the inter-op threads do not exist.
    }
  });
}

struct predictor::state {
  model_folder folder;
  torch::jit::Module module;
  std::optional<compiled::compiled_model> code; ///< Instead of the module.
  precision how = precision::fp32;
  uint32_t max_batch = 1;

  at::Tensor zeros(int64_t rows = 1) const {
    const auto& input = folder.input;
    const int64_t channels = input.channels == preprocessing::colour::rgb ? 3 : 1;
    return at::zeros({rows, channels, input.crop_height, input.crop_width});
  }

  /// Rows that differ: a model that mixes its rows answers otherwise than to each of them alone.
  at::Tensor waves(int64_t rows) const {
    auto x = zeros(rows);
    const auto each = x.numel() / rows;
    auto* value = x.data_ptr<float>();
    for (int64_t i = 0; i < x.numel(); ++i)
      value[i] = static_cast<float>(
        std::sin(static_cast<double>(i % each) * 0.01 * static_cast<double>(1 + i / each)));
    return x;
  }

  /// The model's answer to `input`; empty when it is not a tensor. Throws.
  at::Tensor run(const at::Tensor& input) {
    const c10::InferenceMode guard;
    if (code)
      return code->run(input);
    auto answer = module.forward(
      {input.to(input.options().dtype(how == precision::bf16 ? at::kBFloat16 : at::kFloat), false,
                false, at::MemoryFormat::ChannelsLast)});
    return answer.isTensor() ? answer.toTensor() : at::Tensor{};
  }
};

predictor::predictor(std::unique_ptr<state> x) : state_(std::move(x)) {}
predictor::predictor(predictor&&) noexcept = default;
predictor& predictor::operator=(predictor&&) noexcept = default;
predictor::~predictor() = default;

expected<predictor> predictor::load(const model_folder& folder, precision how) {
  use_one_thread();
  const auto weights = folder.weights.string();
  if (how == precision::int8)
    return fail(errc::model_mismatch, weights + " is TorchScript, which has no int8");
  auto result = std::make_unique<state>();
  result->folder = folder;
  result->folder.precision = to_string(how);
  result->how = how;
  try {
    // The profiling executor stays on, as is libtorch's default. It keeps a plan per input shape
    // and grows with varying shapes (pytorch#46380). Ours are few (see `predict`), so that memory
    // settles after the second run of each, and this executor is the faster one.
    auto module = torch::jit::load(weights, c10::Device(c10::kCPU));
    module.eval();
    if (how == precision::bf16)
      module.to(at::kBFloat16);
    use_channels_last(module);
    result->module = torch::jit::freeze(module);
  } catch (const std::exception& e) {
    return fail(errc::model_corrupt, weights + " is not a TorchScript model that libtorch "
                                       + torch_version() + " can load: " + reason(e)
                                       + "; export the model again with tools/export_model.py");
  }
  return checked(std::move(result));
}

expected<predictor> predictor::load(const model_folder& folder, precision how,
                                    compiled::compiled_model code) {
  use_one_thread();
  auto result = std::make_unique<state>();
  result->folder = folder;
  result->folder.precision = to_string(how);
  result->how = how;
  result->code = std::move(code);
  return checked(std::move(result));
}

expected<predictor> predictor::checked(std::unique_ptr<state> result) {
  const auto& folder = result->folder;
  const auto weights = folder.weights.string();
  const auto input = result->zeros();
  at::Tensor answer;
  try {
    answer = result->run(input);
  } catch (const std::exception& e) {
    return fail(errc::model_mismatch, weights + " does not take the input " + shape_of(input)
                                        + " that model.json declares: " + reason(e));
  }
  if (!answer.defined() || answer.dim() != 2 || answer.size(0) != 1 || !answer.is_floating_point())
    return fail(errc::model_mismatch,
                weights + " must answer one row of numbers [1, classes], but answers "
                  + (answer.defined() ? shape_of(answer) : std::string{"no tensor"}));
  if (answer.size(1) != static_cast<int64_t>(folder.labels.size()))
    return fail(errc::labels_mismatch, weights + " has " + std::to_string(answer.size(1))
                                         + " classes, but there are "
                                         + std::to_string(folder.labels.size()) + " labels");
  predictor loaded{std::move(result)};
  if (auto scores = loaded.rank(answer, 0, 1); !scores)
    return fail(errc::model_mismatch, weights + " on an input of zeros: " + scores.error().message);
  return loaded;
}

expected<void> predictor::warm_up(uint32_t runs) {
  for (uint32_t i = 0; i < runs; ++i)
    if (const auto rows = predict(state_->zeros(), classes()); !rows.front())
      return tl::unexpected<error>(rows.front().error());
  return {};
}

expected<at::Tensor> predictor::forward(const at::Tensor& input) {
  try {
    auto answer = state_->run(input);
    if (!answer.defined() || answer.dim() != 2 || answer.size(0) != input.size(0)
        || answer.size(1) != static_cast<int64_t>(classes()))
      return fail(errc::inference_failed,
                  "the model answers "
                    + (answer.defined() ? shape_of(answer) : std::string{"no tensor"})
                    + " to the input " + shape_of(input));
    return answer;
  } catch (const std::exception& e) {
    return fail(errc::inference_failed, reason(e));
  }
}

std::vector<uint32_t> predictor::measure_batches(uint32_t most) {
  std::vector<uint32_t> times;
  at::Tensor alone;
  for (uint32_t rows = 1; rows <= std::max(most, 1u); rows *= 2) {
    const auto took = time_of(rows, alone);
    if (!took)
      break;
    // Where they take no time to speak of, what is saved is the work around the model.
    const auto saves = times.empty() || *took < negligible_us * rows
                       || static_cast<double>(*took) < least_gain * 2 * times.back();
    if (!saves)
      break;
    times.push_back(*took);
    state_->max_batch = rows;
  }
  return times;
}

std::optional<uint32_t> predictor::time_of(uint32_t rows, at::Tensor& alone) {
  try {
    const c10::InferenceMode guard;
    const auto input = state_->waves(rows);
    at::Tensor answer;
    const auto us = least_time(measured_runs, [&] {
      auto said = forward(input);
      if (said)
        answer = std::move(*said);
      return said.has_value();
    });
    if (!us)
      return std::nullopt;
    if (rows == 1) {
      // What the first row of each batch must be answered, and the second one.
      alone = at::cat({answer, forward(state_->waves(2).slice(0, 1).contiguous()).value()});
    } else {
      const auto tolerance = state_->how == precision::fp32 ? 1e-3 : 0.05;
      const auto wanted = alone.to(at::kFloat), got = answer.slice(0, 0, 2).to(at::kFloat);
      if (!at::allclose(got, wanted, tolerance, tolerance * wanted.abs().max().item<double>()))
        return std::nullopt;
    }
    return us;
  } catch (const std::exception&) { // out of memory, or a comparison of other shapes
    return std::nullopt;
  }
}

at::Tensor predictor::example(uint32_t rows) const { return state_->waves(rows); }

uint32_t predictor::max_batch() const { return state_->max_batch; }

std::vector<expected<prediction>> predictor::predict(const at::Tensor& input, uint32_t top_k) {
  const auto rows = input.size(0);
  std::vector<expected<prediction>> result;
  result.reserve(static_cast<size_t>(rows));
  for (int64_t from = 0; from < rows;) {
    const auto part = std::min(std::bit_floor(static_cast<uint64_t>(rows - from)),
                               uint64_t{state_->max_batch});
    const auto until = from + static_cast<int64_t>(part);
    const auto logits = forward(rows == until - from ? input : input.slice(0, from, until));
    for (int64_t i = 0; from < until; ++from, ++i)
      result.push_back(logits ? rank(*logits, i, top_k) : tl::unexpected<error>(logits.error()));
  }
  return result;
}

expected<prediction> predictor::rank(const at::Tensor& logits, int64_t which,
                                     uint32_t top_k) const {
  std::vector<double> scores(classes());
  try {
    const c10::InferenceMode guard;
    const auto row = logits.select(0, which).to(at::kFloat).contiguous();
    if (row.numel() != static_cast<int64_t>(scores.size()))
      return fail(errc::inference_failed, "the model answers " + shape_of(logits));
    std::copy_n(row.data_ptr<float>(), scores.size(), scores.begin());
  } catch (const std::exception& e) {
    return fail(errc::inference_failed, reason(e));
  }
  if (!std::all_of(scores.begin(), scores.end(), [](double x) { return std::isfinite(x); }))
    return fail(errc::inference_failed, "the model answers numbers that are not finite");
  activate(scores, state_->folder.output);
  std::vector<uint32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0u);
  const auto count = std::clamp<size_t>(top_k, 1, scores.size());
  std::partial_sort(
    order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
    [&](uint32_t a, uint32_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  prediction result;
  result.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const auto score = static_cast<float>(scores[order[i]]);
    if (state_->folder.threshold && score < *state_->folder.threshold)
      break;
    result.push_back({order[i], score, state_->folder.labels[order[i]]});
  }
  return result;
}

expected<uint64_t> predictor::share_weights() {
  return state_->code ? 0 : model::share_weights(state_->module);
}

void predictor::warn(std::string why) { state_->folder.warnings.push_back(std::move(why)); }

precision predictor::computes_in() const { return state_->how; }

uint32_t predictor::classes() const { return static_cast<uint32_t>(state_->folder.labels.size()); }

const model_folder& predictor::folder() const { return state_->folder; }

std::string torch_version() { return TORCH_VERSION; }

} // namespace ziyu::model
