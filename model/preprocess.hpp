#pragma once

#include "model/decoder.hpp"
#include "model/model_folder.hpp"

namespace at {
class Tensor;
}

namespace ziyu::model {

/// The upright image's tensor [1, C, crop_height, crop_width], float32. It equals what
/// torchvision's (or timm's) resize, centre crop, ToTensor and Normalize make of the same pixels as
/// a PIL image (after `Grayscale` when the model wants one channel). Resized pixels are bit-exact,
/// and the tensor is exact up to the last bit of a float.
///
/// Memory is bounded by the model's input, not by an image's proportions. Never
/// fails for a `preprocessing` that `read_model_folder` accepted.
at::Tensor preprocess(const decoded_image& image, const preprocessing& how);

} // namespace ziyu::model
