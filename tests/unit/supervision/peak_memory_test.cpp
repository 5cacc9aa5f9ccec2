#include "supervision/peak_memory.hpp"

#include "base/file.hpp"

#include <gtest/gtest.h>

#include <sys/mman.h>
#include <unistd.h>

namespace ziyu::supervision {
namespace {

constexpr uint64_t mib = 1u << 20;

TEST(PeakMemory, IsReadFromTheKernelsWords) {
  temp_dir proc;
  std::filesystem::create_directory(proc.path() / "7");
  ASSERT_TRUE(write_file(proc.path() / "7/status",
                         "Name:\tx\nVmPeak:\t  9000 kB\nVmHWM:\t   300 kB\nVmRSS:\t   200 kB\n"));
  const auto x = read_peak_memory(7, proc.path());
  ASSERT_TRUE(x);
  EXPECT_EQ(x->peak, 300 * 1024);
  EXPECT_EQ(x->resident, 200 * 1024);
}

TEST(PeakMemory, AProcessThatIsGoneIsAnError) {
  temp_dir proc;
  EXPECT_EQ(read_peak_memory(7, proc.path()).error().code, errc::io);
  EXPECT_EQ(reset_peak_memory(7, proc.path()).error().code, errc::io);
  // A zombie has a status without memory.
  std::filesystem::create_directory(proc.path() / "7");
  ASSERT_TRUE(write_file(proc.path() / "7/status", "Name:\tx\nState:\tZ (zombie)\n"));
  EXPECT_EQ(read_peak_memory(7, proc.path()).error().code, errc::io);
}

TEST(PeakMemory, SeesWhatWasGivenBackBeforeAnybodyLooked) {
  const auto touch = [](size_t bytes) {
    auto* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    ASSERT_NE(at, MAP_FAILED);
    ::munmap(at, bytes);
  };
  touch(96 * mib);
  ASSERT_TRUE(reset_peak_memory(::getpid()));
  const auto before = read_peak_memory(::getpid()).value();
  EXPECT_LT(before.peak, before.resident + 48 * mib); // the 96 MiB are forgotten
  touch(64 * mib);
  const auto after = read_peak_memory(::getpid()).value();
  EXPECT_GE(after.peak, before.resident + 63 * mib);
  EXPECT_LT(after.peak, before.resident + 80 * mib);
}

TEST(PeakMemory, OfPrivatePagesIsWhatWasAboveNow) {
  EXPECT_EQ(peak_private(5 * mib, {100 * mib, 130 * mib}), 35 * mib);
  EXPECT_EQ(peak_private(5 * mib, {100 * mib, 100 * mib}), 5 * mib);
}

} // namespace
} // namespace ziyu::supervision
