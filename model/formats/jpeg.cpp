#include "model/formats/decode.hpp"
#include "model/formats/header.hpp"
#include "model/formats/jpeg_header.hpp"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <vector>

// In this order: jpeglib.h needs FILE.
#include <jerror.h>
#include <jpeglib.h>

namespace ziyu::model {
namespace {

/// Warnings after which every pixel is still as it was written.
bool is_harmless(int code) {
  return code == JWRN_EXTRANEOUS_DATA || code == JWRN_ADOBE_XFORM || code == JWRN_JFIF_MAJOR
         || code == JWRN_TOO_MUCH_DATA || code == JWRN_NOT_SEQUENTIAL;
}

std::string reason_of(int code) {
  switch (code) {
  case JWRN_HIT_MARKER: return "is truncated: its data end before its pixels";
  case JWRN_HUFF_BAD_CODE: return "is damaged: its data have a code that is in no table";
  case JWRN_MUST_RESYNC: return "is damaged: its restart markers are out of order";
  case JWRN_BOGUS_PROGRESSION: return "is damaged: its scans do not follow each other";
  case JERR_NO_HUFF_TABLE:
  case JERR_NO_QUANT_TABLE: return "is damaged: it lacks a table";
  case JERR_BAD_HUFF_TABLE: return "is damaged: it has a Huffman table that cannot be";
  case JERR_CONVERSION_NOTIMPL:
  case JERR_BAD_J_COLORSPACE: return "has a combination of colours that is unknown";
  case JERR_BAD_MCU_SIZE:
  case JERR_BAD_SAMPLING:
  case JERR_FRACT_SAMPLE_NOTIMPL:
  case JERR_CCIR601_NOTIMPL: return "has sampling factors that no decoder takes";
  case JERR_BAD_COMPONENT_ID: return "is damaged: a scan is of a colour that it does not have";
  case JERR_BAD_PROGRESSION: return "is damaged: a scan's parameters are not those of its coding";
  case JERR_SOF_DUPLICATE: return "has two frame headers";
  case JERR_SOI_DUPLICATE: return "has two start markers";
  case JERR_SOS_NO_SOF: return "is damaged: a scan stands before its frame header";
  case JERR_BAD_LENGTH: return "is damaged: a segment has a wrong length";
  case JERR_UNKNOWN_MARKER: return "has a marker that is unknown";
  case JERR_DAC_INDEX:
  case JERR_DAC_VALUE:
  case JERR_DHT_INDEX:
  case JERR_DQT_INDEX: return "is damaged: it has a table of a number that does not exist";
  case JERR_IMAGE_TOO_BIG:
  case JERR_WIDTH_OVERFLOW: return "is larger than libjpeg decodes";
  }
  return "is damaged: its segments are not those of a JPEG";
}

/// libjpeg's state. Its functions return by `longjmp`, so objects with a destructor are here,
/// outside of the function that is left.
struct session {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  std::jmp_buf leave{};
  int failed_with = 0;      ///< libjpeg's code.
  bool ended = false;       ///< The bytes ended before the end marker.
  std::vector<uint8_t> row; ///< Of CMYK, or one that is not wanted.

  session() = default;
  session(const session&) = delete;
  session& operator=(const session&) = delete;
  ~session() { jpeg_destroy_decompress(&info); }
};

session& of(j_common_ptr info) { return *static_cast<session*>(info->client_data); }

[[noreturn]] void give_up(j_common_ptr info) {
  auto& x = of(info);
  x.failed_with = info->err->msg_code;
  std::longjmp(x.leave, 1);
}

void on_message(j_common_ptr info, int level) {
  if (level < 0 && !is_harmless(info->err->msg_code))
    give_up(info);
}

/// All bytes are there from the start. When libjpeg wants more, it gets an end marker; if pixels
/// are missing, that causes the warning JWRN_HIT_MARKER.
boolean at_end(j_decompress_ptr info) {
  static const JOCTET end[] = {0xff, JPEG_EOI};
  of(reinterpret_cast<j_common_ptr>(info)).ended = true;
  info->src->next_input_byte = end;
  info->src->bytes_in_buffer = sizeof end;
  return TRUE;
}

void skip(j_decompress_ptr info, long count) {
  auto& source = *info->src;
  if (count <= 0)
    return;
  if (static_cast<size_t>(count) > source.bytes_in_buffer) {
    at_end(info);
    return;
  }
  source.next_input_byte += count;
  source.bytes_in_buffer -= static_cast<size_t>(count);
}

void prepare(session& x, std::string_view bytes) {
  x.info.err = jpeg_std_error(&x.errors);
  x.errors.error_exit = give_up;
  x.errors.emit_message = on_message;
  x.errors.output_message = [](j_common_ptr) {};
  x.info.client_data = &x;
  x.source.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
  x.source.bytes_in_buffer = bytes.size();
  x.source.init_source = [](j_decompress_ptr) {};
  x.source.fill_input_buffer = at_end;
  x.source.skip_input_data = skip;
  x.source.resync_to_restart = jpeg_resync_to_restart;
  x.source.term_source = [](j_decompress_ptr) {};
}

/// The part of a JPEG that is decoded. libjpeg crops at the edges of iMCUs, which are the units of
/// all components together. With one more of them on each side, the pixels that are wanted have
/// the neighbours from which a whole decode would smooth their colours.
struct cut {
  uint32_t divisor = 1;
  uint32_t width = 0, height = 0; ///< Of the whole, after the division.
  uint32_t left = 0, across = 0;  ///< Columns that are decoded.
  uint32_t skipped = 0;           ///< Rows from the top that are not decoded.
  uint32_t top = 0, down = 0;     ///< Rows that are wanted.
  uint32_t unit_height = 1;       ///< Of an iMCU.

