#include "base/file.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

TEST(File, ReadingRefusesDevicesAndFoldersAndDoesNotReadWhatIsTooLarge) {
  temp_dir dir;
  for (const auto* device : {"/dev/zero", "/dev/urandom", "/dev/null"}) {
    const auto refused = read_file(device);
    ASSERT_FALSE(refused) << device;
    EXPECT_EQ(refused.error().message,
              "cannot read " + std::string{device} + ": it is a device, not a file");
  }
  ASSERT_TRUE(write_file(dir.path() / "large", ""));
  fs::resize_file(dir.path() / "large", uint64_t{1} << 40); // takes no space
  EXPECT_FALSE(read_file(dir.path() / "large"));
  EXPECT_TRUE(read_file("/proc/self/status")) << "of no size, with content";
}

TEST(File, ReadsAPipeToItsEndAndNoMoreOfItThanIsAllowed) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const auto path = "/proc/self/fd/" + std::to_string(ends[0]);
  ASSERT_EQ(::write(ends[1], "12345", 5), 5);
  EXPECT_FALSE(read_file(path, 4));
  ASSERT_EQ(::write(ends[1], "abc", 3), 3);
  ::close(ends[1]);
  EXPECT_EQ(read_file(path, 4).value(), "abc");
  ::close(ends[0]);
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

TEST(File, WritingToALinkWritesWhatItNamesAndKeepsTheLink) {
  temp_dir dir;
  ASSERT_TRUE(write_file(dir.path() / "real", "old"));
  fs::create_symlink("real", dir.path() / "link");
  fs::create_symlink("not-yet", dir.path() / "dangling");
  ASSERT_TRUE(write_file(dir.path() / "link", "new"));
  ASSERT_TRUE(write_file(dir.path() / "dangling", "first"));
  EXPECT_TRUE(fs::is_symlink(dir.path() / "link"));
  EXPECT_TRUE(fs::is_symlink(dir.path() / "dangling"));
  EXPECT_EQ(read_file(dir.path() / "real").value(), "new");
  EXPECT_EQ(read_file(dir.path() / "not-yet").value(), "first");
  EXPECT_EQ(entries(dir.path()), 4u);
}

TEST(File, WritingKeepsThePermissionsOfWhatWasThere) {
  temp_dir dir;
  const auto path = dir.path() / "secret";
  ASSERT_TRUE(write_file(path, "old"));
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  ASSERT_TRUE(write_file(path, "new"));
  struct stat found {};
  ASSERT_EQ(::stat(path.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0600u);
}

TEST(File, WritingToADeviceOrPipeNeverReplacesIt) {
  // Through a link in a folder of our own, so that a wrong write cannot hurt the machine.
  temp_dir dir;
  const auto pipe = dir.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const auto unread = write_file(pipe, "x");
  ASSERT_FALSE(unread) << "nobody reads it";
  EXPECT_EQ(unread.error().code, errc::io);
  EXPECT_TRUE(fs::is_fifo(pipe));
  const auto reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  EXPECT_TRUE(write_file(pipe, "content"));
  char read[16] = {};
  EXPECT_EQ(::read(reader, read, sizeof read), 7);
  EXPECT_STREQ(read, "content");
  ::close(reader);
  EXPECT_TRUE(fs::is_fifo(pipe));

  fs::create_symlink("/dev/full", dir.path() / "full");
  const auto full = write_file(dir.path() / "full", "x");
  ASSERT_FALSE(full);
  EXPECT_NE(full.error().message.find("No space left"), std::string::npos) << full.error().message;
  EXPECT_TRUE(fs::is_character_file(fs::path{"/dev/full"}));
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
