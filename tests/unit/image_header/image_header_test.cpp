#include "model/image_header.hpp"
#include "model/orientation.hpp"

#include "base/file.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <random>
#include <string>

using namespace ziyu;
using namespace ziyu::model;

namespace {

const std::filesystem::path data = std::filesystem::path{ZIYU_SOURCE_DIR} / "tests/data";

std::string content(const std::string& name) {
  auto result = read_file(data / name);
  EXPECT_TRUE(result) << name;
  return result.value_or("");
}

image_size size_of(const std::string& name) {
  const auto result = read_image_size(content(name));
  EXPECT_TRUE(result) << name;
  return result.value_or(image_size{});
}

} // namespace

TEST(ImageHeader, GivesFormatSizeAndChannels) {
  using enum image_format;
  EXPECT_EQ(size_of("images/rgb.jpg"), (image_size{jpeg, 40, 24, 3}));
  EXPECT_EQ(size_of("images/progressive.jpg"), (image_size{jpeg, 40, 24, 3}));
  EXPECT_EQ(size_of("images/cmyk.jpg"), (image_size{jpeg, 40, 24, 4}));
  EXPECT_EQ(size_of("images/grey.jpg"), (image_size{jpeg, 40, 24, 1}));
  EXPECT_EQ(size_of("images/rgb.png"), (image_size{png, 40, 24, 3}));
  EXPECT_EQ(size_of("images/alpha.png"), (image_size{png, 40, 24, 4}));
  EXPECT_EQ(size_of("images/palette.png"), (image_size{png, 40, 24, 1}));
  EXPECT_EQ(size_of("images/1x1.png"), (image_size{png, 1, 1, 3}));
  EXPECT_EQ(size_of("images/rgb.webp"), (image_size{webp, 40, 24, 3}));
  EXPECT_EQ(size_of("images/lossless.webp"), (image_size{webp, 40, 24, 3}));
  EXPECT_EQ(size_of("images/alpha.webp"), (image_size{webp, 40, 24, 4}));
  EXPECT_EQ(size_of("images/exif_rotated.webp"), (image_size{webp, 40, 24, 3}));
  EXPECT_EQ(size_of("images/rgb.bmp"), (image_size{bmp, 40, 24, 3}));
  EXPECT_EQ(size_of("images/grey.bmp"), (image_size{bmp, 40, 24, 1}));
  EXPECT_EQ(size_of("images/rgb.tiff"), (image_size{tiff, 40, 24, 3}));
}

TEST(ImageHeader, GivesTheSizeOfAnImageThatNobodyShouldDecode) {
  const auto size = size_of("bad/huge_header.png");
  EXPECT_EQ(size.pixels(), 400'000'000u);
  EXPECT_EQ(size.decoded_bytes(), 1'200'000'000u);
  EXPECT_EQ(size_of("bad/huge_header.bmp"),
            (image_size{image_format::bmp, 20000, 20000, 3})); // stored top row first
}

TEST(ImageHeader, RefusesWhatIsNoImage) {
  EXPECT_FALSE(read_image_size(""));
  EXPECT_FALSE(read_image_size(content("bad/not_an_image")));
  EXPECT_FALSE(read_image_size(content("bad/only_a_signature.png")));
  EXPECT_FALSE(read_image_size(content("bad/animation.gif")));
}

TEST(ImageHeader, RefusesAnEmptySize) {
  auto png = content("images/rgb.png");
  png.replace(16, 4, std::string(4, '\0'));
  EXPECT_FALSE(read_image_size(png));
}

TEST(ImageHeader, RefusesATiffWhoseTileIsFarLargerThanTheImage) {
  std::string tiff{"II*\0\x08\0\0\0\x04\0", 10};
  const auto entry = [&](uint16_t tag, uint32_t value) {
    tiff += {static_cast<char>(tag & 0xff), static_cast<char>(tag >> 8), 4, 0, 1, 0, 0, 0};
    for (int i = 0; i < 4; ++i)
      tiff += static_cast<char>(value >> (8 * i));
  };
  entry(256, 10);
  entry(257, 10);
  entry(322, 256);
  entry(323, 256);
  ASSERT_TRUE(read_image_size(tiff));
  tiff.resize(tiff.size() - 12);
  entry(323, 1'000'000);
  EXPECT_FALSE(read_image_size(tiff));
}

TEST(ImageHeader, TellsCutOffFilesFromWholeOnes) {
  for (const char* name : {"rgb.jpg", "progressive.jpg", "exif_1.jpg", "1x1.jpg", "rgb.png",
                           "alpha.png", "rgb.webp", "lossless.webp", "rgb.bmp", "rgb.tiff"})
    EXPECT_TRUE(is_image_complete(content(std::string{"images/"} + name))) << name;
  for (const char* name :
       {"truncated.jpg", "truncated_by_its_end_marker.jpg", "truncated_progressive.jpg",
        "truncated.png", "truncated.webp", "truncated.bmp"})
    EXPECT_FALSE(is_image_complete(content(std::string{"bad/"} + name))) << name;
}

TEST(ImageHeader, EachProperPrefixOfAFileIsCutOff) {
  for (const char* name : {"images/rgb.jpg", "images/progressive.jpg", "images/rgb.png",
                           "images/rgb.webp", "images/rgb.bmp"}) {
    const auto whole = content(name);
    for (size_t size = 20; size < whole.size(); ++size)
      ASSERT_FALSE(is_image_complete(std::string_view{whole}.substr(0, size)))
        << name << " cut to " << size;
  }
}

TEST(ImageHeader, IgnoresWhatFollowsTheEnd) {
  EXPECT_TRUE(is_image_complete(content("images/rgb.jpg") + "trailing"));
  EXPECT_TRUE(is_image_complete(content("images/rgb.png") + "trailing"));
}

// AddressSanitizer makes a read outside of the bytes fail; so the bytes are an
// allocation of exactly their size.
TEST(ImageHeader, StaysWithinAnyBytes) {
  std::mt19937 random{7};
  size_t sizes = 0;
  for (const auto& file : std::filesystem::directory_iterator(data / "images")) {
    if (file.path().extension() == ".json")
      continue;
    const auto whole = content("images/" + file.path().filename().string());
    for (int round = 0; round < 2000; ++round) {
      auto length = round % 2 == 0 ? whole.size() : random() % (whole.size() + 1);
      std::unique_ptr<char[]> bytes{new char[length]};
      std::copy_n(whole.data(), length, bytes.get());
      for (auto changes = random() % 4; changes > 0 && length > 0; --changes) {
        // Most of the structure is at the start.
        const auto at = random() % (random() % 2 == 0 ? length : std::min<size_t>(length, 64));
        constexpr unsigned char extremes[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
        bytes[at] = static_cast<char>(random() % 2 == 0 ? extremes[random() % 5] : random());
      }
      const std::string_view view{bytes.get(), length};
      if (const auto size = read_image_size(view)) {
        ++sizes;
        ASSERT_GT(size->width, 0u);
        ASSERT_GT(size->height, 0u);
      }
      const auto orientation = read_orientation(view);
      ASSERT_GE(orientation, 1u);
      ASSERT_LE(orientation, 8u);
      is_image_complete(view);
    }
  }
  EXPECT_GT(sizes, 10'000u); // the changes left most headers readable
}

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