  bool is_whole() const { return across == width && down == height && divisor == 1; }
};

/// A multiple of `unit` below `x`, with one more to spare.
uint32_t begin_before(uint32_t x, uint32_t unit) { return x / unit * unit - (x < unit ? 0 : unit); }

cut cut_of(const jpeg_frame& frame, const std::optional<jpeg_wish>& wish) {
  cut x;
  uint32_t across = 1, down = 1;
  auto usual = true;
  for (uint32_t i = 0; i < frame.components; ++i) {
    const auto& component = frame.component_list[i];
    across = std::max(across, component.across);
    down = std::max(down, component.down);
    usual = usual && component.across != 3 && component.down != 3;
  }
  if (wish)
    x.divisor = wish->divisor;
  x.width = (frame.width + x.divisor - 1) / x.divisor;
  x.height = (frame.height + x.divisor - 1) / x.divisor;
  x.across = x.width;
  x.down = x.height;
  // Before libjpeg-turbo 3.0, the width of a cut was wrong if the image was divided and had factors
  // of 4. A single component's factors count for rows only.
  usual = usual && (x.divisor == 1 || std::max(across, down) < 4)
          && (frame.components > 1 || std::max(across, down) == 1);
  if (!wish || !usual)
    return x;
  const auto unit = across * DCTSIZE / x.divisor;
  x.unit_height = down * DCTSIZE / x.divisor;
  const auto& region = wish->region;
  x.left = begin_before(region.left, unit);
  const auto right = ((region.left + region.width + unit - 1) / unit + 1) * unit;
  x.across = std::min(x.width, right) - x.left;
  x.skipped = begin_before(region.top, x.unit_height);
  x.top = region.top;
  x.down = region.height;
  return x;
}

enum class outcome : uint8_t { decoded, failed, other_size, other_colours };

/// Reads and drops rows until `end` comes next.
void drop(session& x, uint32_t end) {
  while (x.info.output_scanline < end) {
    auto* row = x.row.data();
    jpeg_read_scanlines(&x.info, &row, 1);
  }
}

/// Reads what lies below the wanted rows, so that damage there is noticed. Several scans have been
/// read as a whole before the first row came.
void check_rest(session& x, const cut& part) {
  auto& info = x.info;
  if (jpeg_has_multiple_scans(&info) || info.output_scanline == info.output_height)
    return;
  // `jpeg_skip_scanlines` decodes what it skips as far as damage shows. But it must begin where
  // units do (libjpeg-turbo's issue 915), and to skip the last row ends the input unread.
  const auto last = (part.height - 1) / part.unit_height * part.unit_height;
  drop(x, std::min(last, (info.output_scanline + part.unit_height - 1) / part.unit_height
                           * part.unit_height));
  if (info.output_scanline < last)
    jpeg_skip_scanlines(&info, last - info.output_scanline);
  drop(x, info.output_scanline + 1);
}

/// All calls of libjpeg; nothing here has a destructor.
outcome run(session& x, const image_size& size, const cut& part, pixel_grid& pixels) {
  if (setjmp(x.leave) != 0)
    return outcome::failed;
  auto& info = x.info;
  jpeg_create_decompress(&info);
  info.src = &x.source;
  // libjpeg holds all coefficients of an image in several scans: not more than announced.
  info.mem->max_memory_to_use = static_cast<long>(size.work_bytes);
  jpeg_read_header(&info, TRUE);
  if (info.image_width != size.width || info.image_height != size.height)
    return outcome::other_size;
  if (info.num_components != static_cast<int>(size.channels))
    return outcome::other_colours;
  info.out_color_space = size.channels == 4 ? JCS_CMYK : JCS_RGB;
  info.dct_method = JDCT_ISLOW;
  info.do_fancy_upsampling = TRUE;
  info.scale_num = 1;
  info.scale_denom = part.divisor;
  jpeg_start_decompress(&info);
  if (info.output_width != part.width || info.output_height != part.height)
    return outcome::other_size;
  JDIMENSION left = part.left, across = part.across;
  if (across < part.width)
    jpeg_crop_scanline(&info, &left, &across);
  if (left != part.left || across != part.across)
    return outcome::other_size;
  if (part.skipped > 0)
    jpeg_skip_scanlines(&info, part.skipped);
  drop(x, part.top);
  for (uint32_t y = 0; y < part.down; ++y) {
    auto* out = pixels.row(y);
    if (size.channels != 4) {
      jpeg_read_scanlines(&info, &out, 1);
      continue;
    }
    auto* row = x.row.data();
    jpeg_read_scanlines(&info, &row, 1);
    // As Adobe writes CMYK: 255 is no ink. PIL assumes that, too.
    for (uint32_t i = 0; i < across; ++i, row += 4, out += 3)
      cmyk_to_rgb(255u - row[0], 255u - row[1], 255u - row[2], 255u - row[3], out);
  }
  check_rest(x, part);
  return outcome::decoded;
}

/// True if the scans have brought every bit of every coefficient.
bool has_all_scans(const jpeg_decompress_struct& info) {
  if (info.coef_bits == nullptr)
    return true;
  for (int i = 0; i < info.num_components; ++i)
    for (int k = 0; k < DCTSIZE2; ++k)
      if (info.coef_bits[i][k] != 0)
        return false;
  return true;
}

/// Checks what libjpeg accepts: components without a scan, which stay grey, and any number of
/// scans, each of which takes as long as the image.
std::string check_scans(std::string_view bytes, const jpeg_frame& frame) {
  // Encoders write some 10. Each scan goes over the whole image, though it may have a few bytes:
  // a thousand of them took 100 megapixels past any deadline.
  constexpr uint64_t usual = 64, pixels_in_all = 1'000'000'000;
  const auto most = std::clamp(pixels_in_all
                                 / std::max<uint64_t>(uint64_t{frame.width} * frame.height, 1),
                               usual, uint64_t{1000});
  bounded_reader in{bytes};
  uint32_t scans = 0, missing = frame.components;
  std::array<bool, 4> seen{};
  walk_jpeg(in, [&](uint32_t marker, size_t at) {
    if (marker != 0xda)
      return false;
    const auto count = in.u8(at + 2);
    for (uint32_t i = 0; i < std::min(count, 4u); ++i)
      for (uint32_t c = 0; c < frame.components; ++c)
        if (!seen[c] && in.u8(at + 3 + 2 * i) == frame.component_list[c].id) {
          seen[c] = true;
          --missing;
          break;
        }
    return ++scans > most;
  });
  if (scans > most)
    return "has more than " + std::to_string(most) + " scans";
  return missing > 0 ? "is truncated: it lacks the scans of some of its colours" : "";
}

} // namespace

expected<decoded_image> decode_jpeg(std::string_view bytes, const image_size& size,
                                    const std::optional<jpeg_wish>& wish) {
  bounded_reader in{bytes};
  const auto frame = read_jpeg_frame(in);
  if (auto reason = check_scans(bytes, frame); !reason.empty())
    return refuse(std::move(reason));
  const auto part = cut_of(frame, wish);
  decoded_image result{pixel_grid{part.across, part.down, 3}};
  session x;
  prepare(x, bytes);
  x.row.resize(size_t{part.across} * std::max(size.channels, 3u));
  switch (run(x, size, part, result.pixels)) {
  case outcome::decoded: break;
  case outcome::other_size: return refuse("has another size than its header says");
  case outcome::other_colours: return refuse("has other colours than its header says");
  case outcome::failed:
    if (x.failed_with == JERR_OUT_OF_MEMORY)
      need_memory(size.work_bytes);
    return refuse(reason_of(x.failed_with));
  }
  if (!has_all_scans(x.info))
    return refuse("is truncated: it lacks its last scans");
  if (!part.is_whole())
    result.part = decoded_part{size.width, size.height, part.divisor, part.left, part.top};
  return result;
}

} // namespace ziyu::model
