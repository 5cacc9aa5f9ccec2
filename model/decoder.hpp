#pragma once

#include "base/error.hpp"

#include <opencv2/core/mat.hpp>

#include <cstdint>
#include <string_view>

namespace ziyu::model {

/// What a job's image may cost.
struct decode_limits {
  uint64_t max_pixels = 100'000'000; ///< Width × height, checked before anything is allocated.
  /// What decoding and resampling may take (`decode_peak_bytes`), checked at the same
  /// time; 0: no limit.
  uint64_t max_peak_bytes = 0;
};

/// An image ready for preprocessing. Copies share the pixels (reference count).
struct decoded_image {
  /// CV_8UC3, continuous, EXIF orientation applied. BGR, as OpenCV has it: the
  /// channels are put in the model's order when they become a tensor.
  cv::Mat pixels;

  uint32_t width() const { return static_cast<uint32_t>(pixels.cols); }
  uint32_t height() const { return static_cast<uint32_t>(pixels.rows); }
};

/// Decodes JPEG, PNG, BMP, WebP and TIFF to what PIL's
/// `ImageOps.exif_transpose(Image.open(f)).convert("RGB")` gives: grey and
/// palette become colour, CMYK is converted, alpha is dropped (not composited),
/// and of 16-bit samples the high byte is kept.
///
/// Errors: `empty_image`, `undecodable_image` (not an image, truncated, damaged,
/// unknown format), `image_too_large`. Never throws.
expected<decoded_image> decode_image(std::string_view bytes, const decode_limits& limits = {});

} // namespace ziyu::model
