#include "model/orientation.hpp"

#include "base/file.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include <zlib.h>

using namespace ziyu;
using namespace ziyu::model;

// Every place where an orientation may stand is in tests/data/layouts (layouts_test.cpp).

namespace {

std::string content(const std::string& name) {
  auto result = read_file(std::filesystem::path{test::source_dir()} / "tests/data" / name);
  EXPECT_TRUE(result) << name;
  return result.value_or("");
}

std::string big_endian(uint32_t value) {
  std::string result;
  for (int shift = 24; shift >= 0; shift -= 8)
    result += static_cast<char>(value >> shift & 0xff);
  return result;
}

/// A compressed text that may hold an orientation.
std::string xmp_chunk(const std::string& text) {
  std::string packed(compressBound(text.size()), '\0');
  auto size = static_cast<uLongf>(packed.size());
  compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
            reinterpret_cast<const Bytef*>(text.data()), text.size(), 9);
  const std::string body = std::string{"iTXtXML:com.adobe.xmp\0\1\0\0\0", 26}
                           + packed.substr(0, size);
  const auto checksum = crc32(0, reinterpret_cast<const Bytef*>(body.data()),
                              static_cast<uInt>(body.size()));
  return big_endian(static_cast<uint32_t>(body.size() - 4)) + body
         + big_endian(static_cast<uint32_t>(checksum));
}

} // namespace

TEST(Orientation, IsReadFromEachFormatThatCarriesIt) {
  for (uint32_t value = 1; value <= 8; ++value)
    EXPECT_EQ(read_orientation(content("images/exif_" + std::to_string(value) + ".jpg")), value);
  EXPECT_EQ(read_orientation(content("images/exif_rotated.jpg")), 6u);
  EXPECT_EQ(read_orientation(content("images/exif_rotated.png")), 6u);
  EXPECT_EQ(read_orientation(content("images/exif_rotated.webp")), 6u);
}

TEST(Orientation, IsUprightWhereNothingIsSaid) {
  for (const char* name : {"images/rgb.jpg", "images/rgb.png", "images/rgb.webp", "images/rgb.bmp",
                           "images/rgb.tiff", "bad/not_an_image", "bad/empty"})
    EXPECT_EQ(read_orientation(content(name)), 1u) << name;
}

// Small texts that inflate to much: only so many of them are looked at.
TEST(Orientation, InflatesOnlySoMuchOfTheTextsOfAPng) {
  const auto image = content("images/rgb.png");
  const auto head = image.substr(0, 33), rest = image.substr(33); // behind IHDR
  const auto large = xmp_chunk(std::string(size_t{1} << 20, ' '));
  const auto last = xmp_chunk("tiff:Orientation=\"6\"");
  std::string some, many;
  for (int i = 0; i < 60; ++i)
    some += large;
  for (int i = 0; i < 300; ++i)
    many += large;
  EXPECT_EQ(read_orientation(head + some + last + rest), 6u);
  EXPECT_EQ(read_orientation(head + many + last + rest), 1u);
}
