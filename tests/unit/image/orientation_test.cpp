#include "model/orientation.hpp"

#include "base/file.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

using namespace ziyu;
using namespace ziyu::model;

// Every place where an orientation may stand is in tests/data/layouts (layouts_test.cpp).

namespace {

std::string content(const std::string& name) {
  auto result = read_file(std::filesystem::path{test::source_dir()} / "tests/data" / name);
  EXPECT_TRUE(result) << name;
  return result.value_or("");
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
