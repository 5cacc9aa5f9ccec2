#include "messaging/stall_watchdog.hpp"

#include <gtest/gtest.h>

using namespace ziyu::messaging;
using namespace std::chrono_literals;

namespace {

using remedy = stall_watchdog::remedy;

const topic_partition jobs0{"image.jobs", 0}, jobs1{"image.jobs", 1};

partition_view at(int64_t position, int64_t log_end, bool held = false,
                  topic_partition where = jobs0) {
  return {std::move(where), 1, position, log_end, held};
}

} // namespace

TEST(StallWatchdog, LeavesWhatMovesAlone) {
  stall_watchdog x{30s};
  for (auto second = 0; second < 600; second += 10)
    EXPECT_TRUE(x.observe(std::chrono::seconds{second}, {at(second, 10'000)}).empty()) << second;
}

TEST(StallWatchdog, LeavesWhatHasNothingToBringAlone) {
  stall_watchdog x{30s};
  for (auto second = 0; second < 600; second += 10) {
    EXPECT_TRUE(x.observe(std::chrono::seconds{second}, {at(7, 7)}).empty());
    EXPECT_TRUE(x.observe(std::chrono::seconds{second}, {at(7, -1, false, jobs1)}).empty())
      << "its end is not known";
  }
}

TEST(StallWatchdog, LeavesWhatIsHeldAlone) {
  stall_watchdog x{30s};
  for (auto second = 0; second < 600; second += 10)
    EXPECT_TRUE(x.observe(std::chrono::seconds{second}, {at(7, 90, true)}).empty());
  EXPECT_TRUE(x.observe(610s, {at(7, 90)}).empty()) << "it may go on only now";
}

TEST(StallWatchdog, FindsAPartitionWithoutACommitThatNeverBroughtAnything) {
  stall_watchdog x{30s};
  EXPECT_TRUE(x.observe(0s, {at(-1, 90), at(-1, 0, false, jobs1)}).empty());
  const auto found = x.observe(30s, {at(-1, 90), at(-1, 0, false, jobs1)});
  ASSERT_EQ(found.size(), 1u) << "an empty one has nothing to bring";
  EXPECT_EQ(found[0].where, jobs0);
  EXPECT_EQ(found[0].what, remedy::seek);
  EXPECT_EQ(found[0].position, -1);
  EXPECT_EQ(found[0].lag, 90);
  EXPECT_TRUE(x.observe(60s, {at(90, 90)}).empty()) << "it helped";
}

TEST(StallWatchdog, EscalatesAtOnceWhenNobodyTellsWhatIsCommitted) {
  stall_watchdog x{30s};
  auto unknown = at(-1, -1);
  unknown.known = false;
  EXPECT_TRUE(x.observe(0s, {unknown}).empty());
  for (auto second = 30; second <= 90; second += 30) {
    const auto found = x.observe(std::chrono::seconds{second}, {unknown});
    ASSERT_EQ(found.size(), 1u) << second;
    EXPECT_EQ(found[0].what, remedy::escalate) << "a fresh client would have to ask, too";
    EXPECT_FALSE(found[0].known);
    EXPECT_EQ(found[0].lag, 0);
  }
  EXPECT_TRUE(x.observe(119s, {at(7, 90)}).empty()) << "now it is known";
  EXPECT_TRUE(x.observe(120s, {at(7, 90)}).empty()) << "what was before does not count";
}

TEST(StallWatchdog, SeeksThenReopensThenEscalates) {
  stall_watchdog x{30s};
  EXPECT_TRUE(x.observe(0s, {at(7, 90)}).empty());
  EXPECT_TRUE(x.observe(29s, {at(7, 95)}).empty());
  auto found = x.observe(30s, {at(7, 97), at(1, 1, false, jobs1)});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].where, jobs0);
  EXPECT_EQ(found[0].what, remedy::seek);
  EXPECT_EQ(found[0].position, 7);
  EXPECT_EQ(found[0].lag, 90);
  EXPECT_EQ(found[0].silent, 30s);
  EXPECT_TRUE(x.observe(59s, {at(7, 97)}).empty()) << "time for the seek to help";
  found = x.observe(60s, {at(7, 97)});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].what, remedy::reopen);
  EXPECT_TRUE(x.observe(70s, {}).empty()) << "the fresh client has nothing yet";
  EXPECT_TRUE(x.observe(80s, {at(7, 97)}).empty());
  found = x.observe(90s, {at(7, 97)});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].what, remedy::escalate);
  EXPECT_EQ(found[0].silent, 90s);
  found = x.observe(120s, {at(7, 97)});
  ASSERT_EQ(found.size(), 1u) << "again, as long as it lasts";
  EXPECT_EQ(found[0].what, remedy::escalate);
}

TEST(StallWatchdog, ForgetsAllAfterProgress) {
  stall_watchdog x{30s};
  x.observe(0s, {at(7, 90)});
  EXPECT_EQ(x.observe(30s, {at(7, 90)}).size(), 1u);
  EXPECT_TRUE(x.observe(40s, {at(8, 90)}).empty());
  EXPECT_TRUE(x.observe(69s, {at(8, 90)}).empty());
  const auto found = x.observe(70s, {at(8, 90)});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].what, remedy::seek);
}

TEST(StallWatchdog, AFreshClientThatStandsEarlierIsNoProgress) {
  stall_watchdog x{30s};
  x.observe(0s, {at(7, 90)});
  x.observe(30s, {at(7, 90)});
  const auto found = x.observe(60s, {at(5, 90)}); // from the commit
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].what, remedy::reopen);
}
