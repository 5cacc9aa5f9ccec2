#pragma once

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

// In this order: jpeglib.h needs FILE.
#include <cstdio>

#include <jpeglib.h>

namespace ziyu::test {

/// A JPEG by libjpeg.
/// @param components 1: grey, 3: RGB, 4: CMYK.
/// @param configure Changes libjpeg's defaults.
/// @param fill Writes the bytes of row `y`.
inline std::string encoded_jpeg(
  uint32_t width, uint32_t height, int components, int quality,
  const std::function<void(jpeg_compress_struct&)>& configure,
  const std::function<void(uint32_t y, std::vector<uint8_t>& row)>& fill) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = width;
  info.image_height = height;
  info.input_components = components;
  info.in_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  configure(info);
  jpeg_start_compress(&info, TRUE);
  std::vector<uint8_t> row(size_t{width} * static_cast<size_t>(components));
  for (uint32_t y = 0; y < height; ++y) {
    fill(y, row);
    auto* line = row.data();
    jpeg_write_scanlines(&info, &line, 1);
  }
  jpeg_finish_compress(&info);
  std::string result(reinterpret_cast<const char*>(bytes), size);
  jpeg_destroy_compress(&info);
  std::free(bytes);
  return result;
}

} // namespace ziyu::test
