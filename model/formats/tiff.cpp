#include "model/formats/decode.hpp"
#include "model/formats/header.hpp"
#include "model/formats/tiff_header.hpp"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include <tiffio.h>

namespace ziyu::model {
namespace {

using kind = tiff_layout::kind;

/// The bytes as a file, and libtiff's messages.
struct session {
  std::string_view bytes;
  uint64_t at = 0;
  bool decoding = false; ///< Messages about the directory are ignored: it has been read already.
  bool complained = false, no_memory = false;
  std::string named; ///< A reason found here.
};

session& of(thandle_t handle) { return *static_cast<session*>(handle); }

tmsize_t read_bytes(thandle_t handle, void* to, tmsize_t count) {
  auto& x = of(handle);
  const auto rest = x.bytes.size() - std::min<uint64_t>(x.at, x.bytes.size());
  const auto n = std::min<uint64_t>(rest, static_cast<uint64_t>(std::max<tmsize_t>(count, 0)));
  if (n > 0)
    std::memcpy(to, x.bytes.data() + x.at, n);
  x.at += n;
  return static_cast<tmsize_t>(n);
}

tmsize_t write_nothing(thandle_t, void*, tmsize_t) { return 0; }

toff_t seek(thandle_t handle, toff_t offset, int from) {
  auto& x = of(handle);
  x.at = offset + (from == SEEK_CUR ? x.at : from == SEEK_END ? x.bytes.size() : 0);
  return x.at;
}

int close_nothing(thandle_t) { return 0; }

toff_t size_of(thandle_t handle) { return of(handle).bytes.size(); }

/// libtiff only reads mapped memory: the file is opened for reading.
int map(thandle_t handle, void** base, toff_t* size) {
  *base = const_cast<char*>(of(handle).bytes.data());
  *size = of(handle).bytes.size();
  return 1;
}

void unmap(thandle_t, void*, toff_t) {
  // nop
}

int on_message(TIFF*, void* user_data, const char*, const char* format, va_list) {
  auto& x = *static_cast<session*>(user_data);
  const std::string_view text{format};
  if (text.find("emory") != std::string_view::npos
      || text.find("o space") != std::string_view::npos)
    x.no_memory = true;
  if (text.find("ld-style LZW") != std::string_view::npos)
    x.named = "has old-style LZW compression";
  if (text.find("progressive mode") != std::string_view::npos)
    x.named = "holds a progressive JPEG, which TIFF does not allow";
  if (x.decoding && text.starts_with("Discarding "))
    x.named = "is damaged: its PackBits runs go on behind the end of a row";
  x.complained = x.complained || x.decoding;
  return 1;
}

struct closer {
  void operator()(TIFF* x) const { TIFFClose(x); }
};
using tiff_file = std::unique_ptr<TIFF, closer>;

tiff_file open(session& x, uint64_t largest_block) {
  struct free_options {
    void operator()(TIFFOpenOptions* o) const { TIFFOpenOptionsFree(o); }
  };
  const std::unique_ptr<TIFFOpenOptions, free_options> options{TIFFOpenOptionsAlloc()};
  if (!options)
    throw std::bad_alloc{};
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), on_message, &x);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), on_message, &x);
  TIFFOpenOptionsSetMaxSingleMemAlloc(
    options.get(), static_cast<tmsize_t>(std::min<uint64_t>(largest_block, 1ull << 40)));
  // "C": strips as stored, not cut into smaller ones.
  return tiff_file{TIFFClientOpenExt("image", "rC", &x, read_bytes, write_nothing, seek,
                                     close_nothing, size_of, map, unmap, options.get())};
}

template <class T>
uint64_t field(TIFF* file, uint32_t tag) {
  T value{};
  return TIFFGetFieldDefaulted(file, tag, &value) == 1 ? value : 0;
}

