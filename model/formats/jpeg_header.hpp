#pragma once

#include "model/bounded_reader.hpp"

#include <array>
#include <cstdint>

namespace ziyu::model {

/// A JPEG's start of frame.
struct jpeg_frame {
  struct component {
    uint32_t id = 0, across = 1, down = 1; ///< Its sampling factors.
  };
  uint32_t marker = 0; ///< 0xc0 to 0xcf; 0: none was found.
  uint32_t bits = 0, width = 0, height = 0, components = 0;
  std::array<component, 4> component_list{}; ///< Of the first four.
  /// Of the first scan; 0: none was found.
  uint32_t components_in_first_scan = 0;

  bool progressive() const { return marker == 0xc2 || marker == 0xca; }
};

/// Markers that stand alone, without a length: TEM and RST0 to RST7.
constexpr bool is_standalone_marker(uint32_t marker) {
  return marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7);
}

/// Walks the segments of a JPEG. Ends at the first for which `visit(marker, start of its length
/// field)` is true, at EOI (true), or where the bytes end (false).
template <class Visitor>
bool walk_jpeg(bounded_reader& in, Visitor visit) {
  size_t at = 2; // behind SOI
  for (;;) {
    // Entropy-coded data and invalid bytes between segments are skipped alike: neither contains
    // 0xff except before 0x00.
    at = in.find('\xff', at);
    while (at < in.size() && in.u8(at) == 0xff)
      ++at;
    const auto marker = in.u8(at++);
    if (!in.good())
      return false;
    if (marker == 0 || is_standalone_marker(marker))
      continue;
    if (marker == 0xd9 || visit(marker, at))
      return true;
    const auto length = in.be16(at);
    if (!in.good() || length < 2)
      return false;
    at += length;
  }
}

/// Reads up to the first scan.
jpeg_frame read_jpeg_frame(bounded_reader& in);

} // namespace ziyu::model
