#pragma once

#include "model/model_folder.hpp"

#include <cstdint>

namespace ziyu::model {

/// Where one axis of the crop lies.
struct axis_crop {
  int64_t from = 0; ///< First sample of the resized image.
  int to = 0;       ///< First sample of the crop; before it is padding.
  int count = 0;    ///< Samples that come from the image; behind them is padding.
};

/// Where the model's input lies in the resized image.
struct placement {
  int64_t full_width = 0, full_height = 0; ///< Size of the whole resized image.
  axis_crop across, down;
};

/// The geometry of `how` for an image of `width` × `height` pixels, with the numbers of
/// torchvision (`Resize`, `CenterCrop`), of timm (`ResizeKeepRatio`, `CenterCropOrPad`) or,
/// with `crops_down`, of Hugging Face's `center_crop`. Pure.
/// @pre width > 0, height > 0
placement place(int64_t width, int64_t height, const preprocessing& how);

} // namespace ziyu::model
