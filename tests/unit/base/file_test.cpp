#include "base/file.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
namespace fs = std::filesystem;

namespace {

size_t entries(const fs::path& dir) {
  return static_cast<size_t>(std::distance(fs::directory_iterator{dir}, fs::directory_iterator{}));
}

} // namespace

TEST(File, RoundTripsBinaryContentAndReplacesWhatWasThere) {
  temp_dir dir;
  const auto path = dir.path() / "数字.bin";
  const std::string content{"a\0b\r\n\xff", 6};
  ASSERT_TRUE(write_file(path, "older and longer content"));
  ASSERT_TRUE(write_file(path, content));
  EXPECT_EQ(read_file(path).value(), content);
  EXPECT_EQ(entries(dir.path()), 1u) << "no temporary file may stay";
}

TEST(File, ReadingSaysWhichFileAndWhy) {
  temp_dir dir;
  const auto missing = read_file(dir.path() / "absent");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, errc::io);
  EXPECT_NE(missing.error().message.find((dir.path() / "absent").string() + ": No such file"),
            std::string::npos)
    << missing.error().message;
  const auto folder = read_file(dir.path());
  ASSERT_FALSE(folder);
  EXPECT_NE(folder.error().message.find("directory"), std::string::npos) << folder.error().message;
}

TEST(File, ReadingStopsAtTheLimit) {
  temp_dir dir;
  ASSERT_TRUE(write_file(dir.path() / "x", std::string(1000, 'x')));
  EXPECT_TRUE(read_file(dir.path() / "x", 1000));
  const auto refused = read_file(dir.path() / "x", 999);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("999 bytes"), std::string::npos);
}

TEST(File, AFailedWriteLeavesNothingBehind) {
  temp_dir dir;
  fs::create_directories(dir.path() / "taken" / "inside");
  const auto result = write_file(dir.path() / "taken", "x"); // a folder has this name
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, errc::io);
  EXPECT_EQ(entries(dir.path()), 1u);
  EXPECT_FALSE(write_file(dir.path() / "no" / "folder", "x"));
}

TEST(TempDir, RemovesItselfWithItsContentOnceWhoeverOwnsIt) {
  fs::path first, second;
  {
    temp_dir a;
    first = a.path();
    fs::create_directories(first / "deep" / "er");
    temp_dir b;
    second = b.path();
    ASSERT_NE(first, second);
    b = std::move(a);
    EXPECT_EQ(b.path(), first);
    EXPECT_TRUE(fs::exists(first));
    temp_dir c{std::move(b)};
    EXPECT_EQ(c.path(), first);
  }
  EXPECT_FALSE(fs::exists(first));
  EXPECT_FALSE(fs::exists(second));
}

TEST(ExecutableDir, HoldsThisTest) {
  EXPECT_TRUE(fs::exists(executable_dir() / "unit_base_tests"));
}
