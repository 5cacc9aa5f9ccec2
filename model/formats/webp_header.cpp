#include "model/formats/webp_header.hpp"
#include "model/formats/header.hpp"

#include <algorithm>

namespace ziyu::model {
namespace {

constexpr uint32_t id(const char (&name)[5]) {
  return static_cast<uint32_t>(static_cast<uint8_t>(name[0])) << 24
         | static_cast<uint32_t>(static_cast<uint8_t>(name[1])) << 16
         | static_cast<uint32_t>(static_cast<uint8_t>(name[2])) << 8
         | static_cast<uint8_t>(name[3]);
}

/// Size and alpha of a "VP8 " or "VP8L" chunk whose body is at `at`.
void read_picture(bounded_reader& in, uint32_t type, size_t at, webp_frame& x) {
  if (type == id("VP8 ")) {
    if (in.le24(at + 3) != 0x2a019d)
      return;
    x.width = in.le16(at + 6) & 0x3fff;
    x.height = in.le16(at + 8) & 0x3fff;
  } else {
    if (in.u8(at) != 0x2f)
      return;
    const auto bits = in.le32(at + 1);
    x.lossless = true;
    x.width = (bits & 0x3fff) + 1;
    x.height = (bits >> 14 & 0x3fff) + 1;
    x.alpha = (bits >> 28 & 1) != 0;
  }
}

/// Finds the first picture among the chunks of [at, end).
webp_frame find_picture(bounded_reader& in, size_t at, size_t end) {
  webp_frame result;
  while (in.good() && at + 8 <= end) {
    const auto type = in.be32(at), length = in.le32(at + 4);
    if (!in.good())
      break;
    if (type == id("VP8 ") || type == id("VP8L")) {
      const bool alpha = result.alpha;
      read_picture(in, type, at + 8, result);
      result.alpha = result.alpha || alpha;
      result.chunk_end = at + 8 + uint64_t{length};
      return result;
    }
    if (type == id("ALPH") && result.chunk == 0)
      result.alpha = true;
    if (type == id("ANMF")) {
      auto frame = find_picture(in, at + 8 + 16, std::min<size_t>(end, at + 8 + size_t{length}));
      frame.animated = true;
      frame.x = 2 * in.le24(at + 8);
      frame.y = 2 * in.le24(at + 11);
      frame.chunk = at + 8 + 16;
      frame.chunk_end = at + 8 + uint64_t{length};
      if (in.le24(at + 14) + 1 != frame.width || in.le24(at + 17) + 1 != frame.height)
        frame.width = 0; // contradicts itself
      return frame;
    }
    at += size_t{8} + length + (length & 1);
  }
  return result;
}

uint64_t work_bytes(const webp_frame& frame) {
  const auto pixels = uint64_t{frame.width} * frame.height;
  uint64_t result = uint64_t{frame.width} * 192 + (uint64_t{2} << 20);
  if (frame.lossless)
    result += pixels * 5 + (uint64_t{2} << 20); // its pixels, transforms and Huffman codes
  else if (frame.alpha)
    result += pixels * 6 + (uint64_t{2} << 20); // the plane, and its lossless coding
  return result;
}

} // namespace

webp_frame read_webp_frame(bounded_reader& in) {
  return find_picture(in, 12, std::min<size_t>(in.size(), size_t{8} + in.le32(4)));
}

expected<image_size> read_webp_header(std::string_view bytes) {
  bounded_reader in{bytes};
  image_size result{image_format::webp};
  const auto type = in.be32(12);
  if (type != id("VP8 ") && type != id("VP8L") && type != id("VP8X"))
    return refuse("WebP that does not begin with a picture");
  const auto frame = read_webp_frame(in);
  if (type == id("VP8X")) {
    result.width = in.le24(24) + 1;
    result.height = in.le24(27) + 1;
    result.channels = (in.u8(20) & 0x10) != 0 ? 4 : 3;
  } else {
    result.width = frame.width;
    result.height = frame.height;
    result.channels = frame.alpha ? 4 : 3;
  }
  if (!in.good())
    return refuse("WebP that ends within its header");
  result.work_bytes = work_bytes(frame);
  return result;
}

} // namespace ziyu::model
