#include "model/preprocess.hpp"

#include "base/file.hpp"
#include "support/places.hpp"

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>

using namespace ziyu;
using namespace ziyu::model;

namespace {

const std::filesystem::path folder = std::filesystem::path{test::source_dir()}
                                     / "tests/data/parity";

decoded_image load(const std::string& name) {
  auto image = decode_image(read_file(folder / name).value());
  EXPECT_TRUE(image) << name;
  return image.value();
}

preprocessing spec_of(const nlohmann::json& input) {
  preprocessing result;
  result.channels = input["channels"] == "grey" ? preprocessing::colour::grey
                                                : preprocessing::colour::rgb;
  result.crop_height = input["height"];
  result.crop_width = input["width"];
  if (input.contains("resize") && input["resize"].is_array()) {
    result.resize_height = input["resize"][0];
    result.resize_width = input["resize"][1];
    result.fit = input["fit"] == "squash"  ? preprocessing::fitting::squash
                 : input["fit"] == "cover" ? preprocessing::fitting::cover
                                           : preprocessing::fitting::contain;
  } else {
    result.resize = input.value("resize", 0u);
  }
  if (input.contains("fill"))
    std::copy(input["fill"].begin(), input["fill"].end(), result.fill.begin());
  result.crops_down = input.contains("crop_rounding") && input["crop_rounding"] == "down";
  result.squash = input["squash"];
  result.filter = input["interpolation"] == "bicubic" ? preprocessing::interpolation::bicubic
                                                      : preprocessing::interpolation::bilinear;
  result.mean = input["mean"].get<std::vector<float>>();
  result.stddev = input["std"].get<std::vector<float>>();
  result.invert = input.value("invert", false);
  return result;
}

float value_at(const at::Tensor& tensor, int64_t channel, int64_t row, int64_t column) {
  return tensor.data_ptr<float>()[channel * tensor.stride(1) + row * tensor.stride(2)
                                  + column * tensor.stride(3)];
}

nlohmann::json cases() { return nlohmann::json::parse(read_file(folder / "cases.json").value()); }

} // namespace

TEST(Preprocess, PixelsAreThoseOfPillowToTheBit) {
  const auto table = cases();
  ASSERT_GE(table.size(), 29u);
  for (const auto& c : table) {
    auto how = spec_of(c["input"]);
    // Undoes the normalisation, so that the tensor holds pixel / 255.
    std::fill(how.mean.begin(), how.mean.end(), 0.0f);
    std::fill(how.stddev.begin(), how.stddev.end(), 1.0f);
    how.invert = false;
    const auto tensor = preprocessor{how}.preprocess(load(c["image"]));
    const auto want = load(c["pixels"]);
    const int channels = how.channels == preprocessing::colour::grey ? 1 : 3;
    ASSERT_EQ(tensor.sizes(), (c10::IntArrayRef{1, channels, how.crop_height, how.crop_width}))
      << c.dump();
    int worst = 0;
    for (uint32_t row = 0; row < want.pixels.height(); ++row)
      for (uint32_t column = 0; column < want.pixels.width(); ++column)
        for (int channel = 0; channel < channels; ++channel) {
          const int pixel = want.pixels.row(row)[3 * column + static_cast<uint32_t>(channel)];
          const auto got = static_cast<int>(
            std::lround(value_at(tensor, channel, row, column) * 255));
          worst = std::max(worst, std::abs(got - pixel));
        }
    EXPECT_EQ(worst, 0) << c["image"] << c["input"];
  }
}

TEST(Preprocess, NumbersAreThoseOfTorchvision) {
  for (const auto& c : cases()) {
    const auto tensor = preprocessor{spec_of(c["input"])}.preprocess(load(c["image"]));
    for (const auto& value : c["values"])
      EXPECT_NEAR(value_at(tensor, value[0], value[1], value[2]), value[3].get<float>(), 1e-6)
        << c["image"] << c["input"];
  }
}

TEST(Preprocess, ExtremeProportionsCostNoMoreThanTheModelsInput) {
  // The other edge of the resized image would be 256 × 300 000 = 77 million pixels long.
  decoded_image line{pixel_grid{300'000, 1, 3}};
  for (size_t i = 0; i < line.pixels.size(); ++i)
    line.pixels.data()[i] = static_cast<uint8_t>(30 - 10 * (i % 3));
  preprocessing how;
  how.resize = 256;
  how.mean = {0, 0, 0};
  how.stddev = {1, 1, 1};
  const auto tensor = preprocessor{how}.preprocess(line);
  ASSERT_EQ(tensor.sizes(), (c10::IntArrayRef{1, 3, 224, 224}));
  EXPECT_FLOAT_EQ(value_at(tensor, 0, 100, 100), 30 / 255.0f);
  EXPECT_FLOAT_EQ(value_at(tensor, 2, 223, 223), 10 / 255.0f);
}

TEST(Preprocess, ATurnedImageGivesTheTensorOfTheUprightOne) {
  for (const auto& c : cases()) {
    auto image = load(c["image"]);
    const auto how = spec_of(c["input"]);
    for (uint32_t orientation = 2; orientation <= 8; ++orientation) {
      image.orientation = orientation;
      const auto turned = preprocessor{how}.preprocess(image);
      const auto first = preprocessor{how}.preprocess({upright(image), 1});
      ASSERT_TRUE(turned.equal(first)) << c["image"] << c["input"] << " by " << orientation;
    }
  }
}

TEST(Preprocess, ARowOfABatchIsTheImageAlone) {
  for (const auto& c : cases()) {
    const auto image = load(c["image"]);
    const preprocessor exact{spec_of(c["input"])}, small{exact.how(), precision::bf16};
    const auto alone = exact.preprocess(image);
    for (const auto* by : {&exact, &small}) {
      auto batch = by->batch(3);
      EXPECT_TRUE(batch.is_contiguous(at::MemoryFormat::ChannelsLast));
      batch.fill_(7);
      by->preprocess(image, batch, 1);
      EXPECT_TRUE(batch.slice(0, 1, 2).equal(alone.to(batch.scalar_type()))) << c["input"];
      for (const int64_t other : {0, 2})
        EXPECT_TRUE(batch.select(0, other).eq(7).all().item<bool>()) << c["input"];
    }
  }
}
