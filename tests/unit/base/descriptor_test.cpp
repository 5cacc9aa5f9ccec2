#include "base/descriptor.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

namespace ziyu {

TEST(Descriptor, TakesAllBytesThoughEachWriteTakesAPart) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  std::string sent(1 << 20, '\0'); // a pipe holds 64 KiB
  for (size_t i = 0; i < sent.size(); ++i)
    sent[i] = static_cast<char>(i % 251);
  std::string got;
  std::thread reader{[&] {
    char block[10'000];
    for (ssize_t n; (n = ::read(ends[0], block, sizeof block)) > 0;)
      got.append(block, static_cast<size_t>(n));
  }};
  EXPECT_TRUE(write_all(ends[1], sent));
  EXPECT_TRUE(write_all(ends[1], ""));
  ::close(ends[1]);
  reader.join();
  ::close(ends[0]);
  EXPECT_EQ(got, sent);
}

TEST(Descriptor, ThatTakesNothingLeavesTheReasonInErrno) {
  const auto full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  errno = 0;
  EXPECT_FALSE(write_all(full, "x"));
  EXPECT_EQ(errno, ENOSPC);
  ::close(full);
  errno = 0;
  EXPECT_FALSE(write_all(-1, "x"));
  EXPECT_EQ(errno, EBADF);
  EXPECT_TRUE(write_all(-1, ""));
}

} // namespace ziyu
