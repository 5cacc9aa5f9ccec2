#include "actors/transaction_queue.hpp"

#include <gtest/gtest.h>

namespace ziyu::actors {

namespace {

using namespace std::chrono_literals;

publication make(int64_t offset, const std::string& topic = "a", size_t bytes = 10) {
  publication x;
  x.kind = publication_kind::result;
  messaging::outgoing content;
  content.topic = topic;
  content.value = std::string(bytes, 'x');
  x.content = std::make_shared<const messaging::outgoing>(std::move(content));
  x.source = {"image.jobs", 0, offset};
  x.epoch = 1;
  return x;
}

std::vector<int64_t> offsets_of(const std::vector<publication>& xs) {
  std::vector<int64_t> result;
  for (const auto& x : xs)
    result.push_back(x.source.offset);
  return result;
}

using offsets = std::vector<int64_t>;

class TransactionQueue : public ::testing::Test {
protected:
  /// The offsets of the next transaction, of so many records at the most.
  offsets take(size_t most = 100) {
    return offsets_of(aut.take(now, [most](size_t records, uint64_t) { return records < most; }));
  }

  transaction_queue aut;
  transaction_queue::clock::time_point now{};
};

} // namespace

TEST_F(TransactionQueue, GivesAsManyAsThereIsRoomForInTheirOrder) {
  for (auto i : {1, 2, 3})
    aut.push(make(i));
  const auto each = make(0).content->bytes();
  EXPECT_EQ(aut.bytes(), 3 * each);
  EXPECT_EQ(take(2), (offsets{1, 2}));
  EXPECT_EQ(aut.bytes(), each);
  EXPECT_EQ(take(0), (offsets{3})) << "at least one";
  EXPECT_EQ(take(), offsets{});
  EXPECT_EQ(aut.bytes(), 0u);
}

TEST_F(TransactionQueue, PutsAFailedTransactionBeforeAllOthers) {
  for (auto i : {1, 2, 3})
    aut.push(make(i));
  auto failed = aut.take(now, [](size_t n, uint64_t) { return n < 2; });
  aut.push_first(make(9));
  aut.put_back(std::move(failed));
  EXPECT_EQ(aut.bytes(), 4 * make(0).content->bytes());
  EXPECT_EQ(take(), (offsets{1, 2, 9, 3}));
}

TEST_F(TransactionQueue, GivesOneTopicAfterTheOtherWhileItIsSplit) {
  aut.push(make(1, "a"));
  aut.push(make(2, "b"));
  aut.push(make(3, "a"));
  aut.split_until(now + 1s);
  aut.split_until(now); // not earlier
  EXPECT_EQ(take(), (offsets{1, 3}));
  aut.push(make(4, "a"));
  EXPECT_EQ(take(), (offsets{2}));
  EXPECT_EQ(take(), (offsets{4}));
  aut.push(make(5, "a"));
  aut.push(make(6, "b"));
  now += 1s;
  EXPECT_EQ(take(), (offsets{5, 6}));
}

TEST_F(TransactionQueue, IsSplitNoMoreWhenTheTopicIsFound) {
  aut.push(make(1, "a"));
  aut.push(make(2, "b"));
  aut.split_until(now + 1s);
  aut.split_no_more();
  EXPECT_EQ(take(), (offsets{1, 2}));
}

TEST_F(TransactionQueue, TakesOutWhatIsGone) {
  for (auto i : {1, 2, 3})
    aut.push(make(i));
  EXPECT_EQ(offsets_of(aut.remove_if([](const publication& x) { return x.source.offset == 2; })),
            (offsets{2}));
  EXPECT_EQ(aut.size(), 2u);
  EXPECT_EQ(aut.bytes(), 2 * make(0).content->bytes());
}

TEST(PlannedBatch, DropsWhatIsNotOursAndTellsHowItEnded) {
  planned_batch aut;
  aut.records = {make(1, "a"), make(2, "b")};
  EXPECT_FALSE(aut.is_all_of("a"));
  EXPECT_EQ(aut.to_request().records.size(), 2u);
  transaction_plan plan;
  plan.ours = {false, true};
  plan.offsets.push_back({{"image.jobs", 0}, 3, "", -1});
  plan.points.items.push_back({{"image.jobs", 0}, 1, 7, std::nullopt, false});
  aut.obey(plan);
  EXPECT_TRUE(aut.is_all_of("b"));
  EXPECT_FALSE(aut.is_empty());
  const auto work = aut.to_transaction(5);
  EXPECT_EQ(work.id, 5u);
  ASSERT_EQ(work.records.size(), 1u);
  EXPECT_EQ(work.records[0].topic, "b");
  EXPECT_EQ(work.offsets.size(), 1u);
  EXPECT_TRUE(aut.committed(true).items.at(0).without_map);
  EXPECT_FALSE(aut.committed(true).items.at(0).failure);
  EXPECT_TRUE(aut.failed().items.at(0).failure);
}

} // namespace ziyu::actors
