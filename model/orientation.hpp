#pragma once

#include <cstdint>
#include <string_view>

namespace ziyu::model {

/// The orientation of an encoded image, 1 (upright) to 8 in EXIF's numbering. It is found exactly
/// where Pillow's `exif_transpose` finds it: EXIF in JPEG, PNG (before or behind the pixels, also
/// as "Raw profile type exif") and WebP; the directory of a TIFF; and, where that has no
/// orientation, XMP's `tiff:Orientation`. 1 when the image has none or an invalid one. Safe on any
/// bytes; inflates at most 1 MiB of text. Throws `std::bad_alloc`.
uint32_t read_orientation(std::string_view bytes);

} // namespace ziyu::model
