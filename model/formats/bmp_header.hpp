#pragma once

#include "base/error.hpp"

#include <array>
#include <cstdint>
#include <string_view>

namespace ziyu::model {

/// The content of a BMP's headers.
struct bmp_header {
  enum class coding : uint8_t { raw, rle8, rle4, bit_fields };

  uint32_t width = 0, height = 0;
  uint32_t bits = 0; ///< A pixel: 1, 4, 8, 16, 24 or 32.
  coding how = coding::raw;
  bool top_down = false;
  /// Red, green, blue, alpha; only with `bit_fields`.
  std::array<uint32_t, 4> masks{};
  uint64_t palette = 0; ///< Where it is in the file.
  uint32_t colours = 0, colour_size = 0;
  uint64_t pixels = 0; ///< Where they begin in the file.

  uint64_t row_size() const { return (uint64_t{width} * bits + 31) / 32 * 4; }
};

/// Refuses by name the layouts that Pillow refuses.
expected<bmp_header> parse_bmp_header(std::string_view bytes);

} // namespace ziyu::model
