#pragma once

#include "model/decoder.hpp"
#include "model/model_folder.hpp"

#include <cstdint>

namespace ziyu::model {

/// A part of an image that is resized to `full_width` × `full_height`; only this window of it is
/// computed.
struct resample_window {
  int64_t full_width = 0, full_height = 0;
  int64_t left = 0, top = 0;
  int width = 0, height = 0;
};

/// Resizes the upright image as Pillow does: antialiased, in fixed point with rounding to
/// 8 bits between the horizontal and the vertical pass. Bit-exact with the window of
/// `ImageOps.exif_transpose(image).resize((full_width, full_height), filter)` of Pillow 13;
/// before it, images more than twice as high as wide may differ by a rounding. With
/// `grey` of its `convert("L")`: the result has one channel.
///
/// The stored pixels are read in their stored order; only the result is turned upright. So memory
/// is bounded by the window and a row or column of the image. Neither a copy of the image nor
/// `full_width` × `full_height` counts: a 1 × 1 000 000 image, whose other edge would become 224
/// million pixels long, costs no more than a square one.
/// @pre The pixels have 3 channels; the window is not empty and lies within the full size.
pixel_grid resample(const decoded_image& image, bool grey, const resample_window& window,
                    preprocessing::interpolation filter);

} // namespace ziyu::model
