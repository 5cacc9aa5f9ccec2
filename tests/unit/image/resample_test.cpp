#include "model/resample.hpp"

#include "base/file.hpp"
#include "model/decoder.hpp"

#include <gtest/gtest.h>
#include <opencv2/core.hpp>

using namespace ziyu;
using namespace ziyu::model;

// That the pixels are Pillow's is shown by tests/unit/model/preprocess_test.cpp.

namespace {

cv::Mat load(const std::string& name) {
  return decode_image(
           read_file(std::filesystem::path{ZIYU_SOURCE_DIR} / "tests/data/parity" / name).value())
    .value()
    .pixels;
}

} // namespace

TEST(Resample, AWindowIsThatPartOfTheWhole) {
  // The tall image takes the vertical pass first.
  for (const char* name : {"wide.png", "tall.png"})
    for (const auto filter :
         {preprocessing::interpolation::bilinear, preprocessing::interpolation::bicubic}) {
      const auto image = load(name);
      const auto whole = resample(image, {60, 50, 0, 0, 60, 50}, filter);
      const auto part = resample(image, {60, 50, 11, 7, 20, 30}, filter);
      EXPECT_EQ(cv::norm(part, whole(cv::Rect(11, 7, 20, 30)), cv::NORM_INF), 0) << name;
    }
}

TEST(Resample, TheSameSizeChangesNothing) {
  const auto image = load("small.png");
  for (const auto filter :
       {preprocessing::interpolation::bilinear, preprocessing::interpolation::bicubic})
    EXPECT_EQ(cv::norm(resample(image, {17, 23, 0, 0, 17, 23}, filter), image, cv::NORM_INF), 0);
}
