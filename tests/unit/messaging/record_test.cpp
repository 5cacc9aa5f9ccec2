#include "messaging/record.hpp"

#include "messaging/header_bound.hpp"
#include "messaging/producer.hpp"

#include <gtest/gtest.h>

#include <malloc.h>

using namespace ziyu::messaging;

TEST(RecordId, ReadsAsTopicPartitionOffset) {
  const record_id id{"image.jobs", 3, 1'234'567'890'123};
  EXPECT_EQ(to_string(id), "image.jobs-3-1234567890123");
  EXPECT_EQ(id.where(), (topic_partition{"image.jobs", 3}));
}

TEST(RecordId, OrdersByTopicPartitionOffset) {
  EXPECT_LT((record_id{"a", 9, 9}), (record_id{"b", 0, 0}));
  EXPECT_LT((record_id{"a", 1, 9}), (record_id{"a", 2, 0}));
  EXPECT_LT((record_id{"a", 1, 8}), (record_id{"a", 1, 9}));
}

TEST(Headers, TheLastOfAName) {
  const header_list headers{{"a", "1"}, {"b", ""}, {"a", "2"}, {"c", std::nullopt}};
  EXPECT_EQ(find_header(headers, "a"), "2");
  EXPECT_EQ(find_header(headers, "b"), "") << "empty is not absent";
  EXPECT_EQ(find_header(headers, "c"), "") << "nor is null";
  EXPECT_EQ(find_header(headers, "A"), std::nullopt);
  EXPECT_EQ(find_header({}, "a"), std::nullopt);
}

TEST(Record, WeighsItsKeyItsValueAndItsHeaders) {
  record x;
  EXPECT_EQ(x.bytes(), 0u) << "a tombstone without a key";
  x.key = "four";
  x.value = std::make_shared<const std::string>(100, 'v');
  x.headers = {{"name", "七"}, {"empty", ""}, {"null", std::nullopt}};
  EXPECT_EQ(x.bytes(), 4u + 100 + 4 + 3 + 5 + 4 + 3 * sizeof(header_list::value_type));
}

TEST(Record, OfTinyHeadersWeighsWhatTheyTakeInMemory) {
  record x;
  const auto before = ::mallinfo2();
  x.headers.assign(max_headers, {"", std::nullopt});
  const auto after = ::mallinfo2();
  const auto taken = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
  EXPECT_GE(x.bytes() + 4096, taken);
}

TEST(Outgoing, WeighsItsKeyItsValueAndItsHeaders) {
  outgoing x;
  EXPECT_EQ(x.bytes(), 0u);
  x.key = "four";
  x.value = std::string(100, 'v');
  x.headers = {{"name", "七"}};
  EXPECT_EQ(x.bytes(), 4u + 100 + 4 + 3 + sizeof(header_list::value_type));
}
