#include "model/image_header.hpp"

#include "model/formats/header.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace ziyu::model {
namespace {

using namespace std::string_view_literals;

std::optional<image_format> format_of(std::string_view bytes) {
  if (bytes.starts_with("\xff\xd8\xff"sv))
    return image_format::jpeg;
  if (bytes.starts_with(png_signature))
    return image_format::png;
  if (bytes.size() >= 16 && bytes.starts_with("RIFF"sv) && bytes.substr(8, 4) == "WEBP"sv)
    return image_format::webp;
  if (bytes.starts_with("II*\0"sv) || bytes.starts_with("MM\0*"sv) || bytes.starts_with("II+\0"sv)
      || bytes.starts_with("MM\0+"sv))
    return image_format::tiff;
  if (bytes.starts_with("BM"sv))
    return image_format::bmp;
  return std::nullopt;
}

expected<image_size> read_header(image_format format, std::string_view bytes) {
  switch (format) {
  case image_format::jpeg: return read_jpeg_header(bytes);
  case image_format::png: return read_png_header(bytes);
  case image_format::bmp: return read_bmp_header(bytes);
  case image_format::webp: return read_webp_header(bytes);
  case image_format::tiff: return read_tiff_header(bytes);
  }
  return refuse("an unknown format");
}

/// The signatures of other formats that people send.
std::string_view other_format(std::string_view bytes) {
  constexpr std::pair<std::string_view, std::string_view> starts[] = {
    {"GIF8"sv, "GIF"sv},
    {"\0\0\0\x0cjP  "sv, "JPEG 2000"sv},
    {"\xff\x4f\xff\x51"sv, "JPEG 2000"sv},
    {"\xff\x0a"sv, "JPEG XL"sv},
    {"\0\0\0\x0cJXL "sv, "JPEG XL"sv},
    {"%PDF"sv, "PDF"sv},
    {"8BPS"sv, "Photoshop (PSD)"sv},
    {"\0\0\1\0"sv, "ICO"sv},
    {"<svg"sv, "SVG"sv},
    {"P1"sv, "PBM"sv},
    {"P2"sv, "PGM"sv},
    {"P3"sv, "PPM"sv},
    {"P4"sv, "PBM"sv},
    {"P5"sv, "PGM"sv},
    {"P6"sv, "PPM"sv},
    {"P7\n"sv, "PAM"sv},
    {"Pf"sv, "PFM"sv},
    {"PF"sv, "PFM"sv},
    {"II\xbc"sv, "JPEG XR"sv},
    {"IIU\0"sv, "Panasonic raw (RW2)"sv},
    {"FUJIFILMCCD-RAW"sv, "Fujifilm raw (RAF)"sv},
    {"\x8aMNG"sv, "MNG"sv},
    {"\x8bJNG"sv, "JNG"sv},
    {"\0\0\2\0\0\0"sv, "TGA"sv},
    {"\0\0\2\0"sv, "cursor (CUR)"sv},
    {"icns"sv, "ICNS"sv},
    {"DDS "sv, "DDS"sv},
    {"qoif"sv, "QOI"sv},
    {"\x01\xda"sv, "SGI"sv},
    {"\x76\x2f\x31\x01"sv, "OpenEXR"sv},
    {"#?RADIANCE"sv, "Radiance HDR"sv},
    {"SIMPLE  ="sv, "FITS"sv},
    {"gimp xcf"sv, "GIMP (XCF)"sv},
    {"\xd7\xcd\xc6\x9a"sv, "WMF"sv},
    {"%!PS"sv, "PostScript"sv},
    {"\x1a\x45\xdf\xa3"sv, "Matroska or WebM video"sv},
    {"<?xml"sv, "XML"sv},
    {"<!DOCTYPE html"sv, "a web page"sv},
    {"<!doctype html"sv, "a web page"sv},
    {"<html"sv, "a web page"sv},
    {"\x1f\x8b"sv, "gzip"sv},
    {"PK\3\4"sv, "ZIP"sv},
    {"7z\xbc\xaf"sv, "7-Zip"sv},
  };
  for (const auto& [start, name] : starts)
    if (bytes.starts_with(start))
      return name;
  if (bytes.size() >= 12 && bytes.substr(4, 4) == "ftyp"sv) {
    const auto brand = bytes.substr(8, 4);
    if (brand == "avif"sv || brand == "avis"sv)
      return "AVIF";
    if (brand == "crx "sv)
      return "Canon raw (CR3)";
    if (brand == "jp2 "sv || brand == "jpx "sv)
      return "JPEG 2000";
    constexpr std::string_view heif[] = {"heic"sv, "heix"sv, "heim"sv, "heis"sv, "hevc"sv,
                                         "hevx"sv, "hevm"sv, "hevs"sv, "mif1"sv, "msf1"sv};
    if (std::find(std::begin(heif), std::end(heif), brand) != std::end(heif))
      return "HEIF";
    return "MP4 or QuickTime video";
  }
  if (bytes.size() >= 132 && bytes.substr(128, 4) == "DICM"sv)
    return "DICOM";
  if (bytes.starts_with("RIFF"sv))
    return "RIFF, but not of a WebP";
  return {};
}

constexpr uint64_t fixed = uint64_t{1} << 20;

/// Memory of a bicubic resampler: weights for each stored column and row, and its rows.
constexpr uint64_t resample_bytes(uint64_t width, uint64_t height) { return 40 * (width + height); }

} // namespace

std::string_view to_string(image_format format) noexcept {
  switch (format) {
  case image_format::jpeg: return "JPEG";
  case image_format::png: return "PNG";
  case image_format::bmp: return "BMP";
  case image_format::webp: return "WebP";
  case image_format::tiff: return "TIFF";
  }
  return "?";
}

expected<image_size> read_image_header(std::string_view bytes) {
  if (bytes.empty())
    return fail(errc::empty_image, "the image has no bytes");
  const auto format = format_of(bytes);
  if (!format) {
    const auto other = other_format(bytes);
    return refuse("not a JPEG, PNG, BMP, WebP or TIFF image ("
                  + (other.empty() ? "" : std::string{other} + ", ") + std::to_string(bytes.size())
                  + " bytes)");
  }
  auto result = read_header(*format, bytes);
  if (result && (result->width == 0 || result->height == 0))
    return refuse(std::string{to_string(*format)} + " of "
                  + dimensions(result->width, result->height) + " pixels");
  return result;
}

std::optional<image_size> read_image_size(std::string_view bytes) noexcept {
  const auto result = read_image_header(bytes);
  return result ? std::optional{*result} : std::nullopt;
}

uint64_t decode_peak_bytes(const image_size& size) noexcept {
  constexpr auto most = std::numeric_limits<uint64_t>::max() / 8;
  if (size.pixels() > most || size.work_bytes > most)
    return std::numeric_limits<uint64_t>::max();
  return size.decoded_bytes() + fixed
         + std::max(size.work_bytes, resample_bytes(size.width, size.height));
}

uint64_t least_decode_peak_bytes(uint64_t pixels) noexcept {
  // A square has the shortest rows; 8 times its edge is the edge of 64:1. A row of a baseline JPEG
  // with the usual subsampling takes 3 × 32 bytes a column in libjpeg.
  uint64_t edge = 1;
  while (edge * edge < pixels && edge < 0xffffffff)
    edge *= 2;
  return pixels * 3 + fixed + (uint64_t{1} << 20) + edge * 8 * 96;
}

} // namespace ziyu::model
