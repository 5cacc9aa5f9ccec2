#include "model/formats/header.hpp"

namespace ziyu::model {

expected<image_size> read_png_header(std::string_view bytes) {
  bounded_reader in{bytes};
  if (in.be32(12) == 0x43674249) // "CgBI": swapped colours, raw deflate
    return refuse("PNG in Apple's own form (CgBI)");
  if (in.be32(8) != 13 || in.be32(12) != 0x49484452) // "IHDR"
    return refuse("PNG that does not begin with its header");
  image_size result{image_format::png};
  result.width = in.be32(16);
  result.height = in.be32(20);
  const auto bits = in.u8(24), colour = in.u8(25);
  if (!in.good())
    return refuse("PNG that ends within its header");
  bool known = bits == 8;
  switch (colour) {
  case 0: // grey
    result.channels = 1;
    known = bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 16;
    break;
  case 3: // palette
    result.channels = 1;
    known = bits == 1 || bits == 2 || bits == 4 || bits == 8;
    break;
  case 4:
    result.channels = 2;
    known = bits == 8 || bits == 16;
    break;
  case 2:
    result.channels = 3;
    known = bits == 8 || bits == 16;
    break;
  case 6:
    result.channels = 4;
    known = bits == 8 || bits == 16;
    break;
  default: known = false;
  }
  if (!known)
    return refuse("PNG of colour type " + std::to_string(colour) + " with " + std::to_string(bits)
                  + " bits, which the format does not have");
  if (in.u8(26) != 0 || in.u8(27) != 0 || in.u8(28) > 1)
    return refuse("PNG with an unknown compression, filter or interlace method");
  // The standard's bound.
  if (result.width > 0x7fffffff || result.height > 0x7fffffff)
    return refuse("PNG with a size that the format does not allow");
  // libpng's rows, of up to 8 bytes a pixel, and zlib's window.
  result.work_bytes = uint64_t{result.width} * 32 + (uint64_t{1} << 20);
  return result;
}

} // namespace ziyu::model
