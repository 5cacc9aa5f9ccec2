#include "model/codecs.hpp"

#include <cstdio>

// In this order: jpeglib.h needs FILE.
#include <jpeglib.h>
#include <opencv2/core/version.hpp>
#include <png.h>
#include <tiffio.h>
#include <webp/decode.h>
#include <zlib.h>

namespace ziyu::model {
namespace {

/// "LIBTIFF, Version 4.5.0\nCopyright …": the number.
std::string tiff_version() {
  const std::string text{TIFFGetVersion()};
  const auto from = text.find_first_of("0123456789");
  return from == std::string::npos ? text : text.substr(from, text.find('\n') - from);
}

std::string webp_version() {
  const auto x = static_cast<unsigned>(WebPGetDecoderVersion());
  return std::to_string(x >> 16) + "." + std::to_string(x >> 8 & 0xff) + "."
         + std::to_string(x & 0xff);
}

/// libjpeg-turbo reveals its version only at compile time.
std::string jpeg_version() {
#ifdef LIBJPEG_TURBO_VERSION
#define ZIYU_TEXT_OF(x) #x
#define ZIYU_TEXT(x) ZIYU_TEXT_OF(x)
  return "turbo " ZIYU_TEXT(LIBJPEG_TURBO_VERSION);
#undef ZIYU_TEXT
#undef ZIYU_TEXT_OF
#else
  return std::to_string(JPEG_LIB_VERSION);
#endif
}

} // namespace

std::vector<std::pair<std::string, std::string>> codec_versions() {
  return {{"libjpeg", jpeg_version()}, {"libpng", png_get_libpng_ver(nullptr)},
          {"libtiff", tiff_version()}, {"libwebp", webp_version()},
          {"opencv", CV_VERSION},      {"zlib", zlibVersion()}};
}

} // namespace ziyu::model
