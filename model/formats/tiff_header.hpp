#pragma once

#include "base/error.hpp"

#include <array>
#include <cstdint>
#include <string_view>

namespace ziyu::model {

/// How the pixels of a TIFF's first picture are stored; only admitted layouts.
struct tiff_layout {
  enum class kind : uint8_t { grey, palette, rgb, cmyk, ycbcr };

  uint32_t width = 0, height = 0;
  kind colours = kind::grey;
  uint32_t bits = 0;    ///< A sample: 1, 2, 4, 8 or 16.
  uint32_t samples = 0; ///< A pixel, the extra ones included.
  bool white_is_zero = false;
  bool premultiplied = false; ///< By an alpha sample, which is then the first extra sample.
  bool planar = false;        ///< Each sample is in a plane of its own.
  uint32_t compression = 0;
  uint64_t tile_width = 0, tile_height = 0; ///< 0: strips.
  uint64_t rows_per_strip = 0;
  uint64_t pieces = 0; ///< Strips or tiles.
};

/// Refuses by name a layout that is not admitted, and a directory that contradicts itself.
expected<tiff_layout> parse_tiff_layout(std::string_view bytes);

} // namespace ziyu::model
