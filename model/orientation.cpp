#include "model/orientation.hpp"

#include "model/bounded_reader.hpp"
#include "model/formats/jpeg_header.hpp"
#include "model/formats/png_chunks.hpp"
#include "model/formats/tiff_directory.hpp"
#include "model/image_header.hpp"

#include <optional>
#include <string>

#include <zlib.h>

namespace ziyu::model {
namespace {

using namespace std::string_view_literals;

constexpr uint16_t orientation_tag = 274, xmp_tag = 700;

/// The metadata of an image that may give its orientation.
struct metadata {
  std::string exif, xmp;
};

/// The value of the tag, valid or not: if it is present, XMP is not read.
std::optional<uint32_t> orientation_of(const tiff_directory& directory) {
  const auto* entry = directory.find(orientation_tag);
  if (entry == nullptr)
    return std::nullopt;
  const auto value = entry->count == 1 ? directory.number(*entry) : std::nullopt;
  return value && *value >= 1 && *value <= 8 ? static_cast<uint32_t>(*value) : 1;
}

std::optional<uint32_t> orientation_of_exif(std::string_view exif) {
  constexpr auto prefix = "Exif\0\0"sv;
  for (int i = 0; i < 2 && exif.starts_with(prefix); ++i)
    exif.remove_prefix(prefix.size());
  if (exif.empty())
    return std::nullopt;
  // Pillow does not look for XMP either if the EXIF is unreadable.
  const auto directory = tiff_directory::read(exif);
  return directory ? orientation_of(*directory) : std::optional<uint32_t>{1};
}

/// The first `tiff:Orientation="6"` or `tiff:Orientation>6`, as Pillow looks for it.
uint32_t orientation_of_xmp(std::string_view xmp) {
  constexpr auto name = "tiff:Orientation"sv;
  for (auto at = xmp.find(name); at != std::string_view::npos; at = xmp.find(name, at + 1)) {
    auto rest = xmp.substr(at + name.size());
    const size_t skipped = rest.starts_with("=\""sv) ? 2 : rest.starts_with('>') ? 1 : 0;
    if (skipped == 0 || rest.size() <= skipped)
      continue;
    const auto digit = rest[skipped];
    if (digit >= '0' && digit <= '9')
      return digit >= '1' && digit <= '8' ? static_cast<uint32_t>(digit - '0') : 1;
  }
  return 1;
}

metadata of_jpeg(std::string_view bytes) {
  constexpr auto exif = "Exif\0\0"sv, xmp = "http://ns.adobe.com/xap/1.0/\0"sv;
  metadata result;
  bounded_reader in{bytes};
  walk_jpeg(in, [&](uint32_t marker, size_t at) {
    const auto length = in.be16(at);
    if (marker != 0xe1 || length < 2)
      return marker == 0xda; // metadata come before the first scan
    const auto body = bytes.substr(std::min(at + 2, bytes.size()), length - 2);
    if (body.starts_with(exif))
      result.exif += result.exif.empty() ? body : body.substr(exif.size());
    else if (body.starts_with(xmp))
      result.xmp = body.substr(xmp.size());
    return false;
  });
  return result;
}

/// Empty for data that are not zlib's, or too long.
std::string inflated(std::string_view text) {
  constexpr size_t most = size_t{1} << 20;
  std::string result;
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK)
    return result;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(std::min<size_t>(text.size(), 0xffffffff));
  int status = Z_OK;
  while (status == Z_OK && result.size() < most) {
    const auto before = result.size();
    result.resize(before + (size_t{16} << 10));
    stream.next_out = reinterpret_cast<Bytef*>(result.data() + before);
    stream.avail_out = static_cast<uInt>(result.size() - before);
    status = inflate(&stream, Z_NO_FLUSH);
    result.resize(result.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END && status != Z_BUF_ERROR)
    result.clear();
  return result;
}

/// EXIF in a text, as ImageMagick writes it: a name, a length, the bytes in hexadecimal.
std::string raw_profile(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos)
      return {};
    text.remove_prefix(end + 1);
  }
  std::string result;
  int high = -1;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) {
      if (c == '\n' || c == ' ' || c == '\r' || c == '\t')
        continue;
      return {};
    }
    if (high < 0) {
      high = digit;
      continue;
    }
    result += static_cast<char>(high << 4 | digit);
    high = -1;
  }
  return result;
}

