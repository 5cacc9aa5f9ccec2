#include "model/image_header.hpp"

#include "model/bounded_reader.hpp"

#include <cstddef>

namespace ziyu::model {
namespace {

using namespace std::string_view_literals;

constexpr auto png_signature = "\x89PNG\r\n\x1a\n"sv;

std::optional<image_format> format_of(std::string_view bytes) {
  if (bytes.starts_with("\xff\xd8\xff"sv))
    return image_format::jpeg;
  if (bytes.starts_with(png_signature))
    return image_format::png;
  if (bytes.size() >= 16 && bytes.starts_with("RIFF"sv) && bytes.substr(8, 4) == "WEBP"sv)
    return image_format::webp;
  if (bytes.starts_with("II*\0"sv) || bytes.starts_with("MM\0*"sv))
    return image_format::tiff;
  if (bytes.starts_with("BM"sv))
    return image_format::bmp;
  return std::nullopt;
}

// -- JPEG --------------------------------------------------------------------------

bool is_start_of_frame(uint32_t marker) {
  return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

/// Markers that stand alone, without a length: TEM and RST0 to RST7.
bool is_standalone(uint32_t marker) { return marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7); }

/// Walks the segments of a JPEG; ends at the first for which `visit(marker,
/// start of its length field)` is true, at EOI (true) or where bytes end (false).
template <class Visitor>
bool walk_jpeg(bounded_reader& in, Visitor visit) {
  size_t at = 2; // behind SOI
  for (;;) {
    // Entropy-coded data and rubbish between segments are skipped alike: neither
    // contains 0xff but with 0x00 behind it.
    while (at < in.size() && in.u8(at) != 0xff)
      ++at;
    while (at < in.size() && in.u8(at) == 0xff)
      ++at;
    const auto marker = in.u8(at++);
    if (!in.good())
      return false;
    if (marker == 0 || is_standalone(marker))
      continue;
    if (marker == 0xd9 || visit(marker, at))
      return true;
    const auto length = in.be16(at);
    if (!in.good() || length < 2)
      return false;
    at += length;
  }
}

image_size jpeg_size(bounded_reader& in) {
  image_size result{image_format::jpeg};
  walk_jpeg(in, [&](uint32_t marker, size_t at) {
    if (!is_start_of_frame(marker))
      return false;
    result.height = in.be16(at + 3);
    result.width = in.be16(at + 5);
    result.channels = in.u8(at + 7);
    return true;
  });
  return result;
}

// -- PNG ----------------------------------------------------------------------------

image_size png_size(bounded_reader& in) {
  image_size result{image_format::png};
  if (in.be32(8) != 13 || in.be32(12) != 0x49484452) // "IHDR"
    return result;
  result.width = in.be32(16);
  result.height = in.be32(20);
  switch (in.u8(25)) {
  case 0: // grey
  case 3: // palette
    result.channels = 1;
    break;
  case 4: result.channels = 2; break;
  case 2: result.channels = 3; break;
  case 6: result.channels = 4; break;
  }
  // The standard's bound; above it libpng refuses.
  if (result.width > 0x7fffffff || result.height > 0x7fffffff)
    result.width = 0;
  return result;
}

bool is_png_complete(bounded_reader& in) {
  size_t at = png_signature.size();
  for (;;) {
    const auto length = in.be32(at), type = in.be32(at + 4);
    in.be32(at + 8 + length); // its checksum
    if (!in.good())
      return false;
    if (type == 0x49454e44) // "IEND"
      return true;
    at += size_t{12} + length;
  }
}

// -- BMP ----------------------------------------------------------------------------

image_size bmp_size(bounded_reader& in) {
  image_size result{image_format::bmp};
  uint32_t bits = 0;
  if (in.le32(14) == 12) { // OS/2
    result.width = in.le16(18);
    result.height = in.le16(20);
    bits = in.le16(24);
  } else {
    result.width = in.le32(18);
    const auto height = in.le32(22); // negative: top row first
    result.height = height > 0x7fffffff ? 0 - height : height;
    bits = in.le16(28);
  }
  result.channels = bits == 32 ? 4 : bits > 8 ? 3 : 1;
  if (result.width > 0x7fffffff)
    result.width = 0;
  return result;
}

/// Of uncompressed pixels only; those of other kinds may have any length.
bool is_bmp_complete(bounded_reader& in) {
  const auto size = bmp_size(in);
  const bool os2 = in.le32(14) == 12;
  const auto bits = in.le16(os2 ? 24 : 28);
  const auto compression = os2 ? 0 : in.le32(30);
  const auto row = (uint64_t{size.width} * bits + 31) / 32 * 4;
  return in.good() && (compression != 0 || in.le32(10) + row * size.height <= in.size());
}

// -- WebP ---------------------------------------------------------------------------

image_size webp_size(bounded_reader& in) {
  image_size result{image_format::webp};
  switch (in.be32(12)) {
  case 0x56503820: // "VP8 ": lossy
    if (in.le24(23) != 0x2a019d)
      break;
    result.width = in.le16(26) & 0x3fff;
    result.height = in.le16(28) & 0x3fff;
    result.channels = 3;
    break;
  case 0x5650384c: { // "VP8L": lossless
    if (in.u8(20) != 0x2f)
      break;
    const auto bits = in.le32(21);
    result.width = (bits & 0x3fff) + 1;
    result.height = (bits >> 14 & 0x3fff) + 1;
    result.channels = bits >> 28 & 1 ? 4 : 3;
    break;
  }
  case 0x56503858: // "VP8X": extended
    result.width = in.le24(24) + 1;
    result.height = in.le24(27) + 1;
    result.channels = in.u8(20) & 0x10 ? 4 : 3;
    break;
  }
  return result;
}

bool is_webp_complete(bounded_reader& in) { return in.le32(4) <= in.size() - 8; }

// -- TIFF ---------------------------------------------------------------------------

image_size tiff_size(bounded_reader& in) {
  image_size result{image_format::tiff};
  result.channels = 1;
  const bool big_endian = in.u8(0) == 'M';
  const size_t directory = in.number(4, 4, big_endian);
  const auto entries = in.number(directory, 2, big_endian);
  uint32_t tile_width = 0, tile_height = 0;
  for (uint32_t i = 0; i < entries && in.good(); ++i) {
    const auto at = directory + 2 + size_t{12} * i;
    const auto tag = in.number(at, 2, big_endian);
    const auto type = in.number(at + 2, 2, big_endian);
    // 3: 16 bits, 4: 32 bits; both stand in the first bytes of the value field.
    const auto value = type == 3   ? in.number(at + 8, 2, big_endian)
                       : type == 4 ? in.number(at + 8, 4, big_endian)
                                   : 0;
    switch (tag) {
    case 256: result.width = value; break;
    case 257: result.height = value; break;
    case 277: result.channels = value; break;
    case 322: tile_width = value; break;
    case 323: tile_height = value; break;
    }
  }
  // Decoders allocate a whole tile, however small the image: a tile may be
  // larger than the image only up to a usual tile's size.
  constexpr uint32_t usual = 4096;
  if ((tile_width > usual && tile_width > result.width)
      || (tile_height > usual && tile_height > result.height))
    result.width = 0;
  return result;
}

} // namespace

std::string_view to_string(image_format format) noexcept {
  switch (format) {
  case image_format::jpeg: return "JPEG";
  case image_format::png: return "PNG";
  case image_format::bmp: return "BMP";
  case image_format::webp: return "WebP";
  case image_format::tiff: return "TIFF";
  }
  return "?";
}

std::optional<image_size> read_image_size(std::string_view bytes) noexcept {
  const auto format = format_of(bytes);
  if (!format)
    return std::nullopt;
  bounded_reader in{bytes};
  image_size result;
  switch (*format) {
  case image_format::jpeg: result = jpeg_size(in); break;
  case image_format::png: result = png_size(in); break;
  case image_format::bmp: result = bmp_size(in); break;
  case image_format::webp: result = webp_size(in); break;
  case image_format::tiff: result = tiff_size(in); break;
  }
  if (!in.good() || result.width == 0 || result.height == 0 || result.channels == 0)
    return std::nullopt;
  return result;
}

bool is_image_complete(std::string_view bytes) noexcept {
  const auto format = format_of(bytes);
  bounded_reader in{bytes};
  if (format == image_format::jpeg)
    return walk_jpeg(in, [](uint32_t, size_t) { return false; });
  if (format == image_format::png)
    return is_png_complete(in);
  if (format == image_format::webp)
    return is_webp_complete(in);
  if (format == image_format::bmp)
    return is_bmp_complete(in);
  return true;
}

} // namespace ziyu::model
