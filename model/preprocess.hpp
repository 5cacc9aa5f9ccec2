#pragma once

#include "model/decoder.hpp"
#include "model/model_folder.hpp"

namespace at {
class Tensor;
}

namespace ziyu::model {

/// Resizes an 8-bit image with 1 or 3 channels as Pillow does (antialiased,
/// fixed point, horizontal before vertical): bit-exact with
/// `Image.resize((width, height), filter)`.
/// @pre `width > 0 && height > 0`
cv::Mat resize_like_pillow(const cv::Mat& image, int width, int height,
                           preprocessing::interpolation filter);

/// The tensor [1, C, crop_height, crop_width], float32, that torchvision's
/// Resize, CenterCrop, ToTensor and Normalize make of the same pixels
/// (`Grayscale` first when the model wants one channel). Never fails for a
/// checked `preprocessing`.
at::Tensor preprocess(const decoded_image& image, const preprocessing& how);

} // namespace ziyu::model