/// True if libtiff has read the same from the directory as `parse_tiff_layout`.
bool agrees(TIFF* file, const tiff_layout& x) {
  const bool tiles = x.tile_width > 0;
  return field<uint32_t>(file, TIFFTAG_IMAGEWIDTH) == x.width
         && field<uint32_t>(file, TIFFTAG_IMAGELENGTH) == x.height
         && field<uint16_t>(file, TIFFTAG_BITSPERSAMPLE) == x.bits
         && field<uint16_t>(file, TIFFTAG_SAMPLESPERPIXEL) == x.samples
         && field<uint16_t>(file, TIFFTAG_COMPRESSION) == x.compression
         && field<uint16_t>(file, TIFFTAG_SAMPLEFORMAT) == SAMPLEFORMAT_UINT
         && (field<uint16_t>(file, TIFFTAG_PLANARCONFIG) == PLANARCONFIG_SEPARATE) == x.planar
         && (TIFFIsTiled(file) != 0) == tiles
         && (!tiles
             || (field<uint32_t>(file, TIFFTAG_TILEWIDTH) == x.tile_width
                 && field<uint32_t>(file, TIFFTAG_TILELENGTH) == x.tile_height));
}

/// Turns rows of samples into rows of RGB.
class converter {
public:
  /// False when the file lacks the palette.
  bool prepare(TIFF* file, const tiff_layout& x) {
    x_ = &x;
    if (x.colours != kind::palette)
      return true;
    uint16_t *red = nullptr, *green = nullptr, *blue = nullptr;
    if (TIFFGetField(file, TIFFTAG_COLORMAP, &red, &green, &blue) != 1)
      return false;
    for (size_t i = 0; i < size_t{1} << x.bits; ++i)
      palette_[i] = {high(red[i]), high(green[i]), high(blue[i])};
    return true;
  }

  /// `count` pixels of one row; with planes, only the one of `plane`.
  void convert(const uint8_t* in, uint8_t* out, uint64_t count, uint32_t plane) const {
    if (x_->planar)
      return convert_plane(in, out, count, plane);
    switch (x_->colours) {
    case kind::grey: return convert_grey(in, out, count);
    case kind::palette: return convert_palette(in, out, count);
    case kind::rgb:
    case kind::ycbcr: // libjpeg has made RGB of it
      return convert_rgb(in, out, count);
    case kind::cmyk:
      for (uint64_t i = 0; i < count; ++i, out += 3) {
        const auto first = i * x_->samples;
        cmyk_to_rgb(sample(in, first), sample(in, first + 1), sample(in, first + 2),
                    sample(in, first + 3), out);
      }
    }
  }

private:
  static uint8_t high(uint16_t x) { return static_cast<uint8_t>(x >> 8); }

  /// The high byte of 16 bits, in the machine's order, as libtiff returns them.
  uint32_t sample(const uint8_t* in, uint64_t index) const {
    if (x_->bits == 8)
      return in[index];
    if (x_->bits == 16) {
      uint16_t value = 0;
      std::memcpy(&value, in + 2 * index, 2);
      return value >> 8;
    }
    const auto per_byte = 8 / x_->bits;
    const auto shift = x_->bits * (per_byte - 1 - index % per_byte);
    return static_cast<uint32_t>(in[index / per_byte]) >> shift & ((1u << x_->bits) - 1);
  }

  void convert_grey(const uint8_t* in, uint8_t* out, uint64_t count) const {
    const auto stretch = x_->bits >= 8 ? 1u : 255u / ((1u << x_->bits) - 1);
    for (uint64_t i = 0; i < count; ++i, out += 3) {
      const auto value = sample(in, i * x_->samples) * stretch;
      std::memset(out, static_cast<int>(x_->white_is_zero ? 255 - value : value), 3);
    }
  }

  void convert_palette(const uint8_t* in, uint8_t* out, uint64_t count) const {
    for (uint64_t i = 0; i < count; ++i, out += 3)
      std::memcpy(out, palette_[sample(in, i * x_->samples)].data(), 3);
  }

  void convert_rgb(const uint8_t* in, uint8_t* out, uint64_t count) const {
    for (uint64_t i = 0; i < count; ++i, out += 3) {
      const auto first = i * x_->samples;
      const auto alpha = x_->premultiplied ? sample(in, first + 3) : 255;
      for (uint32_t c = 0; c < 3; ++c) {
        const auto value = sample(in, first + c);
        out[c] = static_cast<uint8_t>(alpha == 255 ? value
                                      : alpha == 0 ? 0
                                                   : std::min(255u, value * 255 / alpha));
      }
    }
  }

