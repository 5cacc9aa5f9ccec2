#include "model/decoder.hpp"
#include "model/image_header.hpp"
#include "model/resample.hpp"

#include "base/file.hpp"
#include "support/peak.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include <zlib.h>

using namespace ziyu;
using namespace ziyu::model;
using ziyu::test::in_child;

// tests/data/peaks: images of 2,400 × 1,800 pixels, made by tools/make_layouts.py.

namespace {

/// What the allocator and the libraries' own tables add.
constexpr uint64_t slack = uint64_t{3} << 20;

/// A BMP of one colour, which would be large as a file.
std::string bmp(uint32_t width, uint32_t height) {
  std::string result{"BM"};
  const auto put = [&](uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i)
      result += static_cast<char>(value >> (8 * i));
  };
  for (const uint32_t x : {0u, 0u, 54u, 40u, width, height})
    put(x, 4);
  put(1, 2);
  put(24, 2);
  for (int i = 0; i < 6; ++i)
    put(0, 4);
  return result + std::string(size_t{(width * 3 + 3) / 4 * 4} * height, 'x');
}

void expect_bounded(const std::string& name, const std::string& bytes) {
  const auto size = read_image_header(bytes);
  ASSERT_TRUE(size) << name;
  const auto bound = decode_peak_bytes(*size);
  const auto taken = in_child([&] {
    const auto image = decode_image(bytes, {.max_peak_bytes = bound});
    if (!image)
      return false;
    resample(*image, true, {256, 256, 16, 16, 224, 224}, preprocessing::interpolation::bicubic);
    return true;
  });
  EXPECT_TRUE(taken.succeeded) << name;
  EXPECT_LE(taken.peak_bytes, bound + slack) << name;
  if (taken.peak_bytes == 0)
    return; // under AddressSanitizer
  // An upper bound that is far too high refuses good images.
  EXPECT_GE(taken.peak_bytes + slack, size->decoded_bytes()) << name;
  EXPECT_GE((taken.peak_bytes + slack) * 3, bound) << name;
}

} // namespace

TEST(Peak, OfEachKindOfImageIsWhatItsHeaderTells) {
  size_t seen = 0;
  for (const auto& file : std::filesystem::directory_iterator(
         std::filesystem::path{test::source_dir()} / "tests/data/peaks")) {
    expect_bounded(file.path().filename().string(), read_file(file.path()).value());
    ++seen;
  }
  EXPECT_GE(seen, 17u);
  expect_bounded("24 bits, BMP", bmp(2400, 1800));
  expect_bounded("a line, BMP", bmp(2'000'000, 1));
  expect_bounded("a column, BMP", bmp(1, 1'000'000));
}

namespace {

void expect_costs_no_more(const std::string& image) {
  const auto bound = decode_peak_bytes(read_image_header(image).value());
  const auto taken = in_child(
    [&] { return decode_image(image, {.max_peak_bytes = bound}).has_value(); });
  EXPECT_TRUE(taken.succeeded);
  EXPECT_LE(taken.peak_bytes, bound + slack);
}

} // namespace

// Metadata are read where they are, not copied.
TEST(Peak, IsNotRaisedByMetadata) {
  const auto plain =
    read_file(std::filesystem::path{test::source_dir()} / "tests/data/images/rgb.jpg").value();
  const std::string part = "Exif" + std::string(2, '\0') + std::string(65000, 'x');
  const auto length = part.size() + 2;
  const auto segment = std::string{"\xff\xe1"} + static_cast<char>(length >> 8)
                       + static_cast<char>(length & 0xff) + part;
  auto jpeg = plain.substr(0, 2);
  for (int i = 0; i < 1000; ++i)
    jpeg += segment;
  jpeg += plain.substr(2);
  expect_costs_no_more(jpeg);
}

TEST(Peak, IsNotRaisedByAProfileInHexadecimal) {
  const auto plain =
    read_file(std::filesystem::path{test::source_dir()} / "tests/data/images/rgb.png").value();
  const auto text = "Raw profile type exif" + std::string(1, '\0') + "\nexif\n1\n"
                    + std::string(size_t{60} << 20, '0');
  std::string chunk;
  for (int shift = 24; shift >= 0; shift -= 8)
    chunk += static_cast<char>(text.size() >> shift & 0xff);
  chunk += "tEXt" + text + "sum!"; // behind the pixels nobody looks at checksums
  expect_costs_no_more(plain.substr(0, plain.size() - 12) + chunk);
}

namespace {

std::string big_endian(uint32_t value) {
  std::string result;
  for (int shift = 24; shift >= 0; shift -= 8)
    result += static_cast<char>(value >> shift & 0xff);
  return result;
}

std::string deflated(const std::string& content) {
  std::string result(compressBound(content.size()), '\0');
  auto size = static_cast<uLongf>(result.size());
  compress2(reinterpret_cast<Bytef*>(result.data()), &size,
            reinterpret_cast<const Bytef*>(content.data()), content.size(), 9);
  result.resize(size);
  return result;
}

std::string png_chunk(const std::string& type, const std::string& body) {
  const auto content = type + body;
  const auto checksum = crc32(0, reinterpret_cast<const Bytef*>(content.data()),
                              static_cast<uInt>(content.size()));
  return big_endian(static_cast<uint32_t>(body.size())) + content
         + big_endian(static_cast<uint32_t>(checksum));
}

/// A PNG of one pixel with these chunks before and behind it.
std::string png_of_one_pixel(const std::string& before, const std::string& behind = {}) {
  const auto header = big_endian(1) + big_endian(1) + std::string{"\x08\x02\0\0\0", 5};
  return "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) + before
         + png_chunk("IDAT", deflated({"\0abc", 4})) + behind + png_chunk("IEND", "");
}

std::string repeated(const std::string& x, int times) {
  std::string result;
  for (int i = 0; i < times; ++i)
    result += x;
  return result;
}

const std::string zero{"\0", 1};

} // namespace

// 7.6 MB that would inflate to 7.9 GB. libpng inflates and keeps each text.
TEST(Peak, IsNotRaisedByAThousandTextsThatInflateToMuch) {
  const auto packed = deflated(std::string(7'900'000, 'A'));
  const auto texts = [&](const std::string& key) {
    return repeated(png_chunk("zTXt", key + zero + zero + packed), 1000);
  };
  expect_costs_no_more(png_of_one_pixel(texts("Comment")));
  expect_costs_no_more(png_of_one_pixel("", texts("Comment")));
  // Texts of this key may tell how the image is turned.
  expect_costs_no_more(png_of_one_pixel(texts("Raw profile type exif")));
}

TEST(Peak, IsNotRaisedByTextsInUnicodeAndAColourProfileThatInflateToMuch) {
  const auto packed = deflated(std::string(7'900'000, 'A'));
  const auto texts = [&](const std::string& key) {
    return repeated(png_chunk("iTXt", key + std::string{"\0\1\0\0\0", 5} + packed), 1000);
  };
  const auto profile = png_chunk("iCCP",
                                 "p" + zero + zero + deflated(std::string(200'000'000, '\0')));
  expect_costs_no_more(png_of_one_pixel(profile + texts("Comment")));
  expect_costs_no_more(png_of_one_pixel(profile + texts("XML:com.adobe.xmp")));
}
