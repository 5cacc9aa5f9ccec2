#include "model/formats/decode.hpp"
#include "model/formats/header.hpp"
#include "model/formats/png_chunks.hpp"

#include <array>
#include <csetjmp>
#include <cstring>
#include <vector>

#include <png.h>

namespace ziyu::model {
namespace {

/// The part of the file that libpng sees: header, palette, pixels. Metadata are not even inflated,
/// so that a text of gigabytes costs nothing.
struct feed {
  std::vector<std::string_view> parts;
  size_t part = 0, at = 0;

  bool read(uint8_t* to, size_t count) {
    while (count > 0) {
      if (part == parts.size())
        return false;
      const auto rest = parts[part].substr(at);
      const auto n = std::min(count, rest.size());
      std::memcpy(to, rest.data(), n);
      to += n;
      count -= n;
      at += n;
      if (at == parts[part].size()) {
        ++part;
        at = 0;
      }
    }
    return true;
  }
};

std::string name_of(uint32_t type) {
  std::string result;
  for (int shift = 24; shift >= 0; shift -= 8) {
    const auto c = static_cast<char>(type >> shift & 0xff);
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    result += letter ? c : '?';
  }
  return result;
}

/// A palette with as many colours as the pixels can name. PIL continues a shorter one with
/// black.
std::string full_palette(std::string_view stored, uint32_t bits) {
  std::string result{"\0\0\0\0PLTE", 8};
  const auto count = size_t{1} << bits;
  for (size_t i = 0; i < count; ++i)
    for (size_t c = 0; c < 3; ++c)
      result += 3 * i + 2 < stored.size() ? stored[3 * i + c] : '\0';
  const auto length = 3 * count;
  result[2] = static_cast<char>(length >> 8);
  result[3] = static_cast<char>(length & 0xff);
  return result + std::string(4, '\0'); // checksums are not checked again
}

constexpr std::string_view end_chunk{"\0\0\0\0IEND\xae\x42\x60\x82", 12};

/// Collects the chunks up to the last one with pixels; each must be correct. Returns an empty text,
/// or the reason. Chunks behind the pixels are ignored.
std::string collect(std::string_view bytes, feed& to, std::string& palette) {
  const auto bits = static_cast<uint8_t>(bytes[24]);
  const bool indexed = bytes[25] == 3;
  bool has_palette = false, in_pixels = false;
  png_chunks chunks{bytes};
  to.parts.push_back(png_signature);
  while (auto chunk = chunks.next()) {
    const bool pixels = chunk->type == png_type("IDAT");
    if (in_pixels && !pixels)
      break;
    if (!chunk->whole)
      return "is truncated";
    if (!chunk->checksum_is_right())
      return "is damaged: its chunk " + name_of(chunk->type) + " has a wrong checksum";
    if (chunk->type == png_type("IHDR")) {
      if (to.parts.size() > 1)
        return "has two headers";
      to.parts.push_back(chunk->all);
    } else if (chunk->type == png_type("PLTE")) {
      if (!indexed)
        continue; // only a suggestion
      if (has_palette || chunk->body.empty() || chunk->body.size() % 3 != 0
          || chunk->body.size() > (size_t{3} << bits))
        return "is damaged: its palette has " + std::to_string(chunk->body.size()) + " bytes";
      has_palette = true;
      palette = full_palette(chunk->body, bits);
      to.parts.push_back(palette);
    } else if (pixels) {
      if (indexed && !has_palette)
        return "has no palette";
      in_pixels = true;
      to.parts.push_back(chunk->all);
    } else if (chunk->type == png_type("IEND")) {
      break;
    } else if ((chunk->type >> 24 & 0x20) == 0) {
      return "has the unknown critical chunk " + name_of(chunk->type);
    }
  }
  if (!in_pixels)
    return "is truncated: it has no pixels";
  to.parts.push_back(end_chunk);
  return {};
}

/// libpng's state, outside of the function that `longjmp` leaves.
struct session {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::jmp_buf leave{};
  std::string reason;
  bool no_memory = false;
  feed from;