  void convert_plane(const uint8_t* in, uint8_t* out, uint64_t count, uint32_t plane) const {
    if (x_->colours == kind::cmyk && plane == 3) // the inks are there; now the black
      for (uint64_t i = 0; i < count; ++i, out += 3)
        cmyk_to_rgb(out[0], out[1], out[2], sample(in, i), out);
    else if (x_->colours == kind::rgb || x_->colours == kind::cmyk)
      for (uint64_t i = 0; i < count; ++i)
        out[3 * i + plane] = static_cast<uint8_t>(sample(in, i));
    else if (x_->colours == kind::grey)
      convert_grey(in, out, count);
    else
      convert_palette(in, out, count);
  }

  const tiff_layout* x_ = nullptr;
  std::array<std::array<uint8_t, 3>, 256> palette_{};
};

/// Planes that make the colours; those of extra samples are not read.
uint32_t planes_of(const tiff_layout& x) {
  return !x.planar ? 1 : x.colours == kind::rgb ? 3 : x.colours == kind::cmyk ? 4 : 1;
}

/// Both are false when libtiff fails.
bool read_rows(TIFF* file, const tiff_layout& x, const converter& by, pixel_grid& to) {
  const auto per_pixel = x.planar ? 1 : x.samples;
  std::vector<uint8_t> row((uint64_t{x.width} * per_pixel * x.bits + 7) / 8);
  if (TIFFScanlineSize64(file) != row.size())
    return false;
  const auto planes = planes_of(x);
  for (uint32_t plane = 0; plane < planes; ++plane)
    for (uint32_t y = 0; y < x.height; ++y) {
      if (TIFFReadScanline(file, row.data(), y, static_cast<uint16_t>(plane)) != 1)
        return false;
      by.convert(row.data(), to.row(y), x.width, plane);
    }
  return true;
}

bool read_tiles(TIFF* file, const tiff_layout& x, const converter& by, pixel_grid& to) {
  const auto per_pixel = x.planar ? 1 : x.samples;
  const auto row = (x.tile_width * per_pixel * x.bits + 7) / 8;
  if (TIFFTileSize64(file) != row * x.tile_height)
    return false;
  std::vector<uint8_t> tile(row * x.tile_height);
  const auto planes = planes_of(x);
  for (uint32_t plane = 0; plane < planes; ++plane)
    for (uint64_t y = 0; y < x.height; y += x.tile_height)
      for (uint64_t column = 0; column < x.width; column += x.tile_width) {
        const auto read = TIFFReadTile(file, tile.data(), static_cast<uint32_t>(column),
                                       static_cast<uint32_t>(y), 0, static_cast<uint16_t>(plane));
        if (read != static_cast<tmsize_t>(tile.size()))
          return false;
        const auto count = std::min(x.tile_width, x.width - column);
        for (uint64_t i = 0; i < std::min(x.tile_height, x.height - y); ++i)
          by.convert(tile.data() + row * i, to.row(static_cast<uint32_t>(y + i)) + 3 * column,
                     count, plane);
      }
  return true;
}

} // namespace

expected<pixel_grid> decode_tiff(std::string_view bytes, const image_size& size) {
  const auto layout = parse_tiff_layout(bytes);
  if (!layout)
    return tl::unexpected(layout.error());
  session x;
  x.bytes = bytes;
  const auto file = open(x, size.work_bytes);
  if (x.no_memory)
    need_memory(size.work_bytes);
  if (!file)
    return refuse("is damaged: its directory cannot be read");
  if (!agrees(file.get(), *layout))
    return refuse("contradicts itself about its pixels");
  if (layout->colours == kind::ycbcr)
    TIFFSetField(file.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
  // libdeflate leaves a piece as it is, and calls that success, when its data are longer than its
  // pixels; zlib fills it.
  if (layout->compression == COMPRESSION_ADOBE_DEFLATE
      || layout->compression == COMPRESSION_DEFLATE)
    TIFFSetField(file.get(), TIFFTAG_DEFLATE_SUBCODEC, DEFLATE_SUBCODEC_ZLIB);
  converter by;
  if (!by.prepare(file.get(), *layout))
    return refuse("has no palette");
  pixel_grid pixels{size.width, size.height, 3};
  x.decoding = true;
  const auto whole = layout->tile_width > 0 ? read_tiles(file.get(), *layout, by, pixels)
                                            : read_rows(file.get(), *layout, by, pixels);
  if (x.no_memory)
    need_memory(size.work_bytes);
  if (!x.named.empty())
    return refuse(std::move(x.named));
  if (!whole || x.complained)
    return refuse("is damaged or truncated: its data do not match its pixels");
  return pixels;
}

} // namespace ziyu::model
