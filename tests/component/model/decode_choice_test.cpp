// JPEGs decoded smaller, with trained weights.

#include "model/decode_choice.hpp"

#include "model/precision_choice.hpp"
#include "support/digits.hpp"
#include "support/encoded_jpeg.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <random>

using namespace ziyu;
using namespace ziyu::model;
using testing::HasSubstr;

namespace {

constexpr uint32_t enlarged = 4; // four times and more what the model sees

std::string jpeg_of(uint32_t width, uint32_t height,
                    const std::function<uint8_t(uint32_t x, uint32_t y)>& grey) {
  return test::encoded_jpeg(
    width, height, 1, 90, [](auto&) {},
    [&](uint32_t y, std::vector<uint8_t>& row) {
      for (uint32_t x = 0; x < width; ++x)
        row[x] = grey(x, y);
    });
}

/// The first held-out digits, as large JPEGs.
std::vector<std::string> large_digits(size_t count) {
  auto files = test::held_out_digits();
  files.resize(count);
  std::vector<std::string> result;
  for (const auto& file : files) {
    const auto bytes = read_file(file).value();
    const auto small = decode_image(bytes).value().pixels;
    result.push_back(
      jpeg_of(small.width() * enlarged, small.height() * enlarged,
              [&](uint32_t x, uint32_t y) { return small.row(y / enlarged)[3 * (x / enlarged)]; }));
  }
  return result;
}

/// Squares of 4 x 4 pixels at random: libjpeg makes a pixel of each, resizing mixes neighbours.
std::vector<std::string> noise(size_t count) {
  std::mt19937 random{41};
  std::vector<std::string> result;
  for (size_t i = 0; i < count; ++i) {
    std::vector<uint8_t> squares(size_t{32} * 32);
    for (auto& x : squares)
      x = random() % 2 == 0 ? 0 : 255;
    result.push_back(jpeg_of(
      128, 128, [&](uint32_t x, uint32_t y) { return squares[size_t{y / 4} * 32 + x / 4]; }));
  }
  return result;
}

/// A copy of the digits model with these images to compare by.
std::filesystem::path with_jpegs(const temp_dir& dir, const std::vector<std::string>& jpegs) {
  std::vector<std::pair<std::string, std::string>> images;
  for (size_t i = 0; i < jpegs.size(); ++i)
    images.emplace_back(std::to_string(i) + ".jpg", jpegs[i]);
  return test::digits_with_agreement(dir, images);
}

chosen_model decided(const std::filesystem::path& folder, decode_wish wish) {
  auto result = choose_model(folder, {}, {.decode = wish});
  EXPECT_TRUE(result) << result.error().describe();
  return std::move(*result);
}

} // namespace

TEST(DecodeChoice, AutoIsReducedWhereTheLabelsAgree) {
  temp_dir dir;
  const auto jpegs = large_digits(40);
  const auto folder = with_jpegs(dir, jpegs);
  auto reduced = decided(folder, decode_wish::automatic);
  EXPECT_EQ(reduced.decode.how, decoding::reduced) << reduced.decode.why_not;
  ASSERT_TRUE(reduced.decode.agreed);
  EXPECT_EQ(reduced.decode.agreed->compared, 40u);
  EXPECT_GE(reduced.decode.agreed->share(), 0.99);
  EXPECT_GT(reduced.decode.exact_us, 0);
  EXPECT_GT(reduced.decode.reduced_us, 0);
  EXPECT_TRUE(reduced.by.model().folder().warnings.empty());
  auto exact = decided(folder, decode_wish::exact);
  double furthest = 0;
  for (const auto& image : jpegs) {
    const auto wanted = exact.by.classify(image, 1), got = reduced.by.classify(image, 1);
    ASSERT_TRUE(wanted && got);
    EXPECT_EQ(got->width, wanted->width) << "the size is that of the image";
    EXPECT_EQ(got->top_k[0].index, wanted->top_k[0].index);
    furthest = std::max<double>(furthest,
                                std::abs(got->top_k[0].probability - wanted->top_k[0].probability));
  }
  EXPECT_GT(furthest, 0) << "it does decode otherwise";
}

TEST(DecodeChoice, AutoStaysExactWhereTheLabelsDiffer) {
  temp_dir dir;
  const auto chosen = decided(with_jpegs(dir, noise(64)), decode_wish::automatic);
  EXPECT_EQ(chosen.decode.how, decoding::exact);
  ASSERT_TRUE(chosen.decode.agreed);
  EXPECT_EQ(chosen.decode.agreed->compared, 64u);
  EXPECT_THAT(chosen.decode.why_not, HasSubstr("of 64 images the same label, 99.0 % are needed"));
  ASSERT_FALSE(chosen.by.model().folder().warnings.empty());
  EXPECT_THAT(chosen.by.model().folder().warnings.back(),
              HasSubstr("model.decode auto has chosen exact: reduced gives"));
}

TEST(DecodeChoice, AutoStaysExactWithoutEnoughImages) {
  temp_dir dir;
  const auto chosen = decided(with_jpegs(dir, large_digits(31)), decode_wish::automatic);
  EXPECT_EQ(chosen.decode.how, decoding::exact);
  EXPECT_THAT(chosen.decode.why_not, HasSubstr("there are 31 images to compare by"));
}

TEST(DecodeChoice, AutoCountsOnlyImagesThatWouldBeDecodedSmaller) {
  temp_dir dir;
  auto jpegs = large_digits(31);
  for (uint32_t i = 0; i < 20; ++i)
    jpegs.push_back(jpeg_of(63, 300, [](uint32_t x, uint32_t) { return uint8_t(x); }));
  const auto chosen = decided(with_jpegs(dir, jpegs), decode_wish::automatic);
  EXPECT_EQ(chosen.decode.how, decoding::exact);
  EXPECT_THAT(chosen.decode.why_not, HasSubstr("there are 31 JPEGs at least twice as large"));
}

TEST(DecodeChoice, ReducedNeedsNoImagesToCompareBy) {
  const auto chosen = decided(test::digits_model(), decode_wish::reduced);
  EXPECT_EQ(chosen.decode.how, decoding::reduced);
  EXPECT_FALSE(chosen.decode.agreed);
}

TEST(DecodeChoice, HasNames) {
  for (const auto x : {decode_wish::exact, decode_wish::reduced, decode_wish::automatic}) {
    decode_wish read{};
    EXPECT_TRUE(from_string(to_string(x), read));
    EXPECT_EQ(read, x);
  }
  decode_wish x{};
  EXPECT_FALSE(from_string("half", x));
}
