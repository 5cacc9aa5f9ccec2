#pragma once

#include "model/bounded_reader.hpp"

#include <cstddef>
#include <cstdint>

namespace ziyu::model {

/// The first picture of a WebP: the only one, or the first frame of an animation.
struct webp_frame {
  uint32_t width = 0, height = 0; ///< 0: no readable picture.
  uint32_t x = 0, y = 0;          ///< Position on the canvas.
  bool animated = false, lossless = false, alpha = false;
  /// Of an animation: where the frame's own chunks are.
  uint64_t chunk = 0;
  uint64_t chunk_end = 0; ///< Where the picture ends.
};

webp_frame read_webp_frame(bounded_reader& in);

} // namespace ziyu::model
