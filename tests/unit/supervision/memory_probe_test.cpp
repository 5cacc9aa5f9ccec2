#include "supervision/memory_probe.hpp"

#include "base/file.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include <sys/mman.h>
#include <unistd.h>

using namespace ziyu;
using namespace ziyu::supervision;
namespace fs = std::filesystem;

namespace {

constexpr uint64_t mib = 1u << 20;

/// A folder that looks like `/` to the probe.
class fake_root {
public:
  fake_root() {
    put("proc/meminfo", "MemTotal:  8388608 kB\nMemFree: 1 kB\nMemAvailable: 6291456 kB\n");
  }

  void put(const std::string& path, const std::string& content) {
    const auto at = dir_.path() / path;
    fs::create_directories(at.parent_path());
    ASSERT_TRUE(write_file(at, content));
  }

  void v2_group(const std::string& path, const std::string& max, uint64_t current,
                uint64_t inactive_file, const std::string& more = "") {
    const auto at = "sys/fs/cgroup" + path + "/";
    put(at + "memory.max", max + "\n");
    put(at + "memory.current", std::to_string(current) + "\n");
    put(at + "memory.stat", "anon 1\nfile 2\ninactive_anon 7\nshmem 5\ninactive_file "
                              + std::to_string(inactive_file) + "\nslab 9\n" + more);
  }

  void v1_group(const std::string& path, uint64_t limit, uint64_t usage, uint64_t inactive_file,
                const std::string& more = "") {
    const auto at = "sys/fs/cgroup/memory" + path + "/";
    put(at + "memory.limit_in_bytes", std::to_string(limit) + "\n");
    put(at + "memory.usage_in_bytes", std::to_string(usage) + "\n");
    put(at + "memory.stat", "inactive_file 3\nactive_file 4\ntotal_inactive_file "
                              + std::to_string(inactive_file) + "\n" + more);
  }

  container_memory read(uint64_t limit_override = 0) const {
    auto x = read_container_memory(dir_.path(), limit_override);
    EXPECT_TRUE(x) << x.error().describe();
    return x.value_or(container_memory{});
  }

  const fs::path& path() const { return dir_.path(); }

private:
  temp_dir dir_;
};

/// What the kernel shows for a v1 group without a limit.
constexpr uint64_t v1_unlimited = 9223372036854771712u;

} // namespace

