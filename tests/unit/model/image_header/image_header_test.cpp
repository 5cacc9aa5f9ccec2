#include "model/image_header.hpp"

#include "base/file.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

using namespace ziyu;
using namespace ziyu::model;
using namespace std::string_view_literals;

namespace {

const std::filesystem::path data = std::filesystem::path{test::source_dir()} / "tests/data";

std::string content(const std::string& name) {
  auto result = read_file(data / name);
  EXPECT_TRUE(result) << name;
  return result.value_or("");
}

/// Without what decoding takes.
image_size size_of(const std::string& name) {
  auto result = read_image_header(content(name));
  EXPECT_TRUE(result) << name << ": " << result.error().message;
  if (result)
    result->work_bytes = 0;
  return result.value_or(image_size{});
}

std::string reason_of(std::string_view bytes) {
  const auto result = read_image_header(bytes);
  return result ? "" : result.error().message;
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

namespace {

/// A little-endian TIFF of LONG tags, which has no pixels.
std::string tiff_of(const std::vector<std::pair<uint16_t, uint32_t>>& tags) {
  std::string result{"II*\0\x08\0\0\0", 8};
  const auto put = [&](uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i)
      result += static_cast<char>(value >> (8 * i));
  };
  put(tags.size(), 2);
  for (const auto& [tag, value] : tags) {
    put(tag, 2);
    put(4, 2);
    put(1, 4);
    put(value, 4);
  }
  put(0, 4);
  return result;
}

} // namespace

TEST(ImageHeader, RefusesATiffWhoseTileIsFarLargerThanTheImage) {
  using tags = std::vector<std::pair<uint16_t, uint32_t>>;
  tags usual{{256, 10}, {257, 10}, {258, 8}, {262, 1}, {322, 256}, {323, 256}, {324, 8}, {325, 9}};
  EXPECT_EQ(reason_of(tiff_of(usual)), "");
  usual[5] = {323, 1'000'000};
  EXPECT_EQ(reason_of(tiff_of(usual)), "TIFF with tiles of 256×1000000, larger than the image");
}

TEST(ImageHeader, RefusesATiffThatSaysAThingTwice) {
  EXPECT_EQ(
    reason_of(tiff_of(
      {{256, 30000}, {257, 30000}, {258, 8}, {262, 1}, {273, 8}, {279, 9}, {256, 10}, {257, 10}})),
    "TIFF that has tag 256 twice");
}

TEST(ImageHeader, NamesWhatItRefuses) {
  using tags = std::vector<std::pair<uint16_t, uint32_t>>;
  const tags plain{{256, 10}, {257, 10}, {258, 8}, {262, 1}, {273, 8}, {279, 9}};
  const auto with = [&](tags more) {
    auto all = plain;
    for (const auto& [tag, value] : more) {
      std::erase_if(all, [&](const auto& x) { return x.first == tag; });
      all.emplace_back(tag, value);
    }
    return reason_of(tiff_of(all));
  };
  EXPECT_EQ(with({}), "");
  EXPECT_EQ(with({{258, 32}, {339, 3}}), "TIFF with 32-bit float samples");
  EXPECT_EQ(with({{258, 16}, {339, 2}}), "TIFF with 16-bit signed samples");
  EXPECT_EQ(with({{258, 12}}), "TIFF with 12-bit samples");
  EXPECT_EQ(with({{259, 50000}}), "TIFF with ZSTD compression");
  EXPECT_EQ(with({{262, 8}}), "TIFF with CIE L*a*b* colours");
  EXPECT_EQ(with({{257, 0}}), "TIFF of 10×0 pixels");
  EXPECT_EQ(with({{273, 8}, {278, 2}}), "TIFF that is truncated: it names 1 of 5 strips");
  auto jpeg = content("images/rgb.jpg");
  const auto frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg[frame + 1] = '\xc3';
  EXPECT_EQ(reason_of(jpeg), "JPEG with lossless coding (SOF3)");
  jpeg[frame + 1] = '\xc1';
  jpeg[frame + 4] = 12;
  EXPECT_EQ(reason_of(jpeg), "JPEG with 12-bit samples");
  auto bmp = content("images/rgb.bmp");
  bmp[28] = 2;
  EXPECT_EQ(reason_of(bmp), "BMP with 2 bits a pixel");
  bmp[14] = 66;
  EXPECT_EQ(reason_of(bmp), "BMP with a header of 66 bytes");
  EXPECT_EQ(reason_of(content("bad/animation.gif")).substr(0, 46),
            "not a JPEG, PNG, BMP, WebP or TIFF image (GIF,");
}

TEST(ImageHeader, NamesOtherFormatsThatPeopleSend) {
  const std::pair<std::string_view, std::string_view> starts[] = {
    {"P3\n1 1\n", "PPM"},
    {"P7\nWIDTH 1", "PAM"},
    {"II\xbc\1"sv, "JPEG XR"},
    {"DDS |", "DDS"},
    {"qoif", "QOI"},
    {"\x01\xda\0\1"sv, "SGI"},
    {"\0\0\2\0\0\0\0\0"sv, "TGA"},
    {"\0\0\2\0\1\0\x20"sv, "cursor (CUR)"},
    {"<?xml version='1.0'?><svg/>", "XML"},
    {"<!DOCTYPE html>", "a web page"},
    {"\x1f\x8b\x08"sv, "gzip"},
    {"\0\0\0\x18"
     "ftyphevx\0\0\0\0"sv,
     "HEIF"},
    {"\0\0\0\x18"
     "ftypcrx \0\0\0\0"sv,
     "Canon raw (CR3)"},
    {"\0\0\0\x18"
     "ftypisom\0\0\0\0"sv,
     "MP4 or QuickTime video"},
    {"RIFF\x24\0\0\0WAVEfmt "sv, "RIFF, but not of a WebP"},
  };
  for (const auto& [bytes, name] : starts)
    EXPECT_EQ(reason_of(bytes), "not a JPEG, PNG, BMP, WebP or TIFF image (" + std::string{name}
                                  + ", " + std::to_string(bytes.size()) + " bytes)");
}

TEST(ImageHeader, SaysWhatDecodingTakes) {
  const auto peak = [](std::string_view bytes) {
    return decode_peak_bytes(read_image_header(bytes).value());
  };
  const auto sized = [](std::string jpeg, uint8_t marker) {
    // 10 000 × 10 000
    for (size_t at = 2; at + 9 < jpeg.size(); ++at)
      if (jpeg[at] == '\xff' && static_cast<uint8_t>(jpeg[at + 1]) == marker) {
        jpeg.replace(at + 5, 4, "\x27\x10\x27\x10");
        return jpeg;
      }
    return std::string{};
  };
  const auto pixels = uint64_t{100'000'000};
  const auto baseline = peak(sized(content("images/rgb.jpg"), 0xc0));
  EXPECT_GE(baseline, 3 * pixels);
  EXPECT_LE(baseline, least_decode_peak_bytes(pixels));
  EXPECT_LE(least_decode_peak_bytes(pixels), 3 * pixels + (16u << 20));
  // All coefficients of a progressive JPEG stay until its last scan.
  const auto progressive = peak(sized(content("images/progressive.jpg"), 0xc2));
  EXPECT_GE(progressive, 6 * pixels);
  EXPECT_LE(progressive, 9 * pixels + (16u << 20));
  EXPECT_EQ(decode_peak_bytes({image_format::bmp, 0xffffffff, 0xffffffff, 3, 1}),
            std::numeric_limits<uint64_t>::max());
}

namespace {

/// Of each format and layout.
std::vector<std::string> all_files() {
  std::vector<std::string> result;
  for (const std::string folder : {"images", "layouts"})
    for (const auto& file : std::filesystem::directory_iterator(data / folder))
      if (file.path().extension() != ".json")
        result.push_back(folder + "/" + file.path().filename().string());
  std::sort(result.begin(), result.end());
  return result;
}

} // namespace

// AddressSanitizer makes a read outside of the bytes fail; so the bytes are an
// allocation of exactly their size.
TEST(ImageHeader, StaysWithinAnyBytes) {
  std::mt19937 random{7};
  size_t sizes = 0;
  for (const auto& file : all_files()) {
    const auto whole = content(file);
    for (int round = 0; round < 400; ++round) {
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
    }
  }
  EXPECT_GT(sizes, 10'000u); // the changes left most headers readable
}
