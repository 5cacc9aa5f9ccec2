#pragma once

#include <cstdint>
#include <string_view>

namespace ziyu::model {

/// How an encoded image is to be turned, 1 (not at all) to 8 as EXIF counts, exactly where
/// Pillow's `exif_transpose` finds it: EXIF in JPEG, PNG (before or behind the pixels, also
/// as "Raw profile type exif") and WebP; the directory of a TIFF; and, where that has no
/// orientation, XMP's `tiff:Orientation`. 1 when the image does not say or says nonsense.
/// Safe on any bytes; inflates at most 1 MiB of text. Throws `std::bad_alloc`.
uint32_t read_orientation(std::string_view bytes);

} // namespace ziyu::model
