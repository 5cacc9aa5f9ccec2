#pragma once

#include "model/decoder.hpp"
#include "model/geometry.hpp"
#include "model/model_folder.hpp"
#include "model/resampling/kernels.hpp"

#include <cstdint>
#include <functional>

namespace ziyu::model {

/// A part of an image that is resized to `full_width` × `full_height`; only this window of it is
/// computed.
struct resample_window {
  int64_t full_width = 0, full_height = 0;
  int64_t left = 0, top = 0;
  int width = 0, height = 0;

  resample_window() = default;
  resample_window(int64_t of_width, int64_t of_height, int64_t at_left, int64_t at_top, int across,
                  int down)
    : full_width(of_width), full_height(of_height), left(at_left), top(at_top), width(across),
      height(down) {}
  explicit resample_window(const placement& x)
    : resample_window(x.full_width, x.full_height, x.across.from, x.down.from, x.across.count,
                      x.down.count) {}
};

/// Takes the result's row `y`, as its pixels lie in the stored image: without the orientation.
using stored_row_taker = std::function<void(uint32_t y, const uint8_t* row)>;

/// Resizes the upright image as Pillow does: antialiased, in fixed point with rounding to
/// 8 bits between the horizontal and the vertical pass. Bit-exact with the window of
/// `ImageOps.exif_transpose(image).resize((full_width, full_height), filter)` of Pillow 13;
/// before it, images more than twice as high as wide may differ by a rounding. With
/// `grey` of its `convert("L")`: the result has one channel.
///
/// The stored pixels are read in their stored order, and the result's rows are handed out in that
/// order, from the first to the last. So memory is bounded by the window and some rows or columns
/// of the image. Neither a copy of the image nor `full_width` × `full_height` counts: a
/// 1 × 1 000 000 image, whose other edge would become 224 million pixels long, costs no more than a
/// square one.
/// @pre The pixels have 3 channels and are all that `read_by_resample` names; the window is not
/// empty and lies within the full size.
void resample(const decoded_image& image, bool grey, const resample_window& window,
              preprocessing::interpolation filter, const stored_row_taker& take,
              const kernels& by = best_kernels());

/// The same as an image that is turned upright.
pixel_grid resample(const decoded_image& image, bool grey, const resample_window& window,
                    preprocessing::interpolation filter, const kernels& by = best_kernels());

/// A rectangle of the pixels of an image as stored.
struct stored_region {
  uint32_t left = 0, top = 0, width = 0, height = 0;
};

/// The pixels that `resample` reads of an image of this size.
stored_region read_by_resample(uint32_t stored_width, uint32_t stored_height, uint32_t orientation,
                               const resample_window& window, preprocessing::interpolation filter);

/// Whether the columns and the rows of the upright image run backwards in the stored one.
constexpr bool is_stored_backwards_across(uint32_t orientation) {
  return orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
}
constexpr bool is_stored_backwards_down(uint32_t orientation) {
  return orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
}

} // namespace ziyu::model
