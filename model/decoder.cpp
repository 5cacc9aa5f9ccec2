#include "model/decoder.hpp"

#include "model/formats/decode.hpp"
#include "model/formats/header.hpp"
#include "model/orientation.hpp"

#include <opencv2/core.hpp>

#include <exception>
#include <new>
#include <string>

namespace ziyu::model {
namespace {

/// Rounded up: "301 MiB".
std::string mebibytes(uint64_t bytes) {
  return std::to_string((bytes >> 20) + ((bytes & 0xfffff) != 0 ? 1 : 0)) + " MiB";
}

expected<pixel_grid> decode(std::string_view bytes, const image_size& size) {
  switch (size.format) {
  case image_format::jpeg: return decode_jpeg(bytes, size);
  case image_format::png: return decode_png(bytes, size);
  case image_format::bmp: return decode_bmp(bytes, size);
  case image_format::webp: return decode_webp(bytes, size);
  case image_format::tiff: return decode_tiff(bytes, size);
  }
  return refuse("has an unknown format");
}

} // namespace

expected<decoded_image> decode_image(std::string_view bytes, const decode_limits& limits) {
  const auto size = read_image_header(bytes);
  if (!size)
    return tl::unexpected(size.error());
  const auto what = std::string{to_string(size->format)} + " of "
                    + dimensions(size->width, size->height);
  if (size->pixels() > limits.max_pixels)
    return fail(errc::image_too_large, what + " has " + std::to_string(size->pixels())
                                         + " pixels, at most " + std::to_string(limits.max_pixels)
                                         + " are allowed (jobs.max_pixels)");
  const auto peak = decode_peak_bytes(*size);
  if (limits.max_peak_bytes > 0 && peak > limits.max_peak_bytes)
    return fail(errc::image_too_large, what + " takes up to " + mebibytes(peak)
                                         + " to decode, a worker has "
                                         + mebibytes(limits.max_peak_bytes) + " for it");
  try {
    auto pixels = decode(bytes, *size);
    if (!pixels)
      return fail(pixels.error().code, what + " " + pixels.error().message);
    return decoded_image{std::move(*pixels), read_orientation(bytes)};
  } catch (const std::bad_alloc&) {
    return fail(errc::inference_failed, what + ": the worker has no memory left to decode it");
  } catch (const std::exception& e) {
    return fail(errc::undecodable_image, what + ": " + e.what());
  }
}

pixel_grid upright(const decoded_image& image) {
  const auto o = image.orientation;
  cv::Mat result;
  if (o >= 5)
    cv::transpose(image.pixels.mat(), result);
  else
    result = image.pixels.mat().clone();
  // Orientations 2, 3, 6 and 7 reverse a stored axis of the upright image's columns; 3, 4, 7 and 8
  // one of its rows.
  const bool across = o == 2 || o == 3 || o == 6 || o == 7;
  const bool down = o == 3 || o == 4 || o == 7 || o == 8;
  if (across || down)
    cv::flip(result, result, across && down ? -1 : across ? 1 : 0);
  return pixel_grid{std::move(result)};
}

} // namespace ziyu::model
