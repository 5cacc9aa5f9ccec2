// How much memory a worker may take, and what it gives back, with the real ziyu-worker.

#include "tests/support/fork_server_process.hpp"

#include "supervision/memory_probe.hpp"
#include "supervision/peak_memory.hpp"

#include <cstring>

namespace ziyu {

namespace {

using namespace ziyu::test;

constexpr uint64_t mib = 1u << 20;

std::string mebibytes(uint64_t x) { return std::to_string(x * mib); }

/// A grey BMP of one byte a pixel; it decodes to three.
std::string grey_bitmap(uint32_t width, uint32_t height) {
  const auto stride = (width + 3) / 4 * 4;
  constexpr uint32_t offset = 54 + 256 * 4;
  std::string x(offset + size_t{stride} * height, '\x40');
  auto put = [&](size_t at, uint32_t value, size_t size) {
    for (size_t i = 0; i < size; ++i)
      x[at + i] = static_cast<char>(value >> (8 * i));
  };
  std::memset(x.data(), 0, offset);
  x[0] = 'B';
  x[1] = 'M';
  put(2, static_cast<uint32_t>(x.size()), 4);
  put(10, offset, 4);
  put(14, 40, 4);
  put(18, width, 4);
  put(22, height, 4);
  put(26, 1, 2);
  put(28, 8, 2);
  put(46, 256, 4);
  for (uint32_t i = 0; i < 256; ++i)
    put(54 + 4 * i, i * 0x010101, 4);
  return x;
}

uint64_t private_bytes(int32_t pid) {
  const auto x = supervision::read_process_memory(pid);
  EXPECT_TRUE(x);
  return x ? x->private_bytes : 0;
}

} // namespace

TEST(MemoryCeiling, RefusesADecoderWhatWouldPassTheHardLimit) {
  // Without the bound by the header, which would refuse the image before.
  fork_server_process server{
    digits_model, {"--budget-bytes", mebibytes(40), "--hard-limit-bytes", mebibytes(64)}};
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  ASSERT_TRUE(supervision::reset_peak_memory(x.pid));
  const auto small = grey_bitmap(640, 480), large = grey_bitmap(6000, 4000);
  for (auto i = 0; i < 3; ++i) {
    const auto refused = x.run(large); // 24 MB encoded, 72 MB decoded
    ASSERT_TRUE(refused) << refused.error().describe();
    EXPECT_EQ(refused->error_code, "image_too_large") << refused->error_message;
    EXPECT_NE(refused->error_message.find("memory.worker_hard_limit_bytes"), std::string::npos)
      << refused->error_message;
    const auto fits = x.run(small);
    ASSERT_TRUE(fits);
    EXPECT_EQ(fits->error_code, "") << fits->error_message;
  }
  const auto peak = supervision::read_peak_memory(x.pid);
  ASSERT_TRUE(peak);
  EXPECT_LT(supervision::peak_private(private_bytes(x.pid), *peak), 64 * mib);
}

TEST(MemoryCeiling, RefusesByTheHeaderWhatIsKnownToBeTooMuch) {
  fork_server_process server{digits_model, {"--max-peak-bytes", mebibytes(40)}};
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  const auto before = private_bytes(x.pid);
  const auto refused = x.run(grey_bitmap(6000, 4000));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->error_code, "image_too_large");
  EXPECT_LT(private_bytes(x.pid), before + 60 * mib) << "only what the image is as it comes";
}

TEST(KeptMemory, WhatALargeImageLeavesIsGivenBackByTheWorkerItself) {
  fork_server_process server{
    digits_model, {"--budget-bytes", mebibytes(64), "--hard-limit-bytes", mebibytes(640)}};
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  const auto small = grey_bitmap(640, 480), large = grey_bitmap(6000, 4000);
  ASSERT_TRUE(x.run(small));
  const auto fresh = private_bytes(x.pid);
  for (auto i = 0; i < 3; ++i) {
    const auto done = x.run(large);
    ASSERT_TRUE(done) << done.error().describe();
    EXPECT_EQ(done->error_code, "") << done->error_message;
    EXPECT_LT(private_bytes(x.pid), fresh + 20 * mib) << "a quarter of its room";
    ASSERT_TRUE(x.run(small));
  }
}

TEST(KeptMemory, WhatUsualImagesLeaveIsKeptForTheNext) {
  fork_server_process server{digits_model, {"--budget-bytes", mebibytes(256)}};
  server.expect_frame<wire::server_ready>();
  auto x = server.spawn();
  const auto usual = grey_bitmap(1920, 1080); // 6 MB decoded
  const auto first = x.run(usual);
  ASSERT_TRUE(first);
  const auto second = x.run(usual);
  ASSERT_TRUE(second);
  EXPECT_GT(first->memory.rss_anon, x.news.memory.rss_anon + 4 * mib);
  EXPECT_GE(second->memory.rss_anon, first->memory.rss_anon);
}

} // namespace ziyu
