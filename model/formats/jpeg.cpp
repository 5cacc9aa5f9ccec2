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
  std::vector<uint8_t> row; ///< Of CMYK.

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

void prepare(session& x, std::string_view bytes, const image_size& size) {
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
  if (size.channels == 4)
    x.row.resize(size_t{size.width} * 4);
}

enum class outcome : uint8_t { decoded, failed, other_size, other_colours };

/// All calls of libjpeg; nothing here has a destructor.
outcome run(session& x, const image_size& size, pixel_grid& pixels) {
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
  jpeg_start_decompress(&info);
  while (info.output_scanline < info.output_height) {
    auto* out = pixels.row(info.output_scanline);
    if (size.channels != 4) {
      jpeg_read_scanlines(&info, &out, 1);
      continue;
    }
    auto* row = x.row.data();
    jpeg_read_scanlines(&info, &row, 1);
    // As Adobe writes CMYK: 255 is no ink. PIL assumes that, too.
    for (uint32_t i = 0; i < size.width; ++i, row += 4, out += 3)
      cmyk_to_rgb(255u - row[0], 255u - row[1], 255u - row[2], 255u - row[3], out);
  }
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

expected<pixel_grid> decode_jpeg(std::string_view bytes, const image_size& size) {
  bounded_reader in{bytes};
  const auto frame = read_jpeg_frame(in);
  if (auto reason = check_scans(bytes, frame); !reason.empty())
    return refuse(std::move(reason));
  pixel_grid pixels{size.width, size.height, 3};
  session x;
  prepare(x, bytes, size);
  switch (run(x, size, pixels)) {
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
  return pixels;
}

} // namespace ziyu::model