TEST(ContainerMemory, V2CountsWithoutTheCacheOfFiles) {
  fake_root root;
  root.put("proc/self/cgroup", "0::/app\n");
  root.put("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
  root.v2_group("/app", std::to_string(1024 * mib), 700 * mib, 100 * mib);
  const auto x = root.read();
  EXPECT_EQ(x.source, "cgroup2");
  EXPECT_EQ(x.used, 600 * mib);
  EXPECT_EQ(x.limit, 1024 * mib);
  EXPECT_DOUBLE_EQ(x.share(), 600.0 / 1024);
}

TEST(ContainerMemory, V2CountsNoFileThatIsReadAgainAndAgain) {
  fake_root root;
  root.put("proc/self/cgroup", "0::/app\n");
  root.put("sys/fs/cgroup/cgroup.controllers", "memory\n");
  // A model of 600 MiB, read twice: its pages are active.
  root.v2_group("/app", std::to_string(1000 * mib), 960 * mib, 10 * mib,
                "active_file " + std::to_string(600 * mib) + "\nslab_reclaimable "
                  + std::to_string(20 * mib) + "\n");
  EXPECT_EQ(root.read().used, 330 * mib);
}

TEST(ContainerMemory, V2CountsWhatIsSwappedOut) {
  fake_root root;
  root.put("proc/self/cgroup", "0::/app\n");
  root.put("sys/fs/cgroup/cgroup.controllers", "memory\n");
  root.v2_group("/app", std::to_string(1000 * mib), 400 * mib, 0,
                "swapcached " + std::to_string(50 * mib) + "\n");
  EXPECT_EQ(root.read().used, 400 * mib) << "without a swap controller";
  root.put("sys/fs/cgroup/app/memory.swap.current", std::to_string(450 * mib) + "\n");
  EXPECT_EQ(root.read().used, 800 * mib) << "what was leaked and lies on the disk";
  EXPECT_DOUBLE_EQ(root.read().share(), 0.8);
  root.put("sys/fs/cgroup/app/memory.swap.current", std::to_string(20 * mib) + "\n");
  EXPECT_EQ(root.read().used, 400 * mib) << "all of it is in memory as well";
}

TEST(ContainerMemory, V1CountsNoFileThatIsReadAgainAndAgainAndWhatIsSwappedOut) {
  fake_root root;
  root.put("proc/self/cgroup", "5:memory:/app\n");
  root.v1_group("/app", 1000 * mib, 900 * mib, 100 * mib,
                "total_active_file " + std::to_string(500 * mib) + "\ntotal_swap "
                  + std::to_string(70 * mib) + "\n");
  EXPECT_EQ(root.read().used, 370 * mib);
  root.put("sys/fs/cgroup/memory/app/memory.memsw.usage_in_bytes", std::to_string(980 * mib));
  EXPECT_EQ(root.read().used, 380 * mib) << "of memory and swap together, where it is known";
}

TEST(ContainerMemory, V1WithoutAnAccountOfSwapCountsMemoryOnly) {
  fake_root root;
  root.put("proc/self/cgroup", "5:memory:/app\n");
  root.v1_group("/app", 1000 * mib, 900 * mib, 100 * mib);
  EXPECT_EQ(root.read().used, 800 * mib);
}

TEST(ContainerMemory, V2TakesTheTightestOfItsAncestors) {
  fake_root root;
  root.put("proc/self/cgroup", "0::/pod/app/worker\n");
  root.put("sys/fs/cgroup/cgroup.controllers", "memory\n");
  root.v2_group("", "max", 5000 * mib, 0);
  root.v2_group("/pod", std::to_string(512 * mib), 400 * mib, 10 * mib);
  root.v2_group("/pod/app", "max", 300 * mib, 20 * mib);
  root.v2_group("/pod/app/worker", std::to_string(2048 * mib), 200 * mib, 30 * mib);
  root.v2_group("/pod/other", std::to_string(1 * mib), 1 * mib, 0);
  const auto x = root.read();
  EXPECT_EQ(x.limit, 512 * mib);
  EXPECT_EQ(x.used, 390 * mib) << "of the group that has the limit";
}

TEST(ContainerMemory, V2TakesTheMountWhenItsPathIsThatOfTheHost) {
  fake_root root;
  root.put("proc/self/cgroup", "0::/system.slice/docker-0123.scope\n");
  root.put("sys/fs/cgroup/cgroup.controllers", "memory\n");
  root.v2_group("", std::to_string(1024 * mib), 50 * mib, 0);
  EXPECT_EQ(root.read().limit, 1024 * mib);
  root.put("proc/self/cgroup", "0::/../../elsewhere\n");
  EXPECT_EQ(root.read().limit, 1024 * mib);
  root.put("proc/self/cgroup", "0::/\n");
  EXPECT_EQ(root.read().limit, 1024 * mib);
}

TEST(ContainerMemory, V2WithoutAnyLimitIsTheHost) {
  fake_root root;
  root.put("proc/self/cgroup", "0::/app\n");
  root.put("sys/fs/cgroup/cgroup.controllers", "memory\n");
  root.v2_group("", "max", 50 * mib, 0);
  root.v2_group("/app", "max", 40 * mib, 0);
  const auto x = root.read();
  EXPECT_EQ(x.source, "host");
  EXPECT_EQ(x.limit, 8192 * mib);
  EXPECT_EQ(x.used, 2048 * mib);
}

TEST(ContainerMemory, MoreCacheThanUseIsNoUse) {
  fake_root root;
  root.put("proc/self/cgroup", "0::/app\n");
  root.put("sys/fs/cgroup/cgroup.controllers", "memory\n");
  root.v2_group("/app", std::to_string(100 * mib), 10 * mib, 11 * mib);
  EXPECT_EQ(root.read().used, 0u) << "the two files are read one after the other";
}

TEST(ContainerMemory, V2WithoutStatisticsCountsAll) {
  fake_root root;
  root.put("proc/self/cgroup", "0::/app\n");
  root.put("sys/fs/cgroup/cgroup.controllers", "memory\n");
  root.put("sys/fs/cgroup/app/memory.max", "1000\n");
  root.put("sys/fs/cgroup/app/memory.current", "900\n");
  EXPECT_EQ(root.read().used, 900u);
}

TEST(ContainerMemory, V1TakesTheTightestOfItsAncestors) {
  fake_root root;
  root.put("proc/self/cgroup", "12:cpu,cpuacct:/x\n5:memory:/docker/abc\n0::/\n");
  root.v1_group("", v1_unlimited, 6000 * mib, 0);
  root.v1_group("/docker", 2048 * mib, 900 * mib, 0);
  root.v1_group("/docker/abc", 1024 * mib, 800 * mib, 200 * mib);
  const auto x = root.read();
  EXPECT_EQ(x.source, "cgroup1");
  EXPECT_EQ(x.limit, 1024 * mib);
  EXPECT_EQ(x.used, 600 * mib);
}

TEST(ContainerMemory, V1FindsItsControllerAmongSeveral) {
  fake_root root;
  root.put("proc/self/cgroup", "4:cpu,memory,pids:/a\n3:memory_not:/b\n");
  root.v1_group("/a", 64 * mib, 32 * mib, 0);
  root.v1_group("/b", 1 * mib, 1 * mib, 0);
  EXPECT_EQ(root.read().limit, 64 * mib);
}

TEST(ContainerMemory, V1TakesTheMountWhenItsPathIsThatOfTheHost) {
  fake_root root;
  root.put("proc/self/cgroup", "5:memory:/docker/0123\n");
  root.v1_group("", 256 * mib, 100 * mib, 0);
  EXPECT_EQ(root.read().limit, 256 * mib);
}

TEST(ContainerMemory, V1WithoutALimitIsTheHost) {
  fake_root root;
  root.put("proc/self/cgroup", "5:memory:/\n");
  root.v1_group("", v1_unlimited, 100 * mib, 0);
  EXPECT_EQ(root.read().source, "host");
}

TEST(ContainerMemory, V2BesideV1ControllersFallsBackToV1) {
  fake_root root; // "hybrid": v2 is there for systemd, memory is v1's
  root.put("proc/self/cgroup", "5:memory:/app\n0::/app\n");
  root.put("sys/fs/cgroup/unified/cgroup.controllers", "\n");
  root.v1_group("/app", 128 * mib, 64 * mib, 0);
  EXPECT_EQ(root.read().source, "cgroup1");
}

TEST(ContainerMemory, WithoutCgroupsItIsTheHost) {
  fake_root root;
  const auto x = root.read();
  EXPECT_EQ(x.source, "host");
  EXPECT_DOUBLE_EQ(x.share(), 0.25);
}

TEST(ContainerMemory, RubbishInTheFilesIsTheHost) {
  fake_root root;
  root.put("proc/self/cgroup", "rubbish\n:\n0:\n\n0::\n");
  root.put("sys/fs/cgroup/cgroup.controllers", "memory\n");
  root.put("sys/fs/cgroup/memory.max", "many\n");
  root.put("sys/fs/cgroup/memory.current", "");
  EXPECT_EQ(root.read().source, "host");
}

TEST(ContainerMemory, ALimitOfOursReplacesTheKernels) {
  fake_root root;
  EXPECT_EQ(root.read(4096 * mib).limit, 4096 * mib);
  EXPECT_EQ(root.read(4096 * mib).used, 2048 * mib);
}

TEST(ContainerMemory, WithNothingAtAllItIsAnError) {
  temp_dir empty;
  const auto x = read_container_memory(empty.path());
  ASSERT_FALSE(x);
  EXPECT_EQ(x.error().code, errc::io);
  EXPECT_NE(x.error().message.find("meminfo"), std::string::npos);
}

TEST(ContainerMemory, NoLimitIsNoShare) { EXPECT_EQ(container_memory{}.share(), 0); }

TEST(ContainerMemory, OfThisVeryMachineIsPlausible) {
  const auto x = read_container_memory();
  ASSERT_TRUE(x) << x.error().describe();
  EXPECT_GT(x->used, 0u);
  EXPECT_GT(x->limit, 0u);
}

namespace {

/// What is read of a process whose smaps_rollup has these lines.
expected<process_memory> read_rollup(const std::string& lines) {
  fake_root root;
  root.put("proc/77/smaps_rollup", "00400000-7fff [rollup]\n" + lines);
  return read_process_memory(77, root.path() / "proc");
}

} // namespace

TEST(ProcessMemory, ReadsTheSumsOfTheKernel) {
  const auto x = read_rollup("Rss: 1000 kB\nPss: 600 kB\n"
                             "Shared_Clean: 300 kB\nShared_Dirty: 100 kB\n"
                             "Private_Clean: 50 kB\nPrivate_Dirty: 550 kB\n"
                             "Anonymous: 650 kB\n");
  ASSERT_TRUE(x) << x.error().describe();
  EXPECT_EQ(x->rss, 1000u * 1024);
  EXPECT_EQ(x->pss, 600u * 1024);
  EXPECT_EQ(x->private_bytes, 550u * 1024);
  EXPECT_EQ(x->shared_bytes, 400u * 1024);
  EXPECT_EQ(x->anonymous, 650u * 1024);
}

TEST(ProcessMemory, DoesNotGrowWhenTheLastOtherProcessWithTheSameLibrariesEnds) {
  // A worker of a test of the healing ladder, by the kernel, before and after another process
  // that had mapped the same pages of libtorch ended.
  const auto before = read_rollup("Rss: 136132 kB\n"
                                  "Shared_Clean: 24148 kB\nShared_Dirty: 65344 kB\n"
                                  "Private_Clean: 32 kB\nPrivate_Dirty: 46608 kB\n"
                                  "Anonymous: 111952 kB\n");
  const auto after = read_rollup("Rss: 136132 kB\n"
                                 "Shared_Clean: 20124 kB\nShared_Dirty: 65344 kB\n"
                                 "Private_Clean: 4056 kB\nPrivate_Dirty: 46608 kB\n"
                                 "Anonymous: 111952 kB\n");
  ASSERT_TRUE(before && after);
  EXPECT_EQ(after->private_bytes, before->private_bytes);
}

TEST(ProcessMemory, CountsWhatCameBackFromSwapAndWasNotWrittenSince) {
  const auto x = read_rollup("Rss: 1000 kB\n"
                             "Shared_Clean: 100 kB\nShared_Dirty: 200 kB\n"
                             "Private_Clean: 500 kB\nPrivate_Dirty: 200 kB\n"
                             "Anonymous: 850 kB\nSwap: 300 kB\n");
  ASSERT_TRUE(x) << x.error().describe();
  EXPECT_EQ(x->private_bytes, 650u * 1024) << "450 KiB of the clean pages are in no file";
}

TEST(ProcessMemory, SeesWhatThisProcessTakesAndGivesBack) {
  const auto before = read_process_memory(::getpid());
  ASSERT_TRUE(before) << before.error().describe();
  EXPECT_GT(before->private_bytes, 0u);
  EXPECT_GE(before->rss, before->private_bytes);
  // More than all there was.
  const auto size = (before->rss / mib + 64) * mib;
  auto memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::memset(memory, 1, size);
  const auto with = read_process_memory(::getpid());
  ::munmap(memory, size);
  const auto after = read_process_memory(::getpid());
  ASSERT_TRUE(with && after);
  EXPECT_GE(with->private_bytes, size);
  EXPECT_GE(with->anonymous, before->anonymous + size);
  EXPECT_LT(after->private_bytes, size);
  EXPECT_LT(after->anonymous, with->anonymous - size / 2);
}

TEST(ProcessMemory, OfAProcessThatIsNotThereIsAnError) {
  fake_root root;
  const auto absent = read_process_memory(77, root.path() / "proc");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, errc::io);
  root.put("proc/78/smaps_rollup", ""); // as a zombie's
  const auto empty = read_process_memory(78, root.path() / "proc");
  ASSERT_FALSE(empty);
  EXPECT_NE(empty.error().message.find("gone"), std::string::npos);
}

