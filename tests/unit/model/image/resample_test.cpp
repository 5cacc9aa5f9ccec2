#include "model/resample.hpp"

#include "base/file.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

using namespace ziyu;
using namespace ziyu::model;

// That the pixels are Pillow's is shown by tests/unit/model/preprocess_test.cpp.

namespace {

using enum preprocessing::interpolation;

decoded_image load(const std::string& name) {
  return decode_image(
           read_file(std::filesystem::path{test::source_dir()} / "tests/data/parity" / name)
             .value())
    .value();
}

decoded_image noise(uint32_t width, uint32_t height, uint32_t orientation) {
  std::mt19937 random{width * 31 + height};
  decoded_image result{pixel_grid{width, height, 3}, orientation};
  std::generate_n(result.pixels.data(), result.pixels.size(),
                  [&] { return static_cast<uint8_t>(random()); });
  return result;
}

bool same(const pixel_grid& a, const pixel_grid& b) {
  return a.width() == b.width() && a.height() == b.height() && a.channels() == b.channels()
         && std::equal(a.data(), a.data() + a.size(), b.data());
}

} // namespace

TEST(Resample, AWindowIsThatPartOfTheWhole) {
  // The tall image takes the vertical pass first.
  for (const char* name : {"wide.png", "tall.png"})
    for (const auto filter : {bilinear, bicubic}) {
      const auto image = load(name);
      const auto whole = resample(image, false, {60, 50, 0, 0, 60, 50}, filter);
      const auto part = resample(image, false, {60, 50, 11, 7, 20, 30}, filter);
      for (uint32_t y = 0; y < 30; ++y)
        EXPECT_TRUE(
          std::equal(part.row(y), part.row(y) + part.row_size(), whole.row(7 + y) + size_t{3} * 11))
          << name;
    }
}

TEST(Resample, TheSameSizeChangesNothing) {
  const auto image = load("small.png");
  for (const auto filter : {bilinear, bicubic})
    EXPECT_TRUE(same(resample(image, false, {17, 23, 0, 0, 17, 23}, filter), image.pixels));
}

TEST(Resample, ReadsATurnedImageAsIfItHadBeenTurnedFirst) {
  struct size {
    uint32_t width, height;
  };
  // The sizes give both orders of the passes, one and many weights, growing and shrinking.
  for (const auto& [width, height] :
       {size{97, 53}, size{53, 97}, size{401, 37}, size{37, 401}, size{5, 3}, size{1, 7}})
    for (uint32_t orientation = 1; orientation <= 8; ++orientation)
      for (const auto filter : {bilinear, bicubic})
        for (const bool grey : {false, true})
          for (const auto& window :
               {resample_window{31, 29, 0, 0, 31, 29}, resample_window{64, 48, 7, 3, 21, 30},
                resample_window{19, 130, 2, 40, 13, 33}, resample_window{130, 19, 40, 2, 33, 13}}) {
            const auto image = noise(width, height, orientation);
            const decoded_image turned{upright(image), 1};
            EXPECT_TRUE(
              same(resample(image, grey, window, filter), resample(turned, grey, window, filter)))
              << width << "x" << height << " turned by " << orientation << " to "
              << window.full_width << "x" << window.full_height << (grey ? " grey" : "");
          }
}

TEST(Resample, UprightIsWhatExifSays) {
  // 1 2 3
  // 4 5 6, one channel.
  decoded_image image{pixel_grid{3, 2, 1}};
  std::copy_n("123456", 6, image.pixels.data());
  const char* const turned[] = {"123456", "321654", "654321", "456123",
                                "142536", "415263", "635241", "362514"};
  for (uint32_t orientation = 1; orientation <= 8; ++orientation) {
    image.orientation = orientation;
    const auto result = upright(image);
    EXPECT_EQ(result.width(), orientation >= 5 ? 2u : 3u);
    EXPECT_EQ(std::string(result.data(), result.data() + 6), turned[orientation - 1])
      << orientation;
  }
}