  session() = default;
  session(const session&) = delete;
  session& operator=(const session&) = delete;
  ~session() { png_destroy_read_struct(&png, &info, nullptr); }
};

void give_up(session& x, const char* text) {
  const std::string_view message{text};
  x.no_memory = message.find("emory") != std::string_view::npos;
  x.reason = message.find("ot enough") != std::string_view::npos
                 || message.find("end of") != std::string_view::npos
               ? "is truncated: its data end before its pixels"
               : "is damaged: its data cannot be inflated to its pixels";
}

void on_error(png_structp png, png_const_charp text) {
  auto& x = *static_cast<session*>(png_get_error_ptr(png));
  give_up(x, text);
  std::longjmp(x.leave, 1);
}

void on_warning(png_structp png, png_const_charp text) {
  // Data that remain behind the last pixel do no harm.
  const std::string_view message{text};
  if (message.find("xtra compressed") == std::string_view::npos
      && message.find("oo much image") == std::string_view::npos)
    on_error(png, text);
}

void on_read(png_structp png, png_bytep to, size_t count) {
  auto& x = *static_cast<session*>(png_get_error_ptr(png));
  if (!x.from.read(to, count))
    on_error(png, "not enough data");
}

enum class outcome : uint8_t { decoded, failed, other_size };

/// All calls of libpng; nothing here has a destructor.
outcome run(session& x, const image_size& size, pixel_grid& pixels) {
  x.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &x, on_error, on_warning);
  x.info = x.png == nullptr ? nullptr : png_create_info_struct(x.png);
  if (x.info == nullptr) {
    x.no_memory = true;
    x.reason = "cannot be decoded by this version of libpng";
    return outcome::failed;
  }
  if (setjmp(x.leave) != 0)
    return outcome::failed;
  png_set_read_fn(x.png, &x, on_read);
  png_set_user_limits(x.png, 0x7fffffff, 0x7fffffff);
  png_set_crc_action(x.png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
  png_read_info(x.png, x.info);
  if (png_get_image_width(x.png, x.info) != size.width
      || png_get_image_height(x.png, x.info) != size.height)
    return outcome::other_size;
  const auto colours = png_get_color_type(x.png, x.info);
  if (png_get_bit_depth(x.png, x.info) == 16)
    png_set_strip_16(x.png); // the high byte
  if (colours == PNG_COLOR_TYPE_PALETTE)
    png_set_palette_to_rgb(x.png);
  if ((colours & PNG_COLOR_MASK_COLOR) == 0) {
    png_set_expand_gray_1_2_4_to_8(x.png);
    png_set_gray_to_rgb(x.png);
  }
  if ((colours & PNG_COLOR_MASK_ALPHA) != 0)
    png_set_strip_alpha(x.png);
  const auto passes = png_set_interlace_handling(x.png);
  png_read_update_info(x.png, x.info);
  if (png_get_rowbytes(x.png, x.info) != pixels.row_size())
    return outcome::other_size;
  for (int pass = 0; pass < passes; ++pass)
    for (uint32_t y = 0; y < size.height; ++y)
      png_read_row(x.png, pixels.row(y), nullptr);
  png_read_end(x.png, nullptr);
  return outcome::decoded;
}

} // namespace

expected<pixel_grid> decode_png(std::string_view bytes, const image_size& size) {
  session x;
  std::string palette;
  if (auto reason = collect(bytes, x.from, palette); !reason.empty())
    return refuse(std::move(reason));
  pixel_grid pixels{size.width, size.height, 3};
  switch (run(x, size, pixels)) {
  case outcome::decoded: return pixels;
  case outcome::other_size: return refuse("has another size than its header says");
  case outcome::failed: break;
  }
  if (x.no_memory)
    need_memory(size.work_bytes);
  return refuse(std::move(x.reason));
}

} // namespace ziyu::model
