// bf16 beside fp32, with trained weights.

#include "model/precision_choice.hpp"

#include "support/digits.hpp"

#include <gmock/gmock.h>

#include <algorithm>

using namespace ziyu;
using namespace ziyu::model;
using testing::HasSubstr;

namespace {

const std::filesystem::path digits = test::digits_model();

/// A copy of the digits model with so many images to compare by.
std::filesystem::path with_agreement(const temp_dir& dir, size_t count) {
  auto files = test::held_out_digits();
  files.resize(count);
  std::vector<std::pair<std::string, std::string>> images;
  for (const auto& x : files)
    images.emplace_back(x.filename().string(), read_file(x).value());
  return test::digits_with_agreement(dir, images);
}

} // namespace

TEST(Precision, InBf16TheDigitsGetTheSameLabels) {
  auto exact = choose_model(digits, {}, {.wish = precision_wish::fp32}),
       fast = choose_model(digits, {}, {.wish = precision_wish::bf16});
  ASSERT_TRUE(exact) << exact.error().describe();
  ASSERT_TRUE(fast) << fast.error().describe();
  EXPECT_EQ(exact->by.model().folder().precision, "fp32");
  EXPECT_EQ(fast->by.model().folder().precision, "bf16");
  size_t alike = 0, compared = 0;
  double furthest = 0;
  for (const auto& file : test::held_out_digits()) {
    const auto bytes = read_file(file).value();
    const auto wanted = exact->by.classify(bytes, 1), got = fast->by.classify(bytes, 1);
    ASSERT_TRUE(wanted && got) << file;
    ++compared;
    if (wanted->top_k[0].index == got->top_k[0].index) {
      ++alike;
      furthest = std::max<double>(
        furthest, std::abs(wanted->top_k[0].probability - got->top_k[0].probability));
    }
  }
  ASSERT_EQ(compared, 360u);
  EXPECT_GE(alike, 357u) << "99 %";
  EXPECT_LE(furthest, 0.1);
  EXPECT_GT(furthest, 0) << "it does compute otherwise";
}

TEST(Precision, ABatchIsAnsweredAsItsImagesAreAlone) {
  for (const auto wish : {precision_wish::fp32, precision_wish::bf16}) {
    auto aut = choose_model(digits, {}, {.wish = wish});
    ASSERT_TRUE(aut) << aut.error().describe();
    const auto sizes = aut->by.model().measure_batches(8).size();
    if (wish == precision_wish::fp32) { // a processor without bf16 gains nothing by batches of it
      EXPECT_EQ(sizes, 4u);
    }
    std::vector<std::string> bytes;
    std::vector<std::string_view> batch;
    for (const auto& file : test::held_out_digits())
      bytes.push_back(read_file(file).value());
    bytes.resize(61); // 7 × 8, 4 and 1
    batch.assign(bytes.begin(), bytes.end());
    const auto together = aut->by.classify(batch, 3);
    for (size_t i = 0; i < batch.size(); ++i) {
      const auto alone = aut->by.classify(batch[i], 3);
      ASSERT_TRUE(alone && together[i]) << i;
      EXPECT_EQ(together[i]->top_k[0].index, alone->top_k[0].index) << to_string(wish) << i;
      EXPECT_NEAR(together[i]->top_k[0].probability, alone->top_k[0].probability,
                  wish == precision_wish::bf16 ? 0.05 : 1e-4)
        << to_string(wish) << i;
    }
  }
}

TEST(Precision, AutoStaysWithFp32WithoutEnoughImages) {
  temp_dir dir;
  const auto loaded = choose_model(with_agreement(dir, 31), {},
                                   {.wish = precision_wish::automatic});
  ASSERT_TRUE(loaded) << loaded.error().describe();
  const auto& folder = loaded->by.model().folder();
  EXPECT_EQ(folder.precision, "fp32");
  ASSERT_FALSE(folder.warnings.empty());
  EXPECT_THAT(folder.warnings.back(), HasSubstr("there are 31 images to compare by"));
}

TEST(Precision, AutoChoosesOneOfThemByWhatItHasMeasured) {
  temp_dir dir;
  const auto loaded = choose_model(with_agreement(dir, 64), {},
                                   {.wish = precision_wish::automatic});
  ASSERT_TRUE(loaded) << loaded.error().describe();
  const auto& folder = loaded->by.model().folder();
  if (folder.precision == "fp32") {
    ASSERT_FALSE(folder.warnings.empty());
    EXPECT_THAT(folder.warnings.back(), HasSubstr("of the time of fp32 on this processor"));
  } else {
    EXPECT_EQ(folder.precision, "bf16");
  }
}

TEST(Precision, HasNames) {
  for (const auto x : {precision_wish::fp32, precision_wish::bf16, precision_wish::int8,
                       precision_wish::automatic}) {
    precision_wish read{};
    EXPECT_TRUE(from_string(to_string(x), read));
    EXPECT_EQ(read, x);
  }
  precision_wish x{};
  EXPECT_FALSE(from_string("int4", x));
}
