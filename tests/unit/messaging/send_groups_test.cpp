#include "messaging/send_groups.hpp"

#include <gtest/gtest.h>

namespace ziyu::messaging {

namespace {

using namespace std::chrono_literals;

class SendGroups : public ::testing::Test {
protected:
  /// Sends a group of `count` records; returns its number.
  uint64_t send(size_t count = 1) {
    uint64_t number = 0;
    for (size_t i = 0; i < count; ++i)
      number = groups.add(now);
    groups.close();
    return number;
  }

  send_groups groups{2, 100ms};
  send_groups::time_point now{1h};
};

} // namespace

TEST_F(SendGroups, LetsALoneRecordGoAtOnce) {
  for (auto i = 0; i < 10; ++i) {
    EXPECT_TRUE(groups.open(now));
    groups.settle(send());
  }
}

TEST_F(SendGroups, AreClosedWhileAsManyAreOnTheirWay) {
  const auto first = send();
  EXPECT_TRUE(groups.open(now)) << "the second";
  const auto second = send();
  EXPECT_FALSE(groups.open(now));
  groups.settle(second);
  EXPECT_TRUE(groups.open(now)) << "in whatever order they are answered";
  const auto third = send();
  EXPECT_FALSE(groups.open(now));
  groups.settle(first);
  groups.settle(third);
  EXPECT_TRUE(groups.open(now));
}

TEST_F(SendGroups, AGroupIsOnItsWayUntilItsLastRecordIsAnswered) {
  send();
  const auto three = send(3);
  groups.settle(three);
  groups.settle(three);
  EXPECT_FALSE(groups.open(now));
  groups.settle(three);
  EXPECT_TRUE(groups.open(now));
}

TEST_F(SendGroups, AGroupThatIsNotAnsweredHoldsNobodyUpForLong) {
  const auto stuck = send(2);
  send();
  now += 99ms;
  EXPECT_FALSE(groups.open(now));
  now += 1ms;
  EXPECT_TRUE(groups.open(now));
  groups.settle(stuck); // late, and of no matter
  const auto next = send();
  EXPECT_NE(next, stuck);
  EXPECT_TRUE(groups.open(now)) << "one is on its way";
}

TEST_F(SendGroups, EveryGroupHasItsOwnNumber) {
  const auto first = send(2);
  groups.settle(first);
  groups.settle(first);
  EXPECT_TRUE(groups.open(now)); // forgets it
  EXPECT_NE(send(), first);
}

} // namespace ziyu::messaging
