#include "model/classifier.hpp"

#include "model/warm_up_images.hpp"

#include <ATen/core/Tensor.h>

#include <chrono>
#include <exception>

namespace ziyu::model {
namespace {

/// Microseconds since the last call.
class stopwatch {
public:
  uint64_t lap() {
    const auto now = std::chrono::steady_clock::now();
    const auto passed = std::chrono::duration_cast<std::chrono::microseconds>(now - last_);
    last_ = now;
    return static_cast<uint64_t>(passed.count());
  }

private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

} // namespace

classifier::classifier(predictor model, const decode_limits& limits)
  : predictor_(std::move(model)), limits_(limits),
    preprocessor_(predictor_.folder().input, predictor_.computes_in()) {}

expected<classifier> classifier::load(const std::filesystem::path& path,
                                      const decode_limits& limits, precision how) {
  const auto folder = read_model_folder(path);
  if (!folder)
    return tl::unexpected<error>(folder.error());
  auto model = predictor::load(*folder, how);
  if (!model)
    return tl::unexpected<error>(model.error());
  return classifier{std::move(*model), limits};
}

expected<void> classifier::use_decoder(std::string_view image) {
  try {
    if (const auto decoded = decode_image(image, {}, {&preprocessor_.how()}))
      preprocessor_.preprocess(*decoded);
    return {};
  } catch (const std::exception& e) { // out of memory
    return fail(errc::unavailable, std::string{"cannot warm up with an image: "} + e.what());
  }
}

expected<void> classifier::use_model(std::string_view image) {
  auto result = classify(image, 5);
  if (result)
    return {};
  return tl::unexpected(result.error().code == errc::inference_failed
                          ? unusable("an image of one colour", result.error())
                          : result.error());
}

// The service would not start with such a model, whatever images are to come.
error classifier::unusable(const char* input, const error& why) const {
  return error{why.code == errc::inference_failed ? errc::model_mismatch : why.code,
               predictor_.folder().weights.string() + " fails in the warm-up on " + input + ": "
                 + why.message + "; mend the model and export it again"};
}

expected<void> classifier::warm_up(uint32_t runs) {
  if (auto warmed = predictor_.warm_up(runs); !warmed)
    return tl::unexpected(unusable("an input of zeros", warmed.error()));
  // Uses each decoder that jobs commonly need; the model itself is warm.
  for (const auto image : {as_bytes(warm_up_jpeg), as_bytes(warm_up_png), as_bytes(warm_up_webp)}) {
    for (uint32_t i = 1; i < runs; ++i)
      if (auto ok = use_decoder(image); !ok)
        return ok;
    if (auto ok = use_model(image); !ok)
      return ok;
  }
  return {};
}

expected<void> classifier::touch() {
  for (const auto image : {as_bytes(warm_up_png), as_bytes(warm_up_webp)})
    if (auto ok = use_decoder(image); !ok)
      return ok;
  return use_model(as_bytes(warm_up_jpeg));
}

expected<classification> classifier::classify(std::string_view image, uint32_t top_k) {
  return std::move(classify(std::vector<std::string_view>{image}, top_k).front());
}

std::vector<expected<classification>> classifier::classify(
  const std::vector<std::string_view>& images, uint32_t top_k) {
  std::vector<expected<classification>> results(images.size());
  at::Tensor inputs;
  std::vector<size_t> rows; // the image of each input
  for (size_t i = 0; i < images.size(); ++i) {
    results[i] = prepare(images[i], inputs, static_cast<int64_t>(rows.size()),
                         static_cast<int64_t>(images.size()));
    if (results[i])
      rows.push_back(i);
  }
  if (rows.empty())
    return results;
  stopwatch watch;
  std::vector<expected<prediction>> top;
  try {
    top = predictor_.predict(inputs.narrow(0, 0, static_cast<int64_t>(rows.size())), top_k);
  } catch (const std::exception& e) { // out of memory
    top.assign(rows.size(), fail(errc::inference_failed, std::string{"a batch: "} + e.what()));
  }
  const auto inference_us = watch.lap();
  for (size_t i = 0; i < rows.size(); ++i) {
    auto& result = results[rows[i]];
    if (!top[i]) {
      result = tl::unexpected<error>(top[i].error());
      continue;
    }
    result->top_k = std::move(*top[i]);
    result->inference_us = inference_us;
  }
  return results;
}

expected<classification> classifier::prepare(std::string_view image, at::Tensor& inputs,
                                             int64_t row, int64_t most) const {
  classification result;
  stopwatch watch;
  const auto decoded = decode_image(image, limits_, {&preprocessor_.how(), decoding_});
  if (!decoded)
    return tl::unexpected<error>(decoded.error());
  result.width = decoded->width();
  result.height = decoded->height();
  result.decode_us = watch.lap();
  try {
    if (!inputs.defined())
      inputs = preprocessor_.batch(most);
    preprocessor_.preprocess(*decoded, inputs, row);
  } catch (const std::exception& e) { // out of memory
    return fail(errc::inference_failed, std::string{"preprocessing: "} + e.what());
  }
  result.preprocess_us = watch.lap();
  return result;
}

} // namespace ziyu::model
