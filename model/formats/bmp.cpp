#include "model/formats/bmp_header.hpp"
#include "model/formats/decode.hpp"
#include "model/formats/header.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace ziyu::model {
namespace {

using coding = bmp_header::coding;
using colour = std::array<uint8_t, 3>;

const uint8_t* at(std::string_view bytes, uint64_t offset) {
  return reinterpret_cast<const uint8_t*>(bytes.data()) + offset;
}

/// RGB of each index. Indices behind the palette are black, as in PIL. PIL uses the values
/// themselves where the palette is the first part of all greys.
std::array<colour, 256> read_palette(std::string_view bytes, const bmp_header& x) {
  std::array<colour, 256> result{};
  bool greys = x.colours > 2;
  for (size_t i = 0; i < result.size(); ++i) {
    const auto from = x.palette + uint64_t{x.colour_size} * i;
    if (i < x.colours && from + 3 <= bytes.size()) {
      result[i] = {*at(bytes, from + 2), *at(bytes, from + 1), *at(bytes, from)};
      greys = greys && std::all_of(result[i].begin(), result[i].end(), [&](uint8_t sample) {
                return sample == i;
              });
    } else if (greys) {
      result[i].fill(static_cast<uint8_t>(i));
    }
  }
  // One colour that is black: PIL takes it for the first of black and white.
  if (x.bits == 1 && x.colours == 1 && result[0] == colour{})
    result[1].fill(255);
  return result;
}

/// Which byte of a 32-bit pixel holds red, green and blue.
std::array<uint32_t, 3> places_of(const bmp_header& x) {
  std::array<uint32_t, 3> result{2, 1, 0};
  if (x.how == coding::bit_fields && x.masks[0] != 0)
    for (size_t i = 0; i < 3; ++i)
      result[i] = static_cast<uint32_t>(std::countr_zero(x.masks[i])) / 8;
  return result;
}

void convert_row(const bmp_header& x, const std::array<colour, 256>& palette, const uint8_t* in,
                 uint8_t* out) {
  const auto put = [&](const colour& c) {
    std::memcpy(out, c.data(), 3);
    out += 3;
  };
  switch (x.bits) {
  case 1:
  case 4:
  case 8: {
    const auto per_byte = 8 / x.bits, mask = (1u << x.bits) - 1;
    for (uint32_t i = 0; i < x.width; ++i) {
      const auto shift = x.bits * (per_byte - 1 - i % per_byte);
      put(palette[in[i / per_byte] >> shift & mask]);
    }
    break;
  }
  case 16: {
    const bool six = x.how == coding::bit_fields && x.masks[0] == 0xf800;
    const auto stretched = [](uint32_t value, uint32_t most) {
      return static_cast<uint8_t>((value & most) * 255 / most);
    };
    for (uint32_t i = 0; i < x.width; ++i, in += 2) {
      const uint32_t pixel = in[0] | static_cast<uint32_t>(in[1]) << 8;
      put({stretched(pixel >> (six ? 11 : 10), 31), stretched(pixel >> 5, six ? 63 : 31),
           stretched(pixel, 31)});
    }
    break;
  }
  default: {
    const auto step = x.bits / 8;
    const auto places = places_of(x);
    for (uint32_t i = 0; i < x.width; ++i, in += step)
      put({in[places[0]], in[places[1]], in[places[2]]});
  }
  }
}

/// Expands run lengths as PIL does, also if they are invalid: rows that are longer than the image
/// are cut, shorter ones are filled with colour 0.
class run_lengths {
public:
  run_lengths(std::string_view bytes, const bmp_header& x, pixel_grid& to)
    : bytes_(bytes), x_(x), to_(to), palette_(read_palette(bytes, x)), at_(x.pixels),
      wanted_(uint64_t{x.width} * x.height) {}

  /// False when the run lengths end before the pixels.
  bool expand() {
    while (done_ < wanted_) {
      if (at_ + 2 > bytes_.size())
        return false;
      const auto count = byte(), value = byte();
      if (count > 0)
        run(count, value);
      else if (value == 0)
        end_row();
      else if (value == 1 || (value == 2 ? !move() : !literal(value)))
        break;
    }
    return done_ >= wanted_;
  }

private:
  uint32_t byte() { return *at(bytes_, at_++); }

  void put(uint32_t index) {
    if (done_ < wanted_) {
      const auto y = static_cast<uint32_t>(done_ / x_.width);
      auto* row = to_.row(x_.top_down ? y : x_.height - 1 - y);
      std::memcpy(row + done_ % x_.width * 3, palette_[index & 0xff].data(), 3);
    }
    ++done_;
  }

  void run(uint64_t count, uint32_t value) {
    if (column_ + count > x_.width)
      count = column_ < x_.width ? x_.width - column_ : 0;
    for (uint64_t i = 0; i < count; ++i)
      put(x_.how == coding::rle8 ? value : i % 2 == 0 ? value >> 4 : value & 15);
    column_ += count;
  }

  void end_row() {
    while (done_ % x_.width != 0)
      put(0);
    column_ = 0;
  }

  bool move() {
    if (at_ + 2 > bytes_.size())
      return false;
    const uint64_t right = byte(), up = byte();
    const auto count = std::min(wanted_ - done_, right + up * x_.width);
    for (uint64_t i = 0; i < count; ++i)
      put(0);
    column_ = done_ % x_.width;
    return true;
  }

  bool literal(uint64_t stored) {
    const auto count = std::min(wanted_ - done_, stored);
    const auto size = x_.how == coding::rle8 ? count : (count + 1) / 2;
    const auto there = std::min<uint64_t>(size, bytes_.size() - at_);
    for (uint64_t i = 0; i < there; ++i) {
      const auto value = byte();
      if (x_.how == coding::rle8) {
        put(value);
        continue;
      }
      put(value >> 4);
      if (2 * i + 1 < count)
        put(value & 15);
    }
    if (there < size)
      return false;
    column_ += stored;
    at_ += at_ % 2; // 16-bit words
    return true;
  }

  std::string_view bytes_;
  const bmp_header& x_;
  pixel_grid& to_;
  std::array<colour, 256> palette_;
  uint64_t at_, wanted_;
  uint64_t done_ = 0, column_ = 0;
};

} // namespace

expected<pixel_grid> decode_bmp(std::string_view bytes, const image_size& size) {
  const auto header = parse_bmp_header(bytes);
  if (!header)
    return tl::unexpected(header.error());
  const auto& x = *header;
  if (x.bits <= 8 && x.palette + uint64_t{x.colour_size} * x.colours > bytes.size())
    return refuse("is truncated: it ends within its palette");
  if (x.how == coding::rle8 || x.how == coding::rle4) {
    pixel_grid pixels{size.width, size.height, 3};
    if (!run_lengths{bytes, x, pixels}.expand())
      return refuse("is truncated: its run lengths end before its pixels");
    return pixels;
  }
  // The last row's padding may be missing.
  const auto row = x.row_size(), last = (uint64_t{x.width} * x.bits + 7) / 8;
  if (x.pixels > bytes.size() || row * (x.height - 1) + last > bytes.size() - x.pixels)
    return refuse("is truncated: its data end before its pixels");
  const auto palette = x.bits <= 8 ? read_palette(bytes, x) : std::array<colour, 256>{};
  pixel_grid pixels{size.width, size.height, 3};
  for (uint32_t y = 0; y < x.height; ++y)
    convert_row(x, palette, at(bytes, x.pixels + row * y),
                pixels.row(x.top_down ? y : x.height - 1 - y));
  return pixels;
}

} // namespace ziyu::model