/// The text of a tEXt, zTXt or iTXt chunk. Only texts that are needed are inflated.
struct png_text {
  std::string_view key;
  std::string value;
};

std::optional<png_text> text_of(const png_chunks::chunk& chunk) {
  const auto end = chunk.body.find('\0');
  if (end == std::string_view::npos)
    return std::nullopt;
  png_text result{chunk.body.substr(0, end), {}};
  if (result.key != "XML:com.adobe.xmp"sv && result.key != "Raw profile type exif"sv)
    return std::nullopt;
  auto rest = chunk.body.substr(end + 1);
  if (chunk.type == png_type("tEXt")) {
    result.value = rest;
  } else if (chunk.type == png_type("zTXt")) {
    if (rest.empty() || rest[0] != 0)
      return std::nullopt;
    result.value = inflated(rest.substr(1));
  } else {
    if (rest.size() < 2)
      return std::nullopt;
    const bool compressed = rest[0] != 0;
    if (compressed && rest[1] != 0)
      return std::nullopt;
    rest.remove_prefix(2);
    for (int i = 0; i < 2; ++i) { // language, translated keyword
      const auto next = rest.find('\0');
      if (next == std::string_view::npos)
        return std::nullopt;
      rest.remove_prefix(next + 1);
    }
    result.value = compressed ? inflated(rest) : std::string{rest};
  }
  return result;
}

metadata of_png(std::string_view bytes) {
  metadata result;
  std::string profile;
  bool has_exif = false;
  png_chunks chunks{bytes};
  while (const auto chunk = chunks.next()) {
    if (chunk->type == png_type("IEND"))
      break;
    if (!chunk->whole)
      continue;
    if (chunk->type == png_type("eXIf")) {
      result.exif = chunk->body;
      has_exif = true;
    } else if (chunk->type == png_type("tEXt") || chunk->type == png_type("zTXt")
               || chunk->type == png_type("iTXt")) {
      auto text = text_of(*chunk);
      if (!text)
        continue;
      if (text->key == "XML:com.adobe.xmp"sv)
        result.xmp = std::move(text->value);
      else
        profile = raw_profile(text->value);
    }
  }
  if (!has_exif)
    result.exif = std::move(profile);
  return result;
}

/// Only an extended WebP has metadata; its header says which.
metadata of_webp(std::string_view bytes) {
  constexpr uint32_t exif = 0x45584946, xmp = 0x584d5020, extended = 0x56503858;
  metadata result;
  bounded_reader in{bytes};
  if (in.be32(12) != extended)
    return result;
  const auto flags = in.u8(20);
  bool exif_seen = (flags & 8) == 0, xmp_seen = (flags & 4) == 0;
  for (size_t at = 12; in.good();) {
    const auto type = in.be32(at), length = in.le32(at + 4);
    if (!in.good())
      break;
    if (type == exif && !exif_seen) {
      result.exif = bytes.substr(at + 8, length);
      exif_seen = true;
    } else if (type == xmp && !xmp_seen) {
      result.xmp = bytes.substr(at + 8, length);
      xmp_seen = true;
    }
    at += size_t{8} + length + (length & 1);
  }
  return result;
}

uint32_t orientation_of_tiff(std::string_view bytes) {
  const auto directory = tiff_directory::read(bytes);
  if (!directory)
    return 1;
  if (const auto own = orientation_of(*directory))
    return *own;
  const auto* xmp = directory->find(xmp_tag);
  return xmp == nullptr ? 1 : orientation_of_xmp(directory->raw(*xmp));
}

} // namespace

uint32_t read_orientation(std::string_view bytes) {
  const auto size = read_image_size(bytes);
  if (!size || size->format == image_format::bmp)
    return 1;
  if (size->format == image_format::tiff)
    return orientation_of_tiff(bytes);
  const auto found = size->format == image_format::jpeg  ? of_jpeg(bytes)
                     : size->format == image_format::png ? of_png(bytes)
                                                         : of_webp(bytes);
  if (const auto own = orientation_of_exif(found.exif))
    return *own;
  return orientation_of_xmp(found.xmp);
}

} // namespace ziyu::model
