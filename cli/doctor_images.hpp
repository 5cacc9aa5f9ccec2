#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace ziyu::cli {

/// An image to examine a model with: a file, or bytes made here.
struct doctor_image {
  std::string name;           ///< File name, or "640x480 png".
  std::filesystem::path path; ///< Read for each job, so that a folder may be large; or empty.
  std::string bytes;          ///< If `path` is empty.

  /// The encoded image; `io` when the file cannot be read or is beyond what fits a job.
  expected<std::string> read() const;
};

/// Images from 1×1 to 4000×3000, grey and coloured, PNG and BMP. Some 3 MB in all.
std::vector<doctor_image> synthetic_images();

/// The images of a folder and below, in the order of their names; `invalid_usage` when
/// there are none.
expected<std::vector<doctor_image>> images_of(const std::filesystem::path& folder);

enum class pixels : uint8_t { grey, rgb };

/// A PNG (8 bits per channel) of coloured lines; its size is a 50th of its pixels', as a
/// photograph's. @pre width and height > 0
std::string make_png(uint32_t width, uint32_t height, pixels kind);

/// An uncompressed BMP of the same picture.
std::string make_bmp(uint32_t width, uint32_t height, pixels kind);

} // namespace ziyu::cli