TEST(ProcessMemory, IsReadWithoutSmapsRollup) {
  fake_root root;
  root.put("proc/7/smaps",
           "00400000-00452000 r-xp 00000000 08:02 173521 /usr/bin/dbus-daemon\n"
           "Size: 328 kB\nRss: 100 kB\nPss: 50 kB\nShared_Clean: 60 kB\nShared_Dirty: 0 kB\n"
           "Private_Clean: 40 kB\nPrivate_Dirty: 0 kB\nAnonymous: 0 kB\nVmFlags: rd ex mr\n"
           "00e03000-00e24000 rw-p 00000000 00:00 0 [heap]\n"
           "Size: 132 kB\nRss: 132 kB\nPss: 132 kB\nPrivate_Dirty: 132 kB\nAnonymous: 132 kB\n");
  const auto each = read_process_memory(7, root.path() / "proc");
  ASSERT_TRUE(each) << each.error().describe();
  EXPECT_EQ(each->source, "smaps");
  EXPECT_EQ(each->rss, 232u * 1024);
  EXPECT_EQ(each->private_bytes, 132u * 1024);
  EXPECT_EQ(each->shared_bytes, 60u * 1024);
  EXPECT_EQ(each->anonymous, 132u * 1024);

  root.put("proc/8/statm", "5000 900 300 10 0 600 0\n");
  const auto pages = read_process_memory(8, root.path() / "proc");
  ASSERT_TRUE(pages) << pages.error().describe();
  EXPECT_EQ(pages->source, "statm");
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  EXPECT_EQ(pages->rss, 900 * page);
  EXPECT_EQ(pages->private_bytes, 600 * page);
  EXPECT_EQ(pages->anonymous, 600 * page);

  root.put("proc/9/statm", "0 0 0 0 0 0 0\n"); // it has ended and waits to be reaped
  EXPECT_FALSE(read_process_memory(9, root.path() / "proc"));
  EXPECT_FALSE(read_process_memory(10, root.path() / "proc"));
}
