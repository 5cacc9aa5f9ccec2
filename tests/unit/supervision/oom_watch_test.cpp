#include "base/file.hpp"
#include "supervision/memory_probe.hpp"
#include "supervision/oom_watch.hpp"

#include <gtest/gtest.h>

#include <filesystem>

using namespace ziyu;
using namespace ziyu::supervision;
using namespace std::chrono_literals;

namespace {

const oom_watch::clock::time_point start{};

class OomKills : public ::testing::Test {
protected:
  void put(const std::filesystem::path& file, const std::string& text) {
    const auto path = dir.path() / file;
    std::filesystem::create_directories(path.parent_path());
    ASSERT_TRUE(write_file(path, text));
  }

  temp_dir dir{"ziyu-oom-test"};
};

} // namespace

TEST(OomWatch, EachKillExplainsOneDeath) {
  oom_watch aut;
  aut.observe(7, start); // from before our start
  EXPECT_FALSE(aut.claim(start));
  aut.observe(9, start + 1s);
  EXPECT_TRUE(aut.claim(start + 1s));
  EXPECT_TRUE(aut.claim(start + 2s));
  EXPECT_FALSE(aut.claim(start + 2s));
  aut.observe(9, start + 3s);
  EXPECT_FALSE(aut.claim(start + 3s));
}

TEST(OomWatch, AKillExplainsNoDeathThatComesMuchLater) {
  oom_watch aut{10s};
  aut.observe(0, start);
  aut.observe(1, start + 1s);
  EXPECT_FALSE(aut.claim(start + 11s));
  aut.observe(2, start + 12s);
  EXPECT_TRUE(aut.claim(start + 21s));
}

TEST(OomWatch, TakesBackAClaimThatWasWrong) {
  oom_watch aut;
  aut.observe(0, start);
  aut.observe(1, start);
  EXPECT_TRUE(aut.claim(start));
  aut.give_back(start);
  EXPECT_TRUE(aut.claim(start));
  EXPECT_FALSE(aut.claim(start));
}

TEST(OomWatch, ACounterThatFallsIsAnotherCgroups) {
  oom_watch aut;
  aut.observe(100, start);
  aut.observe(3, start);
  EXPECT_FALSE(aut.claim(start));
  aut.observe(4, start);
  EXPECT_TRUE(aut.claim(start));
}

TEST_F(OomKills, AreReadFromOurCgroupOfVersionTwo) {
  put("proc/self/cgroup", "0::/pod/box\n");
  put("sys/fs/cgroup/pod/box/memory.events",
      "low 0\nhigh 0\nmax 12\noom 4\noom_kill 3\noom_group_kill 0\n");
  put("proc/vmstat", "oom_kill 50\n");
  EXPECT_EQ(read_oom_kills(dir.path()), 3u);
}

TEST_F(OomKills, AreReadFromTheMountWhereAContainersOwnPathIsNotThere) {
  put("proc/self/cgroup", "0::/somewhere/outside\n");
  put("sys/fs/cgroup/memory.events", "oom 1\noom_kill 1\n");
  EXPECT_EQ(read_oom_kills(dir.path()), 1u);
}

TEST_F(OomKills, AreReadFromOurCgroupOfVersionOne) {
  put("proc/self/cgroup", "5:memory:/box\n1:cpu:/box\n");
  put("sys/fs/cgroup/memory/box/memory.oom_control",
      "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
  EXPECT_EQ(read_oom_kills(dir.path()), 2u);
}

TEST_F(OomKills, AreTheHostsWhereNoCgroupCountsThem) {
  put("proc/self/cgroup", "");
  EXPECT_FALSE(read_oom_kills(dir.path()));
  put("proc/vmstat", "pgfault 9\noom_kill 8\n");
  EXPECT_EQ(read_oom_kills(dir.path()), 8u);
}
