#include "model/decoder.hpp"

#include "model/image_header.hpp"
#include "model/orientation.hpp"

#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>

#include <exception>
#include <string>

namespace ziyu::model {
namespace {

/// Turns stored pixels upright, as `PIL.ImageOps.exif_transpose` does.
cv::Mat upright(cv::Mat image, uint32_t orientation) {
  if (orientation >= 5) {
    cv::Mat transposed;
    cv::transpose(image, transposed);
    image = transposed;
  }
  switch (orientation) {
  case 2: // mirrored
  case 6: // to be turned clockwise
    cv::flip(image, image, 1);
    break;
  case 3: // upside down
  case 7: // transversed
    cv::flip(image, image, -1);
    break;
  case 4: // mirrored top to bottom
  case 8: // to be turned counterclockwise
    cv::flip(image, image, 0);
    break;
  }
  return image;
}

std::string dimensions(const image_size& size) {
  return std::to_string(size.width) + "×" + std::to_string(size.height);
}

/// Rounded up: "301 MiB".
std::string mebibytes(uint64_t bytes) {
  return std::to_string((bytes >> 20) + ((bytes & 0xfffff) != 0 ? 1 : 0)) + " MiB";
}

} // namespace

expected<decoded_image> decode_image(std::string_view bytes, const decode_limits& limits) {
  const auto size = read_image_header(bytes);
  if (!size)
    return tl::unexpected(size.error());
  const std::string what{to_string(size->format)};
  if (size->pixels() > limits.max_pixels)
    return fail(errc::image_too_large, what + " of " + dimensions(*size) + " has "
                                         + std::to_string(size->pixels()) + " pixels, at most "
                                         + std::to_string(limits.max_pixels)
                                         + " are allowed (jobs.max_pixels)");
  const auto peak = decode_peak_bytes(*size);
  if (limits.max_peak_bytes > 0 && peak > limits.max_peak_bytes)
    return fail(errc::image_too_large, what + " of " + dimensions(*size) + " takes up to "
                                         + mebibytes(peak) + " to decode, a worker has "
                                         + mebibytes(limits.max_peak_bytes) + " for it");
  if (bytes.size() > 0x7fffffff) // OpenCV counts bytes in an int
    return fail(errc::image_too_large, what + " of " + std::to_string(bytes.size()) + " bytes");
  if (!is_image_complete(bytes))
    return fail(errc::undecodable_image, what + " of " + dimensions(*size) + " is truncated");
  try {
    // imdecode only reads; cv::Mat has no const view.
    const cv::Mat encoded(1, static_cast<int>(bytes.size()), CV_8UC1,
                          const_cast<char*>(bytes.data()));
    auto pixels = cv::imdecode(encoded, cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION);
    if (pixels.empty())
      return fail(errc::undecodable_image,
                  what + " of " + dimensions(*size)
                    + " is damaged or of a kind that OpenCV cannot decode");
    if (pixels.type() != CV_8UC3 || static_cast<uint64_t>(pixels.total()) != size->pixels())
      return fail(errc::undecodable_image,
                  what + " decodes to another size than its header's " + dimensions(*size));
    return decoded_image{upright(std::move(pixels), read_orientation(bytes))};
  } catch (const std::exception& e) { // cv::Exception among them
    return fail(errc::undecodable_image, what + " of " + dimensions(*size) + ": " + e.what());
  }
}

} // namespace ziyu::model
