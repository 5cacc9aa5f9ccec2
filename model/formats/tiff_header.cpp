#include "model/formats/tiff_header.hpp"

#include "model/formats/header.hpp"
#include "model/formats/tiff_directory.hpp"

#include <algorithm>
#include <optional>
#include <vector>

namespace ziyu::model {
namespace {

using kind = tiff_layout::kind;

// Tags.
constexpr uint16_t image_width = 256, image_length = 257, bits_per_sample = 258, compression = 259,
                   photometric = 262, fill_order = 266, strip_offsets = 273,
                   samples_per_pixel = 277, rows_per_strip = 278, strip_counts = 279,
                   planar_config = 284, tile_width = 322, tile_length = 323, tile_offsets = 324,
                   tile_counts = 325, extra_samples = 338, sample_format = 339;

/// Tags with exactly one value, and tags with any number of values.
constexpr uint16_t single[] = {image_width, image_length,      compression,    photometric,
                               fill_order,  samples_per_pixel, rows_per_strip, planar_config,
                               tile_width,  tile_length};
constexpr uint16_t several[] = {bits_per_sample, strip_offsets, strip_counts, tile_offsets,
                                tile_counts,     extra_samples, sample_format};

/// Compressions that are admitted.
constexpr uint32_t none = 1, ccitt_rle = 2, ccitt_g3 = 3, ccitt_g4 = 4, lzw = 5, jpeg = 7,
                   deflate = 8, old_deflate = 32946, packbits = 32773;

std::string compression_name(uint64_t x) {
  switch (x) {
  case 6: return "old-style JPEG";
  case 9:
  case 10: return "JBIG";
  case 32766: return "NeXT";
  case 32771: return "word-aligned CCITT";
  case 32809: return "ThunderScan";
  case 33003:
  case 33004:
  case 33005:
  case 34712: return "JPEG 2000";
  case 34661: return "JBIG";
  case 34676:
  case 34677: return "SGI Log";
  case 34887: return "LERC";
  case 34892: return "lossy JPEG of DNG";
  case 34925: return "LZMA";
  case 50000: return "ZSTD";
  case 50001: return "WebP";
  case 50002: return "JPEG XL";
  }
  return "unknown (" + std::to_string(x) + ")";
}

bool is_known_compression(uint64_t x) {
  return x == none || x == ccitt_rle || x == ccitt_g3 || x == ccitt_g4 || x == lzw || x == jpeg
         || x == deflate || x == old_deflate || x == packbits;
}

std::string colours_name(uint64_t x) {
  switch (x) {
  case 4: return "a transparency mask";
  case 8:
  case 9:
  case 10: return "CIE L*a*b* colours";
  case 32803: return "raw sensor (CFA) samples";
  case 32844:
  case 32845: return "LogLuv colours";
  case 34892: return "linear raw samples";
  }
  return "photometric interpretation " + std::to_string(x);
}

std::string plural(uint64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

/// All values of a tag of whole numbers, at most 16 of them.
std::vector<uint64_t> numbers(const tiff_directory& directory, uint16_t tag) {
  std::vector<uint64_t> result;
  if (const auto* entry = directory.find(tag))
    for (uint64_t i = 0; i < std::min<uint64_t>(entry->count, 16); ++i)
      result.push_back(directory.number(*entry, i).value_or(0));
  return result;
}

bool all_are(const std::vector<uint64_t>& list, uint64_t x) {
  return std::all_of(list.begin(), list.end(), [&](uint64_t y) { return y == x; });
}

/// Reads a directory step by step; each step names what is not admitted.
class layout_parser {
public:
  explicit layout_parser(const tiff_directory& directory) : in_(directory) {}

  expected<tiff_layout> parse() {
    for (const auto step :
         {&layout_parser::size, &layout_parser::coding, &layout_parser::samples,
          &layout_parser::colours, &layout_parser::combination, &layout_parser::pieces})
      if (auto reason = (this->*step)(); !reason.empty())
        return refuse("TIFF " + reason);
    return x_;
  }

private:
  // Each returns an empty text, or a reason that follows "TIFF ".

  std::string size() {
    if (const auto tag = in_.twice())
      return "that has tag " + std::to_string(*tag) + " twice";
    if (!in_.whole())
      return "that ends within its directory";
    for (const auto tag : single)
      if (in_.has(tag) && !one(tag))
        return "whose tag " + std::to_string(tag) + " is not one number";
    for (const auto tag : several)
      if (in_.has(tag) && in_.find(tag) == nullptr)
        return "whose tag " + std::to_string(tag) + " lies outside of it";
    const auto width = one(image_width), height = one(image_length);
    if (!width || !height)
      return "without a size";
    if (*width == 0 || *height == 0)
      return "of " + dimensions(*width, *height) + " pixels";
    if (*width > 0x7fffffff || *height > 0x7fffffff)
      return "with a size that no decoder takes";
    x_.width = static_cast<uint32_t>(*width);
    x_.height = static_cast<uint32_t>(*height);
    return {};
  }

  /// The value of a tag that must have one value.
  std::optional<uint64_t> one(uint16_t tag) const {
    const auto* entry = in_.find(tag);
    return entry == nullptr || entry->count != 1 ? std::nullopt : in_.number(*entry);
  }

  std::string coding() {
    const auto how = in_.number(compression).value_or(none);
    if (!is_known_compression(how))
      return "with " + compression_name(how) + " compression";
    x_.compression = static_cast<uint32_t>(how);
    const auto planar = in_.number(planar_config).value_or(1);
    if (planar != 1 && planar != 2)
      return "with planar configuration " + std::to_string(planar);
    fill_order_ = in_.number(fill_order).value_or(1);
    if (fill_order_ != 1 && fill_order_ != 2)
      return "with fill order " + std::to_string(fill_order_);
    x_.planar = planar == 2;
    photometric_ = in_.number(photometric).value_or(0);
    return {};
  }

  std::string samples() {
    const auto default_samples = x_.compression == jpeg && (photometric_ == 2 || photometric_ == 6)
                                   ? 3
                                   : 1;
    const auto count = in_.number(samples_per_pixel).value_or(default_samples);
    if (count == 0 || count > 8)
      return "with " + plural(count, "sample") + " a pixel";
    x_.samples = static_cast<uint32_t>(count);
    const auto formats = numbers(in_, sample_format);
    bits_ = numbers(in_, bits_per_sample);
    if (bits_.empty())
      bits_ = {1};
    if (!all_are(bits_, bits_[0]) || (bits_.size() != 1 && bits_.size() < count))
      return "with samples of different widths";
    const auto bits = std::to_string(bits_[0]);
    if (!formats.empty() && !all_are(formats, formats[0]))
      return "with samples of different formats";
    const auto format = formats.empty() ? 1 : formats[0];
    if (format == 3)
      return "with " + bits + "-bit float samples";
    if (format == 2)
      return "with " + bits + "-bit signed samples";
    if (format != 1)
      return "with " + bits + "-bit samples of format " + std::to_string(format);
    if (bits_[0] != 1 && bits_[0] != 2 && bits_[0] != 4 && bits_[0] != 8 && bits_[0] != 16)
      return "with " + bits + "-bit samples";
    x_.bits = static_cast<uint32_t>(bits_[0]);
    return {};
  }

  std::string colours() {
    uint32_t own = 1;
    switch (photometric_) {
    case 0: x_.white_is_zero = true; break;
    case 1: break;
    case 2:
      x_.colours = kind::rgb;
      own = 3;
      break;
    case 3: x_.colours = kind::palette; break;
    case 5:
      x_.colours = kind::cmyk;
      own = 4;
      break;
    case 6:
      x_.colours = kind::ycbcr;
      own = 3;
      break;
    default: return "with " + colours_name(photometric_);
    }
    if (x_.samples < own)
      return "with " + plural(x_.samples, "sample") + " a pixel for " + std::to_string(own)
             + " colours";
    extra_count_ = x_.samples - own;
    const auto extra = numbers(in_, extra_samples);
    // RGB with a fourth sample that nobody has explained is alpha; others are not known.
    unexplained_ = extra.empty() && extra_count_ == 1 && x_.colours == kind::rgb;
    if (extra.size() != extra_count_ && !unexplained_)
      return "with " + plural(extra_count_, "extra sample") + ", of which it explains "
             + std::to_string(extra.size());
    if (!extra.empty()) {
      if (extra[0] > 2 && extra[0] != 999)
        return "with an extra sample of kind " + std::to_string(extra[0]);
      x_.premultiplied = extra[0] == 1;
      if (!all_are({extra.begin() + 1, extra.end()}, 0))
        return "with more than one alpha";
      alpha_ = extra[0] != 0;
    }
    return {};
  }

  std::string combination() {
    const auto bits = std::to_string(x_.bits) + "-bit";
    const bool bilevel = x_.compression == ccitt_rle || x_.compression == ccitt_g3
                         || x_.compression == ccitt_g4;
    if (bilevel && (x_.bits != 1 || x_.samples != 1))
      return "with CCITT compression of " + bits + " samples";
    if (x_.compression == jpeg && x_.bits != 8)
      return "with JPEG compression of " + bits + " samples";
    if (x_.bits == 16 && x_.planar && x_.samples > 1)
      return "with 16-bit samples in planes of their own";
    if (fill_order_ == 2 && (x_.bits == 16 || extra_count_ > 0 || x_.colours == kind::cmyk))
      return "with " + bits + " samples of reversed bits";
    // One sample's plane is its row, but Pillow takes it for 8 bits whose zero is black.
    if (x_.planar && x_.samples == 1 && x_.compression == none && (x_.bits < 8 || x_.white_is_zero))
      return "with " + bits + " samples in a plane of their own";
    switch (x_.colours) {
    case kind::grey: return grey(bits);
    case kind::palette:
      if (x_.bits == 16)
        return "with a palette of 16 bits";
      if (extra_count_ > 1
          || (extra_count_ == 1 && (x_.bits != 8 || x_.premultiplied || x_.planar)))
        return "with a palette and extra samples";
      return in_.find(320) == nullptr ? "with a palette that is not there" : "";
    case kind::rgb:
      if (x_.bits < 8)
        return "with " + bits + " colours";
      if (extra_count_ > 3 || (x_.bits == 16 && extra_count_ > 1))
        return "with " + plural(extra_count_, "extra sample") + " of " + bits;
      // Of compressed planes Pillow takes an unexplained alpha for one that is premultiplied.
      if (x_.planar
          && (x_.premultiplied || extra_count_ > 1 || (unexplained_ && x_.compression != none)))
        return "with extra samples in planes of their own";
      return {};
    case kind::cmyk:
      if (x_.bits < 8)
        return "with " + bits + " CMYK";
      if (alpha_ || extra_count_ > 2 || (extra_count_ > 0 && (x_.bits == 16 || x_.planar)))
        return "with CMYK and extra samples";
      return {};
    case kind::ycbcr:
      if (x_.compression != jpeg || x_.planar)
        return "with YCbCr samples that are not JPEG-compressed";
      return extra_count_ > 0 ? "with YCbCr and extra samples" : "";
    }
    return {};
  }

  std::string grey(const std::string& bits) const {
    if (x_.bits == 16 && x_.white_is_zero)
      return "with 16-bit samples whose zero is white";
    if (extra_count_ == 0)
      return {};
    if (x_.bits != 8 || x_.white_is_zero || extra_count_ > 1 || x_.planar)
      return "with " + bits + " grey and " + plural(extra_count_, "extra sample");
    return x_.premultiplied ? "with grey that is premultiplied by alpha" : "";
  }

  std::string pieces() {
    const auto across = one(tile_width), down = one(tile_length);
    const bool tiles = in_.find(tile_offsets) != nullptr;
    if (tiles) {
      if (!across || !down || *across == 0 || *down == 0 || *across % 16 != 0 || *down % 16 != 0)
        return "with tiles whose size is not a multiple of 16";
      // Decoders allocate a whole tile, even for a small image. A tile may be larger than the image
      // only up to the usual size of tiles.
      constexpr uint64_t usual = 4096;
      if ((*across > usual && *across >= uint64_t{x_.width} + 16)
          || (*down > usual && *down >= uint64_t{x_.height} + 16))
        return "with tiles of " + dimensions(*across, *down) + ", larger than the image";
      x_.tile_width = *across;
      x_.tile_height = *down;
    } else if (in_.find(strip_offsets) == nullptr) {
      return "without pixels";
    }
    const auto rows = in_.number(rows_per_strip).value_or(x_.height);
    if (rows == 0)
      return "with strips of 0 rows";
    x_.rows_per_strip = std::min<uint64_t>(rows, x_.height);
    const auto per_plane = tiles ? (x_.width + x_.tile_width - 1) / x_.tile_width
                                     * ((x_.height + x_.tile_height - 1) / x_.tile_height)
                                 : (x_.height + x_.rows_per_strip - 1) / x_.rows_per_strip;
    x_.pieces = per_plane * (x_.planar ? x_.samples : 1);
    const auto* offsets = in_.find(tiles ? tile_offsets : strip_offsets);
    const auto* counts = in_.find(tiles ? tile_counts : strip_counts);
    if (counts == nullptr)
      return "that does not say how long its data are";
    if (offsets->count < x_.pieces || counts->count < x_.pieces)
      return "that is truncated: it names " + std::to_string(offsets->count) + " of "
             + plural(x_.pieces, tiles ? "tile" : "strip");
    return {};
  }

  const tiff_directory& in_;
  tiff_layout x_;
  uint64_t photometric_ = 0, fill_order_ = 1;
  uint32_t extra_count_ = 0;
  bool alpha_ = false, unexplained_ = false;
  std::vector<uint64_t> bits_;
};

/// Memory for rows or a tile, the arrays of places, and the codec itself.
uint64_t work_bytes(const tiff_layout& x, uint64_t file_size) {
  const uint64_t columns = x.tile_width > 0 ? x.tile_width : x.width;
  const uint64_t row = (columns * x.samples * x.bits + 7) / 8;
  uint64_t result = file_size + 64 * x.pieces + 4 * row + columns * 32 + (uint64_t{2} << 20);
  if (x.tile_width > 0)
    result += row * x.tile_height;
  if (x.compression == jpeg)
    result += columns * x.samples * 56;
  return result;
}

} // namespace

expected<tiff_layout> parse_tiff_layout(std::string_view bytes) {
  const auto directory = tiff_directory::read(bytes);
  if (!directory)
    return refuse("TIFF without a directory");
  return layout_parser{*directory}.parse();
}

expected<image_size> read_tiff_header(std::string_view bytes) {
  const auto x = parse_tiff_layout(bytes);
  if (!x)
    return tl::unexpected(x.error());
  return image_size{image_format::tiff, x->width, x->height, x->samples,
                    work_bytes(*x, bytes.size())};
}

} // namespace ziyu::model
