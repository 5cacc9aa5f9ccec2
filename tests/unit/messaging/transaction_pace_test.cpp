#include "messaging/transaction_pace.hpp"

#include <gtest/gtest.h>

using ziyu::messaging::transaction_pace;
using namespace std::chrono_literals;

namespace {

transaction_pace::settings limits() {
  transaction_pace::settings x;
  x.share = 0.1;
  x.min_interval = 10ms;
  x.max_interval = 1'000ms;
  x.max_records = 100;
  x.max_bytes = 1'000;
  return x;
}

} // namespace

TEST(TransactionPace, BeginsWithTheShortestInterval) {
  const transaction_pace x{limits()};
  EXPECT_EQ(x.interval(), 10ms);
  EXPECT_FALSE(x.due(1, 1, 9ms));
  EXPECT_TRUE(x.due(1, 1, 10ms));
}

TEST(TransactionPace, AnEmptyTransactionIsNeverDue) {
  const transaction_pace x{limits()};
  EXPECT_FALSE(x.due(0, 0, 1h));
}

TEST(TransactionPace, AFullOneIsDueAtOnce) {
  const transaction_pace x{limits()};
  EXPECT_TRUE(x.fits(99, 999));
  EXPECT_FALSE(x.fits(100, 1));
  EXPECT_FALSE(x.fits(1, 1'000));
  EXPECT_TRUE(x.due(100, 1, 0ms));
  EXPECT_TRUE(x.due(1, 1'000, 0ms));
}

TEST(TransactionPace, CommitsTakeTheirShareOfTheTime) {
  transaction_pace x{limits()};
  x.committed(1, 20ms);
  EXPECT_EQ(x.interval(), 180ms) << "20 of 200 ms are a tenth";
  x.committed(1, 100ms); // smoothed: 20 + (100 - 20) / 8
  EXPECT_EQ(x.interval(), 270ms);
}

TEST(TransactionPace, TheIntervalKeepsWithinItsBounds) {
  transaction_pace slow{limits()}, fast{limits()};
  slow.committed(1, 5'000ms);
  EXPECT_EQ(slow.interval(), 1'000ms);
  fast.committed(1, 0ms);
  EXPECT_EQ(fast.interval(), 10ms);
}

TEST(TransactionPace, AnAbortHalvesTheSizeAndFullCommitsBringItBack) {
  transaction_pace x{limits()};
  x.aborted();
  x.aborted();
  EXPECT_EQ(x.max_records(), 25u);
  x.committed(24, 1ms);
  EXPECT_EQ(x.max_records(), 25u) << "it was not full";
  x.committed(25, 1ms);
  EXPECT_EQ(x.max_records(), 50u);
  x.committed(50, 1ms);
  x.committed(100, 1ms);
  EXPECT_EQ(x.max_records(), 100u) << "never beyond what was set";
}

TEST(TransactionPace, OneRecordAlwaysFits) {
  transaction_pace x{limits()};
  for (auto i = 0; i < 20; ++i)
    x.aborted();
  EXPECT_EQ(x.max_records(), 1u);
  EXPECT_TRUE(x.fits(0, 0));
}
