#include "messaging/log_position.hpp"

#include <gtest/gtest.h>

namespace ziyu::messaging {

namespace {

using verdict = log_position::verdict;

/// Has read offsets 10 to 14 under leader 3.
log_position reader() {
  log_position x;
  x.begin(10);
  for (int64_t offset = 10; offset < 15; ++offset)
    EXPECT_EQ(x.see(offset, 3), verdict::next);
  return x;
}

} // namespace

TEST(LogPosition, FollowsRecordsAcrossAChangeOfLeader) {
  auto x = reader();
  EXPECT_EQ(x.next(), 15);
  EXPECT_EQ(x.see(15, 4), verdict::next);
  EXPECT_EQ(x.see(16, -1), verdict::next) << "an old format knows no leaders";
  EXPECT_EQ(x.see(17, 4), verdict::next);
  EXPECT_FALSE(x.take_gap());
}

TEST(LogPosition, TakesTheLastRecordOfTheSameLeaderForARepeat) {
  auto x = reader();
  EXPECT_EQ(x.see(14, 3), verdict::repeat);
  EXPECT_EQ(x.next(), 15);
}

TEST(LogPosition, ALogThatWasCutOffByOneAndRewrittenShowsByItsLeader) {
  auto x = reader();
  EXPECT_EQ(x.see(14, 4), verdict::went_back);
}

TEST(LogPosition, ALogThatWasCutOffByMoreShowsByItsOffset) {
  auto x = reader();
  EXPECT_EQ(x.see(13, 3), verdict::went_back);
  EXPECT_EQ(x.see(0, -1), verdict::went_back);
}

TEST(LogPosition, ATopicThatWasMadeAnewAndHasGrownToWhereWeAreShowsByAnEarlierLeader) {
  auto x = reader();
  EXPECT_EQ(x.see(15, 0), verdict::made_anew);
  EXPECT_EQ(x.see(14, 0), verdict::made_anew);
  log_position y;
  y.begin(20, 3); // what was committed
  EXPECT_EQ(y.see(20, 0), verdict::made_anew);
}

TEST(LogPosition, WithoutLeadersOnlyOffsetsCount) {
  log_position x;
  x.begin(0);
  EXPECT_EQ(x.see(0, -1), verdict::next);
  EXPECT_EQ(x.see(1, -1), verdict::next);
  EXPECT_EQ(x.see(1, 5), verdict::repeat);
  EXPECT_EQ(x.see(0, 5), verdict::went_back);
}

TEST(LogPosition, IsNotSurprisedByALogThatDoesNotReachItsBeginning) {
  log_position x;
  x.begin(100);
  EXPECT_EQ(x.see(40, 0), verdict::next) << "the offset was reset";
  EXPECT_FALSE(x.take_gap());
}

TEST(LogPosition, GoesOnInALogThatWentBack) {
  auto x = reader();
  x.restart(12);
  EXPECT_EQ(x.next(), 12);
  EXPECT_EQ(x.see(12, 4), verdict::next);
  EXPECT_EQ(x.see(13, 4), verdict::next);
}

TEST(LogPosition, TellsWhatItPassedOverOnce) {
  auto x = reader();
  EXPECT_EQ(x.see(20, 3), verdict::next);
  auto gap = x.take_gap();
  ASSERT_TRUE(gap);
  EXPECT_EQ(gap->from, 15);
  EXPECT_EQ(gap->past, 20);
  EXPECT_FALSE(x.take_gap());
  x.see_end(21);
  EXPECT_FALSE(x.take_gap()) << "the end of the log, and no more";
  x.see_end(30);
  gap = x.take_gap();
  ASSERT_TRUE(gap);
  EXPECT_EQ(gap->from, 21);
  EXPECT_EQ(gap->past, 30);
  log_position fresh;
  EXPECT_EQ(fresh.see(50, 0), verdict::next);
  EXPECT_FALSE(fresh.take_gap()) << "nobody knows where it would have begun";
}

} // namespace ziyu::messaging
