#pragma once

#include "model/bounded_reader.hpp"
#include "model/image_header.hpp"

#include <string>
#include <string_view>
#include <utility>

namespace ziyu::model {

// One reader per format, each in a file of its own. `bytes` begins with the format's
// signature. A width or height of 0 means that the header is not usable.

expected<image_size> read_jpeg_header(std::string_view bytes);
expected<image_size> read_png_header(std::string_view bytes);
expected<image_size> read_bmp_header(std::string_view bytes);
expected<image_size> read_webp_header(std::string_view bytes);
expected<image_size> read_tiff_header(std::string_view bytes);

/// `undecodable_image` with this reason.
inline tl::unexpected<error> refuse(std::string reason) {
  return tl::unexpected(error{errc::undecodable_image, std::move(reason)});
}

/// "40×24".
inline std::string dimensions(uint64_t width, uint64_t height) {
  return std::to_string(width) + "×" + std::to_string(height);
}

constexpr std::string_view png_signature{"\x89PNG\r\n\x1a\n", 8};

} // namespace ziyu::model
