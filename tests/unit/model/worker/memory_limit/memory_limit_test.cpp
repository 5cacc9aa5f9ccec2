#include "model/worker/memory_limit.hpp"

#include "base/file.hpp"

#include <gtest/gtest.h>

namespace ziyu::worker {
namespace {

class MemoryLimit : public ::testing::Test {
protected:
  void put(const std::string& path, const std::string& content) {
    const auto file = folder.path() / path;
    std::filesystem::create_directories(file.parent_path());
    ASSERT_TRUE(write_file(file, content));
  }
  std::optional<uint64_t> read() const { return read_memory_limit(folder.path()); }

  temp_dir folder;
};

TEST_F(MemoryLimit, IsNoneWithoutCgroups) { EXPECT_EQ(read(), std::nullopt); }

TEST_F(MemoryLimit, IsTheTightestOfAllAncestorsInVersion2) {
  put("proc/self/cgroup", "0::/a/b\n");
  put("sys/fs/cgroup/a/b/memory.max", "max\n");
  put("sys/fs/cgroup/a/memory.max", "104857600\n");
  put("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(read(), 104857600u);
}

TEST_F(MemoryLimit, ReadsVersion1) {
  put("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/y\n0::/\n");
  put("sys/fs/cgroup/memory/y/memory.limit_in_bytes", "209715200\n");
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(read(), 209715200u);
}

TEST_F(MemoryLimit, IsNoneWhenVersion1HasNone) {
  put("proc/self/cgroup", "4:memory:/y\n");
  put("sys/fs/cgroup/memory/y/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(read(), std::nullopt);
}

TEST_F(MemoryLimit, FallsBackToTheRootThatAContainerSees) {
  put("proc/self/cgroup", "0::/only/on/the/host\n");
  put("sys/fs/cgroup/memory.max", "1048576\n");
  EXPECT_EQ(read(), 1048576u);
}

TEST_F(MemoryLimit, IgnoresRubbish) {
  put("proc/self/cgroup", "rubbish\n::\n0::/a\n");
  put("sys/fs/cgroup/a/memory.max", "12x\n");
  EXPECT_EQ(read(), std::nullopt);
}

} // namespace
} // namespace ziyu::worker
