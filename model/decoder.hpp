#pragma once

#include "base/error.hpp"
#include "model/pixels.hpp"

#include <cstdint>
#include <string_view>

namespace ziyu::model {

/// Bounds for decoding a job's image.
struct decode_limits {
  uint64_t max_pixels = 100'000'000; ///< Width × height, checked before anything is allocated.
  /// Memory that decoding and resampling may take (`decode_peak_bytes`), checked at the same time;
  /// 0: no limit.
  uint64_t max_peak_bytes = 0;
};

/// An image ready for preprocessing. Copies share the pixels (reference count).
struct decoded_image {
  /// RGB as stored. They are not turned upright: that would take a second copy of the largest
  /// object that a worker holds. Resampling reads them through `orientation`.
  pixel_grid pixels;
  uint32_t orientation = 1; ///< In EXIF's numbering, 1 to 8.

  /// Of the upright image.
  uint32_t width() const { return orientation >= 5 ? pixels.height() : pixels.width(); }
  uint32_t height() const { return orientation >= 5 ? pixels.width() : pixels.height(); }
};

/// Decodes JPEG, PNG, BMP, WebP and TIFF to the same bytes as Pillow's
/// `ImageOps.exif_transpose(Image.open(f)).convert("RGB")`: grey and palette become colour, CMYK is
/// converted, alpha is dropped (not composited). Of 16-bit samples the high byte is kept, also of
/// grey ones, which Pillow clips to white. The table in docs/model-folder.md lists the admitted
/// layouts.
///
/// Errors: `empty_image`, `undecodable_image` (not an image, truncated, damaged, a format or
/// layout that is not admitted, which the text names), `image_too_large`,
/// `inference_failed` (out of memory). Never throws.
expected<decoded_image> decode_image(std::string_view bytes, const decode_limits& limits = {});

/// A copy that is turned upright, for callers that need the pixels themselves.
pixel_grid upright(const decoded_image& image);

} // namespace ziyu::model
