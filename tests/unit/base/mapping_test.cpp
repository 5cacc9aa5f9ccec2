#include "base/mapping.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace ziyu {

TEST(Mapping, IsOfZerosThatAllWhoMapTheFileShare) {
  auto file = make_memory_file("ziyu-test", 5'000);
  ASSERT_TRUE(file) << file.error().describe();
  auto writer = mapping::of(file->get(), 5'000, mapping::access::write);
  const auto reader = mapping::of(file->get(), 5'000, mapping::access::read);
  ASSERT_TRUE(writer && reader);
  EXPECT_EQ(writer->size(), 5'000u);
  EXPECT_TRUE(std::all_of(reader->data(), reader->data() + 5'000, [](char x) { return x == 0; }));
  file->reset();
  const auto moved = std::move(*writer);
  std::strcpy(moved.data() + 4'000, "自愈");
  EXPECT_STREQ(reader->data() + 4'000, "自愈");
}

TEST(Mapping, CanBeClosedToWriters) {
  const auto file = make_memory_file("ziyu-test", 100);
  ASSERT_TRUE(file) << file.error().describe();
  auto writer = mapping::of(file->get(), 100, mapping::access::write);
  ASSERT_TRUE(writer);
  ASSERT_TRUE(writer->make_read_only());
  const auto zeros = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(zeros, 0);
  EXPECT_EQ(::read(zeros, writer->data(), 100), -1);
  EXPECT_EQ(errno, EFAULT);
  ::close(zeros);
}

TEST(Mapping, OfNoFileIsAnError) {
  const auto result = mapping::of(-1, 100, mapping::access::read);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, errc::io);
}

} // namespace ziyu
