#include "cli/doctor/images.hpp"

#include "base/file.hpp"

#include <gmock/gmock.h>

#include <cstring>

using namespace ziyu;
using namespace ziyu::cli;
using ::testing::StartsWith;

namespace {

uint32_t le32(const std::string& from, size_t at) {
  uint32_t x = 0;
  std::memcpy(&x, from.data() + at, sizeof x);
  return x;
}

} // namespace

TEST(DoctorImages, ABmpIsAsLongAsItSays) {
  for (const auto kind : {pixels::grey, pixels::rgb}) {
    const auto x = make_bmp(5, 3, kind);
    EXPECT_THAT(x, StartsWith("BM"));
    EXPECT_EQ(le32(x, 2), x.size());
    EXPECT_EQ(x.size() - le32(x, 10), (kind == pixels::rgb ? 16u : 8u) * 3); // padded lines
    EXPECT_EQ(le32(x, 18), 5);
    EXPECT_EQ(le32(x, 22), 3);
  }
}

TEST(DoctorImages, ALargePngIsSmallerThanAHundredthOfItsPixels) {
  const auto x = make_png(4000, 3000, pixels::rgb);
  EXPECT_THAT(x, StartsWith("\x89PNG"));
  EXPECT_LT(x.size(), 36'000'000 / 100);
}

TEST(DoctorImages, AreOfManySizesAndReadable) {
  const auto all = synthetic_images();
  EXPECT_GE(all.size(), 8);
  size_t sum = 0;
  for (const auto& x : all) {
    ASSERT_TRUE(x.read());
    sum += x.read()->size();
  }
  EXPECT_LT(sum, 5'000'000);
}

TEST(DoctorImages, OfAFolderAreReadWhenTheyAreNeeded) {
  temp_dir dir;
  ASSERT_TRUE(write_file(dir.path() / "a.png", "one"));
  const auto all = images_of(dir.path());
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 1);
  EXPECT_EQ(all->front().name, "a.png");
  EXPECT_EQ(all->front().read(), "one");
  std::filesystem::remove(dir.path() / "a.png");
  EXPECT_EQ(all->front().read().error().code, errc::io);
  EXPECT_EQ(images_of(dir.path()).error().code, errc::invalid_usage);
}
