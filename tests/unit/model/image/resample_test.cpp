#include "model/resample.hpp"

#include "base/file.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <sstream>

#include <zlib.h>

using namespace ziyu;
using namespace ziyu::model;

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

/// Those that this processor has.
std::vector<const kernels*> all_kernels() {
  std::vector<const kernels*> result{&scalar_kernels()};
  for (const auto* x : {avx2_kernels(), avx512_kernels()})
    if (x != nullptr)
      result.push_back(x);
  return result;
}

/// The image of tools/make_resample_fixtures.py.
decoded_image generated(uint32_t width, uint32_t height, uint32_t orientation, uint32_t seed) {
  decoded_image result{pixel_grid{width, height, 3}, orientation};
  for (uint32_t i = 0; i < result.pixels.size(); ++i) {
    auto x = i * 2654435761u + seed;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    const auto extreme = (x & 512) != 0 ? 255u : 0u;
    result.pixels.data()[i] = static_cast<uint8_t>((x & 256) != 0 ? x & 255 : extreme);
  }
  return result;
}

} // namespace

TEST(Resample, IsPillowsToTheBitWithEachKernel) {
  std::istringstream lines{
    read_file(std::filesystem::path{test::source_dir()} / "tests/data/resample.txt").value()};
  size_t cases = 0;
  for (std::string line; std::getline(lines, line); ++cases) {
    std::istringstream in{line};
    uint32_t width = 0, height = 0, orientation = 0, seed = 0, channels = 0;
    uint64_t wanted = 0;
    std::string filter;
    resample_window window;
    in >> width >> height >> orientation >> seed >> channels >> filter >> window.full_width
      >> window.full_height >> window.left >> window.top >> window.width >> window.height >> wanted;
    ASSERT_TRUE(in) << line;
    const auto image = generated(width, height, orientation, seed);
    for (const auto* by : all_kernels()) {
      const auto got = resample(image, channels == 1, window,
                                filter == "bicubic" ? bicubic : bilinear, *by);
      ASSERT_EQ(crc32(0, got.data(), static_cast<uInt>(got.size())), wanted)
        << line << " with " << by->name;
    }
  }
  EXPECT_GE(cases, 2000u);
}

TEST(Resample, EachKernelGivesTheScalarOnesBytes) {
  std::mt19937 random{17};
  const auto below = [&](uint32_t limit) { return static_cast<int>(1 + random() % limit); };
  for (int i = 0; i < 3000; ++i) {
    const auto image = generated(static_cast<uint32_t>(below(random() % 2 == 0 ? 20 : 300)),
                                 static_cast<uint32_t>(below(random() % 2 == 0 ? 20 : 300)),
                                 1 + random() % 8, random());
    resample_window window;
    window.full_width = below(random() % 2 == 0 ? 20 : 250);
    window.full_height = below(random() % 2 == 0 ? 20 : 250);
    window.width = below(static_cast<uint32_t>(window.full_width));
    window.height = below(static_cast<uint32_t>(window.full_height));
    window.left = below(static_cast<uint32_t>(window.full_width - window.width + 1)) - 1;
    window.top = below(static_cast<uint32_t>(window.full_height - window.height + 1)) - 1;
    const auto grey = random() % 2 == 0;
    const auto filter = random() % 2 == 0 ? bilinear : bicubic;
    const auto wanted = resample(image, grey, window, filter, scalar_kernels());
    for (const auto* by : all_kernels())
      ASSERT_TRUE(same(resample(image, grey, window, filter, *by), wanted))
        << by->name << " in round " << i;
  }
}

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
