#include "model/decoder.hpp"

#include "base/file.hpp"
#include "model/image_header.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <string>

using namespace ziyu;
using namespace ziyu::model;

namespace {

const std::filesystem::path data = std::filesystem::path{test::source_dir()} / "tests/data";

std::string content(const std::filesystem::path& name) {
  auto result = read_file(data / name);
  EXPECT_TRUE(result) << name;
  return result.value_or("");
}

nlohmann::json expectations(const std::string& folder) {
  return nlohmann::json::parse(content(folder + "/expected.json"));
}

errc error_of(std::string_view bytes, const decode_limits& limits = {}) {
  const auto result = decode_image(bytes, limits);
  EXPECT_FALSE(result);
  return result ? errc::io : result.error().code;
}

} // namespace

TEST(Decoder, SeesWhatPillowSees) {
  const auto table = expectations("images");
  ASSERT_GE(table.size(), 30u);
  for (const auto& [name, want] : table.items()) {
    const auto image = decode_image(content("images/" + name));
    ASSERT_TRUE(image) << name << ": " << image.error().describe();
    ASSERT_EQ(image->pixels.channels(), 3u) << name;
    const auto pixels = upright(*image);
    ASSERT_EQ(image->width(), want["width"]) << name;
    ASSERT_EQ(image->height(), want["height"]) << name;
    for (const auto& pixel : want["pixels"]) {
      const uint32_t x = pixel[0], y = pixel[1];
      const auto* rgb = pixels.row(y) + 3 * x;
      for (int channel = 0; channel < 3; ++channel) {
        const int expected_value = pixel[2 + channel];
        EXPECT_NEAR(rgb[channel], expected_value, want["tolerance"].get<int>())
          << name << " at " << x << ", " << y << " channel " << channel;
      }
    }
  }
}

TEST(Decoder, RefusesEachBadImageByName) {
  const auto table = expectations("bad");
  ASSERT_GE(table.size(), 13u);
  for (const auto& [name, want] : table.items()) {
    const auto image = decode_image(content("bad/" + name));
    ASSERT_FALSE(image) << name;
    EXPECT_EQ(to_string(image.error().code), want["error"].get<std::string>())
      << name << ": " << image.error().message;
    EXPECT_FALSE(image.error().message.empty()) << name;
  }
}

TEST(Decoder, RefusesTooManyPixelsBeforeItDecodes) {
  const auto image = content("images/rgb.png"); // 40 × 24
  EXPECT_TRUE(decode_image(image, {.max_pixels = 960}));
  EXPECT_EQ(error_of(image, {.max_pixels = 959}), errc::image_too_large);
  // Pixels may be missing: only the header has been read.
  EXPECT_EQ(error_of(image.substr(0, 60), {.max_pixels = 959}), errc::image_too_large);
  EXPECT_EQ(error_of(image.substr(0, 60)), errc::undecodable_image);
}

TEST(Decoder, RefusesWhatTakesMoreThanAWorkerHas) {
  const auto image = content("images/rgb.png");
  const auto peak = decode_peak_bytes(*read_image_size(image));
  EXPECT_TRUE(decode_image(image, {.max_peak_bytes = peak}));
  const auto result = decode_image(image, {.max_peak_bytes = peak - 1});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, errc::image_too_large);
  EXPECT_EQ(result.error().message,
            "PNG of 40×24 takes up to 3 MiB to decode, a worker has 3 MiB for it");
}

TEST(Decoder, SaysHowLargeIsTooLarge) {
  const auto result = decode_image(content("bad/huge_header.png"));
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("20000×20000"), std::string::npos)
    << result.error().message;
  EXPECT_NE(result.error().message.find("jobs.max_pixels"), std::string::npos)
    << result.error().message;
}

TEST(Decoder, APrefixOfAnImageIsRefusedOrHasAllPixels) {
  for (const char* name : {"rgb.jpg", "progressive.jpg", "rgb.png", "rgb.webp", "rgb.bmp"}) {
    const auto whole = content(std::filesystem::path{"images"} / name);
    const auto pixels = decode_image(whole).value().pixels;
    size_t decoded = 0;
    for (size_t size = 0; size < whole.size(); ++size) {
      const auto image = decode_image(std::string_view{whole}.substr(0, size));
      if (!image)
        continue;
      ++decoded;
      ASSERT_TRUE(std::equal(pixels.data(), pixels.data() + pixels.size(), image->pixels.data()))
        << name << " cut to " << size;
    }
    // At most the end marker of a JPEG and the last bits before it, IEND of a PNG.
    EXPECT_LE(decoded, 14u) << name;
  }
}

TEST(Decoder, CopiesShareThePixels) {
  const auto image = decode_image(content("images/rgb.png"));
  ASSERT_TRUE(image);
  const auto copy = *image; // NOLINT(performance-unnecessary-copy-initialization): it is the matter
  EXPECT_EQ(copy.pixels.data(), image->pixels.data());
}
