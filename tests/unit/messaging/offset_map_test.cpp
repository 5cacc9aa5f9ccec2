#include "messaging/offset_map.hpp"

#include "base/text.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::messaging;

namespace {

offset_map some_map() {
  offset_map x;
  x.finished = {{12, 15}, {20, 21}};
  x.attempts = {{10, 1}, {16, 2}};
  x.begun_below = 30;
  return x;
}

} // namespace

TEST(OffsetMap, NothingToSayIsNoMetadata) {
  EXPECT_EQ(encode_offset_map({}, 10), "");
  EXPECT_EQ(offset_map_bytes({}, 10), 0u);
  const auto x = decode_offset_map("", 10);
  EXPECT_TRUE(x.map.empty());
  EXPECT_EQ(x.ignored, "");
}

TEST(OffsetMap, ComesBackAsItWas) {
  const auto text = encode_offset_map(some_map(), 10);
  EXPECT_EQ(text.size(), offset_map_bytes(some_map(), 10));
  const auto x = decode_offset_map(text, 10, 21);
  EXPECT_EQ(x.ignored, "");
  EXPECT_EQ(x.map, some_map());
}

// A version that is written must be readable for ever: other instances of the group may
// be older or newer.
TEST(OffsetMap, WritesAndReadsVersionOneToTheByte) {
  EXPECT_EQ(encode_offset_map(some_map(), 10), "ziyu1:AQIcBBUCAAEGAtglvPs=");
  // The same as runs: 2 open, 3 finished, 5 open, 1 finished.
  offset_map runs;
  runs.finished = {{1'000, 2'000}};
  EXPECT_EQ(encode_offset_map(runs, 10), "ziyu1:AATeB+gHAAB3C9dg");
  EXPECT_EQ(decode_offset_map("ziyu1:AATeB+gHAAB3C9dg", 10).map, runs);
}

TEST(OffsetMap, ATransactionsMarkGoesWithItAndLeavesItAsItIs) {
  const auto marked = with_transaction_mark(encode_offset_map(some_map(), 10), "0a.7");
  EXPECT_EQ(marked, "ziyu1:AQIcBBUCAAEGAtglvPs=;0a.7");
  EXPECT_EQ(transaction_mark(marked), "0a.7");
  EXPECT_EQ(decode_offset_map(marked, 10).map, some_map());
  const auto alone = with_transaction_mark("", "0a.7");
  EXPECT_EQ(alone, "ziyu;0a.7");
  EXPECT_EQ(transaction_mark(alone), "0a.7");
  EXPECT_TRUE(decode_offset_map(alone, 10).map.empty());
  EXPECT_EQ(decode_offset_map(alone, 10).ignored, "");
  EXPECT_EQ(transaction_mark(encode_offset_map(some_map(), 10)), "");
  EXPECT_NE(decode_offset_map("ziyu;:AQIcBBUCAAEGAtglvPs=", 10).ignored, "") << "damaged";
}

TEST(OffsetMap, TakesTheShorterForm) {
  offset_map far;
  far.finished = {{1'000'000, 9'000'000}};
  EXPECT_LT(offset_map_bytes(far, 0), 30u) << "two numbers, not a million bytes";
  offset_map mixed; // every second one of 2000: a bit each, not two bytes
  for (int64_t i = 0; i < 1'000; ++i)
    mixed.finished.push_back({2 * i + 1, 2 * i + 2});
  EXPECT_LT(offset_map_bytes(mixed, 0), 360u);
  EXPECT_EQ(decode_offset_map(encode_offset_map(mixed, 0), 0).map, mixed);
}

TEST(OffsetMap, LeavesOutTheFarthestRangesWhenThereIsNoRoom) {
  offset_map x;
  x.attempts = {{0, 3}};
  x.begun_below = 5;
  for (int64_t i = 0; i < 3'000; ++i)
    x.finished.push_back({1'000 * i + 1, 1'000 * i + 2});
  ASSERT_GT(offset_map_bytes(x, 0), max_offset_metadata_bytes);
  const auto text = encode_offset_map(x, 0);
  EXPECT_LE(text.size(), max_offset_metadata_bytes);
  EXPECT_LE(with_transaction_mark(text, "0123456789abcdef.1234567").size(),
            max_offset_metadata_bytes);
  EXPECT_GT(text.size(), max_offset_metadata_bytes - max_transaction_mark_bytes - 16);
  const auto back = decode_offset_map(text, 0);
  EXPECT_EQ(back.ignored, "");
  EXPECT_EQ(back.map.attempts, x.attempts);
  EXPECT_EQ(back.map.begun_below, 5);
  ASSERT_GT(back.map.finished.size(), 500u);
  for (size_t i = 0; i < back.map.finished.size(); ++i)
    ASSERT_EQ(back.map.finished[i], x.finished[i]);
}

TEST(OffsetMap, KeepsTheNearestAttemptsWhenThereIsNoRoomForAll) {
  offset_map x;
  for (int64_t i = 0; i < 3'000; ++i)
    x.attempts[i] = 1;
  const auto back = decode_offset_map(encode_offset_map(x, 0), 0);
  EXPECT_EQ(back.ignored, "");
  ASSERT_GT(back.map.attempts.size(), 1'000u);
  EXPECT_EQ(back.map.attempts.rbegin()->first, static_cast<int64_t>(back.map.attempts.size()) - 1);
  EXPECT_EQ(encode_offset_map(x, 0, 10), "") << "no room for anything";
}

TEST(OffsetMap, KnowsWhatIsFinished) {
  const auto x = some_map();
  for (const auto offset : {12, 13, 14, 20})
    EXPECT_TRUE(x.has_finished(offset)) << offset;
  for (const auto offset : {0, 10, 11, 15, 19, 21, 1'000})
    EXPECT_FALSE(x.has_finished(offset)) << offset;
}

TEST(OffsetMap, MetadataOfOthersIsIgnoredWithTheReason) {
  auto reason = [](std::string_view text, int64_t base = 10) {
    const auto x = decode_offset_map(text, base);
    EXPECT_TRUE(x.map.empty()) << text;
    return x.ignored;
  };
  EXPECT_EQ(reason("spark checkpoint 7"), "it was not written by ziyu");
  EXPECT_EQ(reason("ziyu2:AAAA"), "its version is not known");
  EXPECT_EQ(reason("ziyu"), "its version is not known");
  EXPECT_EQ(reason("ziyu1:"), "it is corrupt: not base64, or cut off");
  EXPECT_EQ(reason("ziyu1:%%%"), "it is corrupt: not base64, or cut off");
  EXPECT_EQ(reason("ziyu1:AQIcBBUCAAEGAtglvPo="),
            "it is corrupt, or belongs to another offset: wrong checksum");
  EXPECT_EQ(reason(encode_offset_map(some_map(), 10), 11),
            "it is corrupt, or belongs to another offset: wrong checksum");
  EXPECT_EQ(reason(encode_offset_map(some_map(), 10), -1), "it is corrupt");
}

TEST(OffsetMap, AMapThatRunsPastTheEndOfTheLogIsOfAnotherLog) {
  const auto text = encode_offset_map(some_map(), 10);
  EXPECT_EQ(decode_offset_map(text, 10, 21).ignored, "");
  const auto x = decode_offset_map(text, 10, 20);
  EXPECT_EQ(x.ignored,
            "it has finished records beyond the end of the log, so it is of another log");
  EXPECT_TRUE(x.map.empty());
}
