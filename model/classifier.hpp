#pragma once

#include "model/decoder.hpp"
#include "model/predictor.hpp"
#include "model/preprocess.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace ziyu::model {

/// The result for one image.
struct classification {
  prediction top_k;
  uint32_t width = 0, height = 0; ///< Of the decoded image.
  uint64_t decode_us = 0, preprocess_us = 0;
  uint64_t inference_us = 0; ///< Of all images that ran together.
};

/// Decodes, preprocesses, predicts: encoded bytes in, labels out. This is all of
/// a worker's job. Same thread rules as `predictor`.
class classifier {
public:
  /// `read_model_folder` and `predictor::load`, with their errors.
  static expected<classifier> load(const std::filesystem::path& folder,
                                   const decode_limits& limits = {},
                                   precision how = precision::fp32);

  /// The same with a loaded model.
  classifier(predictor model, const decode_limits& limits);

  /// Warms the predictor with `runs` inferences and the decoders with a small
  /// synthetic image, so that the first job costs what the others cost and keeps
  /// no live byte.
  expected<void> warm_up(uint32_t runs = 3);

  /// In a process that has been forked from a warm one: uses the model and each decoder once, which
  /// copies the pages that they write to. A quarter of `warm_up(1)`: a leaking service pays it for
  /// each worker. Errors: those of `warm_up`.
  expected<void> touch();

  /// Errors: those of `decode_image`, and `inference_failed`.
  expected<classification> classify(std::string_view image, uint32_t top_k);

  /// Classifies images together: the model runs once for all that can be decoded. An image that
  /// fails (undecodable, NaN) fails alone. When the model itself fails, it fails for all of them.
  std::vector<expected<classification>> classify(const std::vector<std::string_view>& images,
                                                 uint32_t top_k);

  /// From the next image on.
  void decode_as(decoding how) { decoding_ = how; }

  predictor& model() { return predictor_; }
  const predictor& model() const { return predictor_; }
  const decode_limits& limits() const { return limits_; }
  const preprocessor& input() const { return preprocessor_; }

private:
  expected<void> use_decoder(std::string_view image);
  expected<void> use_model(std::string_view image);
  error unusable(const char* input, const error& why) const;
  /// Decodes and preprocesses into a row of `inputs`, which the first image makes for `most` rows.
  expected<classification> prepare(std::string_view image, at::Tensor& inputs, int64_t row,
                                   int64_t most) const;

  predictor predictor_;
  decode_limits limits_;
  preprocessor preprocessor_;
  decoding decoding_ = decoding::exact;
};

} // namespace ziyu::model
