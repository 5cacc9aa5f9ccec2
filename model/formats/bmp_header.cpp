#include "model/formats/bmp_header.hpp"

#include "model/formats/header.hpp"

#include <algorithm>
#include <cstdio>

namespace ziyu::model {
namespace {

using coding = bmp_header::coding;

constexpr uint32_t header_sizes[] = {12, 40, 52, 56, 64, 108, 124};

/// The masks that Pillow knows for 32 bits.
constexpr std::array<uint32_t, 4> masks_of_32[] = {
  {0xff0000, 0xff00, 0xff, 0},          {0xff000000, 0xff0000, 0xff00, 0},
  {0xff000000, 0xff00, 0xff, 0},        {0xff000000, 0xff0000, 0xff00, 0xff},
  {0xff, 0xff00, 0xff0000, 0xff000000}, {0xff0000, 0xff00, 0xff, 0xff000000},
  {0xff000000, 0xff00, 0xff, 0xff0000}, {0, 0, 0, 0},
};

bool known_masks(uint32_t bits, std::array<uint32_t, 4> masks) {
  if (bits == 32)
    return std::find(std::begin(masks_of_32), std::end(masks_of_32), masks)
           != std::end(masks_of_32);
  masks[3] = 0;
  using list = std::array<uint32_t, 4>;
  if (bits == 24)
    return masks == list{0xff0000, 0xff00, 0xff, 0};
  return bits == 16
         && (masks == list{0xf800, 0x7e0, 0x1f, 0} || masks == list{0x7c00, 0x3e0, 0x1f, 0});
}

std::string describe(const std::array<uint32_t, 4>& masks) {
  char text[48];
  std::snprintf(text, sizeof text, "%08x %08x %08x %08x", masks[0], masks[1], masks[2], masks[3]);
  return text;
}

expected<coding> coding_of(uint32_t compression, uint32_t bits) {
  switch (compression) {
  case 0: return coding::raw;
  case 1:
    if (bits != 8)
      return refuse("BMP with 8-bit run lengths of " + std::to_string(bits) + "-bit pixels");
    return coding::rle8;
  case 2:
    if (bits != 4)
      return refuse("BMP with 4-bit run lengths of " + std::to_string(bits) + "-bit pixels");
    return coding::rle4;
  case 3: return coding::bit_fields;
  case 4: return refuse("BMP that holds a JPEG");
  case 5: return refuse("BMP that holds a PNG");
  }
  return refuse("BMP with compression " + std::to_string(compression));
}

} // namespace

expected<bmp_header> parse_bmp_header(std::string_view bytes) {
  bounded_reader in{bytes};
  bmp_header x;
  const auto header_size = in.le32(14);
  if (!in.good())
    return refuse("BMP that ends within its header");
  if (std::find(std::begin(header_sizes), std::end(header_sizes), header_size)
      == std::end(header_sizes))
    return refuse("BMP with a header of " + std::to_string(header_size) + " bytes");
  const bool core = header_size == 12;
  x.colour_size = core ? 3 : 4;
  x.width = core ? in.le16(18) : in.le32(18);
  x.height = core ? in.le16(20) : in.le32(22);
  x.top_down = !core && x.height >> 24 == 0xff;
  if (x.top_down)
    x.height = 0 - x.height;
  x.bits = in.le16(core ? 24 : 28);
  const auto compression = core ? 0 : in.le32(30);
  x.colours = core ? 0 : in.le32(46);
  uint64_t at = 14 + uint64_t{header_size};
  in.u8(at - 1);
  if (!in.good())
    return refuse("BMP that ends within its header");
  if (x.bits != 1 && x.bits != 4 && x.bits != 8 && x.bits != 16 && x.bits != 24 && x.bits != 32)
    return refuse("BMP with " + std::to_string(x.bits) + " bits a pixel");
  const auto how = coding_of(compression, x.bits);
  if (!how)
    return tl::unexpected(how.error());
  x.how = *how;
  if (x.how == coding::bit_fields) {
    for (size_t i = 0; i < (header_size >= 56 ? 4u : 3u); ++i)
      x.masks[i] = in.le32(54 + 4 * i);
    if (header_size == 40)
      at += 12;
    if (!in.good())
      return refuse("BMP that ends within its header");
    if (!known_masks(x.bits, x.masks))
      return refuse("BMP of " + std::to_string(x.bits) + " bits with the bit fields "
                    + describe(x.masks));
  }
  if (x.colours == 0 && x.bits <= 8)
    x.colours = 1u << x.bits;
  x.pixels = in.le32(10);
  if (x.bits <= 8) {
    if (x.colours > 65536)
      return refuse("BMP with a palette of " + std::to_string(x.colours) + " colours");
    x.palette = at;
    at += uint64_t{x.colour_size} * x.colours;
    if (x.pixels == 14 + uint64_t{header_size})
      x.pixels += uint64_t{x.colour_size} * x.colours;
  }
  if (x.pixels == 0)
    x.pixels = at;
  return x;
}

expected<image_size> read_bmp_header(std::string_view bytes) {
  const auto x = parse_bmp_header(bytes);
  if (!x)
    return tl::unexpected(x.error());
  const uint32_t channels = x->bits == 32 ? 4 : x->bits > 8 ? 3 : 1;
  return image_size{image_format::bmp, x->width, x->height, channels, uint64_t{64} << 10};
}

} // namespace ziyu::model
