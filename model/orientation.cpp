#include "model/orientation.hpp"

#include "model/bounded_reader.hpp"
#include "model/image_header.hpp"

namespace ziyu::model {
namespace {

using namespace std::string_view_literals;

/// Looks up tag 0x0112 in an EXIF block: a TIFF without pixels.
uint32_t orientation_of(std::string_view exif) {
  bounded_reader in{exif};
  if (!exif.starts_with("II*\0"sv) && !exif.starts_with("MM\0*"sv))
    return 1;
  const bool big_endian = exif[0] == 'M';
  const size_t directory = in.number(4, 4, big_endian);
  const auto entries = in.number(directory, 2, big_endian);
  for (uint32_t i = 0; i < entries && in.good(); ++i) {
    const auto at = directory + 2 + size_t{12} * i;
    if (in.number(at, 2, big_endian) != 0x0112)
      continue;
    const auto value = in.number(at + 8, 2, big_endian);
    return in.good() && value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

std::string_view jpeg_exif(std::string_view bytes) {
  constexpr auto prefix = "Exif\0\0"sv;
  bounded_reader in{bytes};
  // Metadata stands before the first scan (0xda), in segments without gaps.
  for (size_t at = 2; in.u8(at) == 0xff && in.good();) {
    const auto marker = in.u8(at + 1);
    const auto length = in.be16(at + 2);
    if (!in.good() || marker == 0xda || length < 2)
      break;
    const auto body = bytes.substr(at + 4 < bytes.size() ? at + 4 : bytes.size(), length - 2);
    if (marker == 0xe1 && body.starts_with(prefix))
      return body.substr(prefix.size());
    at += size_t{2} + length;
  }
  return {};
}

std::string_view png_exif(std::string_view bytes) {
  bounded_reader in{bytes};
  for (size_t at = 8; in.good();) {
    const auto length = in.be32(at), type = in.be32(at + 4);
    if (in.good() && type == 0x65584966) // "eXIf"
      return bytes.substr(at + 8, length);
    at += size_t{12} + length;
  }
  return {};
}

std::string_view webp_exif(std::string_view bytes) {
  bounded_reader in{bytes};
  for (size_t at = 12; in.good();) {
    const auto type = in.be32(at), length = in.le32(at + 4);
    if (in.good() && type == 0x45584946) { // "EXIF"
      auto body = bytes.substr(at + 8, length);
      if (body.starts_with("Exif\0\0"sv)) // some writers keep JPEG's prefix
        body.remove_prefix(6);
      return body;
    }
    at += size_t{8} + length + (length & 1);
  }
  return {};
}

} // namespace

uint32_t read_orientation(std::string_view bytes) noexcept {
  const auto size = read_image_size(bytes);
  if (!size)
    return 1;
  switch (size->format) {
  case image_format::jpeg: return orientation_of(jpeg_exif(bytes));
  case image_format::png: return orientation_of(png_exif(bytes));
  case image_format::webp: return orientation_of(webp_exif(bytes));
  case image_format::bmp:
  case image_format::tiff: return 1;
  }
  return 1;
}

} // namespace ziyu::model
