#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace ziyu::model {

/// The formats that Ziyu accepts. Anything else is refused: each further codec is
/// further code fed with untrusted bytes.
enum class image_format : uint8_t { jpeg, png, bmp, webp, tiff };

std::string_view to_string(image_format format) noexcept;

/// What an image's header says of it; nothing of the pixels has been looked at.
struct image_size {
  image_format format = image_format::jpeg;
  uint32_t width = 0, height = 0; ///< As stored, i.e., before EXIF orientation; never 0.
  uint32_t channels = 0;          ///< As stored: 1 grey or palette, 2 grey with alpha, 3, 4.
  /// An upper bound of what the decoder takes beside the decoded pixels: rows, tiles,
  /// a progressive JPEG's coefficients, the planes of a WebP.
  uint64_t work_bytes = 0;

  uint64_t pixels() const { return uint64_t{width} * height; }

  /// Bytes of the decoded image: 8-bit RGB, whatever was stored.
  uint64_t decoded_bytes() const { return pixels() * 3; }

  bool operator==(const image_size&) const = default;
};

/// Reads the size from the header of an encoded image, without decoding. Safe on any
/// bytes; needs no codec and no libtorch, so the control process may call it, from any
/// thread. Allocates only the text of an error, which is `empty_image` or
/// `undecodable_image` with a reason: another format, an end before the size, a
/// header that says two things.
expected<image_size> read_image_header(std::string_view bytes);

/// As `read_image_header`, without the reason.
std::optional<image_size> read_image_size(std::string_view bytes) noexcept;

/// An upper bound of what a worker allocates to decode an image with this header and
/// to resample it: decoded pixels, the decoder's working memory, the resampler's
/// tables and rows. Turning an image upright costs nothing. Not in it: the encoded
/// bytes, and what depends on the model alone (the tensor, and 15 bytes for each pixel
/// of the model's input). Pure; saturates.
///
/// A baseline JPEG, a PNG or a BMP of the usual proportions takes `decoded_bytes()`
/// and a few MiB. The dear ones per pixel: a progressive JPEG 9 bytes (6 with the
/// usual subsampling), a lossless WebP 8, a lossy WebP with alpha 9.
uint64_t decode_peak_bytes(const image_size& size) noexcept;

/// `decode_peak_bytes` of the image that costs least for its pixels, among those of
/// usual proportions (up to 64:1): what a limit must allow so that `pixels` are of
/// use. Pure.
uint64_t least_decode_peak_bytes(uint64_t pixels) noexcept;

} // namespace ziyu::model
