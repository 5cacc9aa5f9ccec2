#pragma once

#include "model/decoder.hpp"
#include "model/image_header.hpp"
#include "model/pixels.hpp"
#include "model/resample.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string_view>

namespace ziyu::model {

// One decoder per format, each in a file of its own: the format's own library, used strictly. Files
// that a library would repair silently (missing data become grey) are refused.
//
// `size` is the result of `read_image_header` for the same bytes, and within the limits: nothing
// larger is allocated. The pixels are RGB as PIL's `convert("RGB")` makes them, as stored, i.e.,
// not turned upright. Errors are `undecodable_image` with a reason that does not depend on a
// library's version. Out of memory: `std::bad_alloc`.

/// What is wanted of a JPEG.
struct jpeg_wish {
  uint32_t divisor = 1; ///< 1, 2 or 4: of width and height, rounded up.
  stored_region region; ///< After that division.
};

/// The whole image, or a part that has at least what is wanted.
expected<decoded_image> decode_jpeg(std::string_view bytes, const image_size& size,
                                    const std::optional<jpeg_wish>& wish);
expected<pixel_grid> decode_png(std::string_view bytes, const image_size& size);
expected<pixel_grid> decode_bmp(std::string_view bytes, const image_size& size);
expected<pixel_grid> decode_webp(std::string_view bytes, const image_size& size);
expected<pixel_grid> decode_tiff(std::string_view bytes, const image_size& size);

/// Throws `std::bad_alloc` when so many bytes cannot be allocated: a library that reports a lack of
/// memory may mean that a damaged file wants too much.
inline void need_memory(uint64_t bytes) { std::make_unique_for_overwrite<uint8_t[]>(bytes); }

/// PIL's conversion of one pixel of CMYK, 255 being full ink.
inline void cmyk_to_rgb(uint32_t c, uint32_t m, uint32_t y, uint32_t k, uint8_t* rgb) {
  const auto light = 255 - k;
  const auto mixed = [&](uint32_t ink) {
    const auto product = ink * light + 128;
    return static_cast<uint8_t>(light - std::min(light, ((product >> 8) + product) >> 8));
  };
  rgb[0] = mixed(c);
  rgb[1] = mixed(m);
  rgb[2] = mixed(y);
}

} // namespace ziyu::model
