#include "model/formats/jpeg_header.hpp"

#include "model/formats/header.hpp"

#include <algorithm>

namespace ziyu::model {
namespace {

bool is_start_of_frame(uint32_t marker) {
  return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

/// Baseline, extended and progressive, with Huffman coding. With arithmetic coding missing data
/// cannot be noticed: they are decoded as zeros.
bool is_known_coding(uint32_t marker) { return marker >= 0xc0 && marker <= 0xc2; }

std::string coding_name(uint32_t marker) {
  const auto number = std::to_string(marker - 0xc0);
  if (marker == 0xc3 || marker == 0xcb)
    return "JPEG with lossless coding (SOF" + number + ")";
  if (marker == 0xc9 || marker == 0xca)
    return "JPEG with arithmetic coding (SOF" + number + ")";
  return "JPEG with hierarchical coding (SOF" + number + ")";
}

uint64_t blocks(uint64_t size, uint64_t factor, uint64_t most) {
  const auto count = (size * factor + 8 * most - 1) / (8 * most);
  return (count + factor - 1) / factor * factor;
}

/// Memory that libjpeg takes: rows of each component around the decoded one, and all coefficients
/// if a scan does not complete all components of a block.
uint64_t work_bytes(const jpeg_frame& x) {
  uint64_t across = 1, down = 1;
  const auto count = std::min<uint32_t>(x.components, 4);
  for (uint32_t i = 0; i < count; ++i) {
    across = std::max<uint64_t>(across, x.component_list[i].across);
    down = std::max<uint64_t>(down, x.component_list[i].down);
  }
  const auto padded = (uint64_t{x.width} + 8 * across - 1) / (8 * across) * 8 * across;
  uint64_t result = count * padded * (12 * down + 8) + (uint64_t{1} << 20);
  if (x.progressive() || x.components_in_first_scan != x.components)
    for (uint32_t i = 0; i < count; ++i)
      result += 128 * blocks(x.width, x.component_list[i].across, across)
                * blocks(x.height, x.component_list[i].down, down);
  return result;
}

} // namespace

jpeg_frame read_jpeg_frame(bounded_reader& in) {
  jpeg_frame result;
  walk_jpeg(in, [&](uint32_t marker, size_t at) {
    if (marker == 0xda) {
      result.components_in_first_scan = in.u8(at + 2);
      return true;
    }
    if (!is_start_of_frame(marker) || result.marker != 0)
      return false;
    result.marker = marker;
    result.bits = in.u8(at + 2);
    result.height = in.be16(at + 3);
    result.width = in.be16(at + 5);
    result.components = in.u8(at + 7);
    for (uint32_t i = 0; i < std::min<uint32_t>(result.components, 4); ++i) {
      const auto factors = in.u8(at + 9 + 3 * i);
      result.component_list[i] = {in.u8(at + 8 + 3 * i), std::clamp(factors >> 4, 1u, 4u),
                                  std::clamp(factors & 15u, 1u, 4u)};
    }
    return false;
  });
  return result;
}

expected<image_size> read_jpeg_header(std::string_view bytes) {
  bounded_reader in{bytes};
  const auto frame = read_jpeg_frame(in);
  if (frame.marker == 0 && bytes.substr(2, 2) == "\xff\xf7")
    return refuse("JPEG-LS");
  if (frame.marker == 0)
    return refuse("JPEG without a picture: it ends before its size");
  if (!is_known_coding(frame.marker))
    return refuse(coding_name(frame.marker));
  if (frame.bits != 8)
    return refuse("JPEG with " + std::to_string(frame.bits) + "-bit samples");
  if (frame.components != 1 && frame.components != 3 && frame.components != 4)
    return refuse("JPEG with " + std::to_string(frame.components) + " components");
  if (frame.height == 0)
    return refuse("JPEG whose height is not in its header");
  return image_size{image_format::jpeg, frame.width, frame.height, frame.components,
                    work_bytes(frame)};
}

} // namespace ziyu::model
