#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ziyu::model {

/// The formats that Ziyu accepts. Anything else is refused, also where OpenCV
/// could decode it: each further codec is further code fed with untrusted bytes.
enum class image_format : uint8_t { jpeg, png, bmp, webp, tiff };

std::string_view to_string(image_format format) noexcept;

/// What an image's header says of it; nothing of the pixels has been looked at.
struct image_size {
  image_format format = image_format::jpeg;
  uint32_t width = 0, height = 0; ///< As stored, i.e., before EXIF orientation; never 0.
  uint32_t channels = 0;          ///< As stored: 1 grey or palette, 2 grey with alpha, 3, 4.

  uint64_t pixels() const { return uint64_t{width} * height; }

  /// Bytes of the decoded image: 8-bit RGB, whatever was stored.
  uint64_t decoded_bytes() const { return pixels() * 3; }

  bool operator==(const image_size&) const = default;
};

/// Reads the size from the header of an encoded image, without decoding and
/// without allocating. `nullopt` when `bytes` is none of the formats above or
/// ends before the size. Safe on any bytes; needs neither OpenCV nor libtorch,
/// so the control process may call it, from any thread.
std::optional<image_size> read_image_size(std::string_view bytes) noexcept;

/// True unless the file is plainly cut off: a JPEG without its end marker, a
/// PNG without IEND, a WebP shorter than its RIFF size, a BMP without all of its
/// rows. Decoders may fill up such images with grey. Always true for TIFF, whose
/// decoder notices.
bool is_image_complete(std::string_view bytes) noexcept;

} // namespace ziyu::model
