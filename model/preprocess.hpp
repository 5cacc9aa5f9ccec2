#pragma once

#include "model/decoder.hpp"
#include "model/model_folder.hpp"
#include "model/precision.hpp"

#include <array>
#include <cstdint>

namespace at {
class Tensor;
}

namespace ziyu::model {

/// Turns images into rows of a model's input, in the numbers and in the order (channels-last) that
/// the model computes with, so that nothing has to be copied between. Immutable.
class preprocessor {
public:
  explicit preprocessor(const preprocessing& how, precision numbers = precision::fp32);

  /// The input of `rows` images, not initialised: [rows, C, crop_height, crop_width] in
  /// channels-last order, float32 or bfloat16.
  at::Tensor batch(int64_t rows) const;

  /// Writes the upright image into a row of a batch. It equals what torchvision's (or timm's)
  /// resize, centre crop, ToTensor and Normalize make of the same pixels as a PIL image (after
  /// `Grayscale` when the model wants one channel). Resized pixels are bit-exact, and float32 is
  /// exact up to its last bit.
  ///
  /// Memory is bounded by the model's input, not by an image's proportions. Never fails for a
  /// `preprocessing` that `read_model_folder` accepted.
  void preprocess(const decoded_image& image, at::Tensor& batch, int64_t row) const;

  /// A batch of this image alone.
  at::Tensor preprocess(const decoded_image& image) const;

  const preprocessing& how() const { return how_; }

private:
  template <class Number>
  void write(const decoded_image& image, at::Tensor& batch, int64_t row) const;

  preprocessing how_;
  precision numbers_;
  /// ToTensor and Normalize of every possible pixel value, for each channel.
  std::array<std::array<float, 256>, 3> values_{};
};

} // namespace ziyu::model
