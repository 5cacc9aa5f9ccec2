#include "model/orientation.hpp"

#include "base/ascii.hpp"
#include "model/bounded_reader.hpp"
#include "model/formats/jpeg_header.hpp"
#include "model/formats/png_chunks.hpp"
#include "model/formats/tiff_directory.hpp"
#include "model/image_header.hpp"

#include <memory>
#include <optional>
#include <string>

#include <webp/demux.h>
#include <zlib.h>

namespace ziyu::model {
namespace {

using namespace std::string_view_literals;

constexpr uint16_t orientation_tag = 274, xmp_tag = 700;

/// A part of the image's bytes, or what had to be put together or inflated from them.
class block {
public:
  block() = default;
  explicit block(std::string_view part) : part_(part) {}
  explicit block(std::string own) : own_(std::move(own)) {}

  std::string_view bytes() const { return own_.empty() ? part_ : std::string_view{own_}; }

  void append(std::string_view more) {
    if (own_.empty())
      own_ = part_;
    own_ += more;
  }

private:
  std::string_view part_;
  std::string own_;
};

/// What an image carries besides its pixels, as far as it tells how to turn them.
struct metadata {
  block exif, xmp;
};

/// All texts of an image that are inflated may come to so much; Pillow's bound.
constexpr size_t most_text = size_t{64} << 20;

/// EXIF in several segments or in hexadecimal; it takes one segment, of 64 KiB, in all files but
/// hostile ones. The directory is at its start.
constexpr size_t most_joined = size_t{1} << 20;

/// The value of the tag, whatever it is: with one of its own, XMP is not asked.
std::optional<uint32_t> orientation_of(const tiff_directory& directory) {
  const auto* entry = directory.find(orientation_tag);
  if (entry == nullptr)
    return std::nullopt;
  const auto value = directory.first_whole(*entry);
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
  if (!directory)
    return 1;
  // Pillow reads eight bytes of the header: a little-endian BigTIFF fails, of a big-endian one it
  // looks for the directory where nothing is.
  if (directory->big_tiff())
    return directory->big_endian() ? std::nullopt : std::optional<uint32_t>{1};
  return orientation_of(*directory);
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
    if (body.starts_with(exif)) {
      if (result.exif.bytes().empty())
        result.exif = block{body};
      else if (result.exif.bytes().size() < most_joined)
        result.exif.append(body.substr(exif.size()));
    } else if (body.starts_with(xmp))
      result.xmp = block{body.substr(xmp.size())};
    return false;
  });
  return result;
}

/// Empty when it is not what zlib wrote, or too long. What it inflates to is taken from
/// `allowance`, bytes.
std::string inflated(std::string_view text, size_t& allowance) {
  const auto most = std::min(size_t{1} << 20, allowance);
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
  allowance -= std::min(allowance, result.size());
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
    const int digit = hex_digit(c);
    if (digit < 0) {
      if (c == ' ' || (c >= '\t' && c <= '\r'))
        continue;
      return {};
    }
    if (high < 0) {
      high = digit;
      continue;
    }
    result += static_cast<char>(high << 4 | digit);
    high = -1;
    if (result.size() == most_joined)
      break;
  }
  return result;
}

/// The text of a tEXt, zTXt or iTXt chunk. Only texts that are needed are inflated.
struct png_text {
  std::string_view key;
  block value;
};

std::optional<png_text> text_of(const png_chunks::chunk& chunk, size_t& allowance) {
  const auto end = chunk.body.find('\0');
  if (end == std::string_view::npos)
    return std::nullopt;
  png_text result{chunk.body.substr(0, end), {}};
  if (result.key != "XML:com.adobe.xmp"sv && result.key != "Raw profile type exif"sv)
    return std::nullopt;
  auto rest = chunk.body.substr(end + 1);
  if (chunk.type == png_type("tEXt")) {
    result.value = block{rest};
  } else if (chunk.type == png_type("zTXt")) {
    if (rest.empty() || rest[0] != 0)
      return std::nullopt;
    result.value = block{inflated(rest.substr(1), allowance)};
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
    result.value = compressed ? block{inflated(rest, allowance)} : block{rest};
  }
  return result;
}

metadata of_png(std::string_view bytes) {
  metadata result;
  std::string profile;
  bool has_exif = false;
  auto allowance = most_text;
  png_chunks chunks{bytes};
  while (const auto chunk = chunks.next()) {
    if (chunk->type == png_type("IEND"))
      break;
    if (!chunk->whole)
      continue;
    if (chunk->type == png_type("eXIf")) {
      result.exif = block{chunk->body};
      has_exif = true;
    } else if (chunk->type == png_type("tEXt") || chunk->type == png_type("zTXt")
               || chunk->type == png_type("iTXt")) {
      auto text = text_of(*chunk, allowance);
      if (!text)
        continue;
      if (text->key == "XML:com.adobe.xmp"sv)
        result.xmp = std::move(text->value);
      else
        profile = raw_profile(text->value.bytes());
    }
  }
  if (!has_exif)
    result.exif = block{std::move(profile)};
  return result;
}

/// As the demuxer finds them: only an extended WebP has metadata, and says in its header which.
metadata of_webp(std::string_view bytes) {
  struct remove {
    void operator()(WebPDemuxer* x) const { WebPDemuxDelete(x); }
  };
  metadata result;
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  const std::unique_ptr<WebPDemuxer, remove> file{WebPDemux(&data)};
  if (!file)
    return result;
  const auto chunk = [&](const char* name) {
    WebPChunkIterator at{};
    block found;
    if (WebPDemuxGetChunk(file.get(), name, 1, &at) != 0)
      found = block{std::string_view{reinterpret_cast<const char*>(at.chunk.bytes), at.chunk.size}};
    WebPDemuxReleaseChunkIterator(&at);
    return found;
  };
  result.exif = chunk("EXIF");
  result.xmp = chunk("XMP ");
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
  if (const auto own = orientation_of_exif(found.exif.bytes()))
    return *own;
  return orientation_of_xmp(found.xmp.bytes());
}

} // namespace ziyu::model
