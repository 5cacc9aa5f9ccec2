#pragma once

#include "base/error.hpp"
#include "model/model_folder.hpp"
#include "model/pixels.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace ziyu::model {

/// Bounds for decoding a job's image.
struct decode_limits {
  uint64_t max_pixels = 100'000'000; ///< Width × height, checked before anything is allocated.
  /// Memory that decoding and resampling may take (`decode_peak_bytes`), checked at the same time;
  /// 0: no limit.
  uint64_t max_peak_bytes = 0;
};

enum class decoding : uint8_t {
  exact,
  /// A JPEG at a half or a quarter of its size where that is still no smaller than what it is
  /// resized to. The pixels are not those of resizing the whole image.
  reduced,
};
std::string_view to_string(decoding x) noexcept;

/// What a caller will do with an image, so that only what counts for it is decoded.
struct decode_purpose {
  /// The image will be resampled for this only; null: all pixels are decoded.
  const preprocessing* input = nullptr;
  decoding how = decoding::exact;
};

/// Which pixels of an image have been decoded. Numbers are of the image as stored.
struct decoded_part {
  uint32_t image_width = 0, image_height = 0; ///< Of the whole image.
  uint32_t divisor = 1;                       ///< By which both were divided, and rounded up.
  uint32_t left = 0, top = 0;                 ///< First decoded pixel, after that division.
};

/// An image ready for preprocessing. Copies share the pixels (reference count).
struct decoded_image {
  /// RGB as stored. They are not turned upright: that would take a second copy of the largest
  /// object that a worker holds. Resampling reads them through `orientation`.
  pixel_grid pixels;
  uint32_t orientation = 1;           ///< In EXIF's numbering, 1 to 8.
  std::optional<decoded_part> part{}; ///< Nothing: the pixels are the whole image.

  struct size {
    uint32_t width, height;
  };
  /// Of the whole image as stored, and as it would be decoded: after the division.
  size stored_size() const {
    return part ? size{part->image_width, part->image_height}
                : size{pixels.width(), pixels.height()};
  }
  size decoded_size() const {
    const auto [width, height] = stored_size();
    const auto by = part ? part->divisor : 1;
    return {(width + by - 1) / by, (height + by - 1) / by};
  }

  /// Of the upright image.
  uint32_t width() const { return orientation >= 5 ? stored_size().height : stored_size().width; }
  uint32_t height() const { return orientation >= 5 ? stored_size().width : stored_size().height; }
};

/// Decodes JPEG, PNG, BMP, WebP and TIFF to the same bytes as Pillow's
/// `ImageOps.exif_transpose(Image.open(f)).convert("RGB")`: grey and palette become colour, CMYK is
/// converted, alpha is dropped (not composited). Of 16-bit samples the high byte is kept, also of
/// grey ones, which Pillow clips to white. The table in docs/model-folder.md lists the admitted
/// layouts.
///
/// With a purpose, a JPEG's pixels may be those that the purpose reads; an image is refused exactly
/// if it would be refused without.
///
/// Errors: `empty_image`, `undecodable_image` (not an image, truncated, damaged, a format or
/// layout that is not admitted, which the text names), `image_too_large`,
/// `inference_failed` (out of memory). Never throws.
expected<decoded_image> decode_image(std::string_view bytes, const decode_limits& limits = {},
                                     const decode_purpose& purpose = {});

/// A copy of the pixels that is turned upright, for callers that need them themselves.
pixel_grid upright(const decoded_image& image);

} // namespace ziyu::model
