#include "model/decoder.hpp"

#include "model/formats/decode.hpp"
#include "model/formats/header.hpp"
#include "model/orientation.hpp"

#include <opencv2/core.hpp>

#include <exception>
#include <new>
#include <string>
#include <utility>

namespace ziyu::model {
namespace {

/// Rounded up: "301 MiB".
std::string mebibytes(uint64_t bytes) {
  return std::to_string((bytes >> 20) + ((bytes & 0xfffff) != 0 ? 1 : 0)) + " MiB";
}

expected<pixel_grid> decode(std::string_view bytes, const image_size& size) {
  switch (size.format) {
  case image_format::jpeg: break;
  case image_format::png: return decode_png(bytes, size);
  case image_format::bmp: return decode_bmp(bytes, size);
  case image_format::webp: return decode_webp(bytes, size);
  case image_format::tiff: return decode_tiff(bytes, size);
  }
  return refuse("has an unknown format");
}

/// What is read of a JPEG to make the model's input.
std::optional<jpeg_wish> wish_for(const decode_purpose& purpose, const image_size& size,
                                  uint32_t orientation) {
  if (purpose.input == nullptr)
    return std::nullopt;
  const auto turned = orientation >= 5;
  const auto width = turned ? size.height : size.width, height = turned ? size.width : size.height;
  const auto where = place(width, height, *purpose.input);
  jpeg_wish result;
  for (const uint32_t divisor : {2u, 4u})
    if (purpose.how == decoding::reduced && width >= divisor * where.full_width
        && height >= divisor * where.full_height)
      result.divisor = divisor;
  const auto divided = [&](uint32_t edge) { return (edge + result.divisor - 1) / result.divisor; };
  result.region = read_by_resample(divided(size.width), divided(size.height), orientation,
                                   resample_window{where}, purpose.input->filter);
  return result;
}

} // namespace

std::string_view to_string(decoding x) noexcept {
  return x == decoding::exact ? "exact" : "reduced";
}

expected<decoded_image> decode_image(std::string_view bytes, const decode_limits& limits,
                                     const decode_purpose& purpose) {
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
    const auto orientation = read_orientation(bytes);
    auto image = size->format == image_format::jpeg
                   ? decode_jpeg(bytes, *size, wish_for(purpose, *size, orientation))
                   : decode(bytes, *size).map([](pixel_grid x) {
                       return decoded_image{std::move(x)};
                     });
    if (!image)
      return fail(image.error().code, what + " " + image.error().message);
    image->orientation = orientation;
    return image;
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
