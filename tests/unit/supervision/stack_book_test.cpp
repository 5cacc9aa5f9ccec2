#include "supervision/stack_book.hpp"

#include <gtest/gtest.h>

using namespace ziyu::supervision;

namespace {

stack_growth grown(uint64_t address, double bytes) {
  stack_growth x;
  x.addresses = {address, 0x1000};
  x.bytes = bytes;
  return x;
}

stack_cause known(uint64_t address, leak_cause cause) {
  return {fingerprint({address, 0x1000}), cause};
}

} // namespace

TEST(StackBook, KnowsNothingAtFirst) {
  const stack_book aut;
  EXPECT_FALSE(aut.recognise({grown(1, 100)}));
  EXPECT_FALSE(aut.recognise({}));
}

TEST(StackBook, AddsUpTheGrowthByCauseAndNamesTheReportOfTheLargestStack) {
  stack_book aut;
  aut.learn({known(1, leak_cause::retained_tensors), known(2, leak_cause::retained_tensors)}, "a");
  aut.learn({known(3, leak_cause::retained_images)}, "b");
  const auto found = aut.recognise({grown(1, 30), grown(2, 25), grown(3, 40), grown(9, 5)});
  ASSERT_TRUE(found);
  EXPECT_DOUBLE_EQ(found->known, 0.95);
  EXPECT_EQ(found->report, "b");
  ASSERT_EQ(found->sites.size(), 3u);
  EXPECT_EQ(found->sites[0].cause, leak_cause::retained_tensors);
  EXPECT_DOUBLE_EQ(found->sites[0].bytes, 55);
  EXPECT_DOUBLE_EQ(found->sites[1].share, 0.4);
  EXPECT_EQ(found->sites[2].cause, leak_cause::unknown);
}

TEST(StackBook, DoesNotSpeakForGrowthThatIsMostlyUnknown) {
  stack_book aut;
  aut.learn({known(1, leak_cause::retained_tensors)}, "a");
  EXPECT_TRUE(aut.recognise({grown(1, 50), grown(2, 50)}));
  EXPECT_FALSE(aut.recognise({grown(1, 49), grown(2, 51)}));
}

TEST(StackBook, IgnoresWhatShrank) {
  stack_book aut;
  aut.learn({known(1, leak_cause::retained_tensors)}, "a");
  const auto found = aut.recognise({grown(1, 10), grown(2, -500)});
  ASSERT_TRUE(found);
  EXPECT_DOUBLE_EQ(found->known, 1);
}

TEST(StackBook, DoesNotLearnWhatAReportCouldNotName) {
  stack_book aut;
  aut.learn({known(1, leak_cause::unknown)}, "a");
  EXPECT_EQ(aut.size(), 0u);
}

TEST(StackBook, BelievesTheLatestReport) {
  stack_book aut;
  aut.learn({known(1, leak_cause::native_allocation)}, "a");
  aut.learn({known(1, leak_cause::thread_local_growth)}, "b");
  const auto found = aut.recognise({grown(1, 10)});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->sites[0].cause, leak_cause::thread_local_growth);
  EXPECT_EQ(found->report, "b");
}

TEST(StackBook, ForgetsTheOldestBeyondItsCapacityAndAllWhenTold) {
  stack_book aut{2};
  for (uint64_t i = 1; i <= 3; ++i)
    aut.learn({known(i, leak_cause::retained_tensors)}, std::to_string(i));
  EXPECT_EQ(aut.size(), 2u);
  EXPECT_FALSE(aut.recognise({grown(1, 10)}));
  EXPECT_TRUE(aut.recognise({grown(3, 10)}));
  aut.clear();
  EXPECT_FALSE(aut.recognise({grown(3, 10)}));
}

TEST(StackBook, KnowsACauseLongerThanTheReportThatNamedIt) {
  stack_book aut;
  aut.learn({known(1, leak_cause::retained_tensors)}, "first");
  for (auto i = 0; i < 1'000; ++i)
    aut.learn({}, "later");
  const auto found = aut.recognise({grown(1, 10)});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->sites[0].cause, leak_cause::retained_tensors);
  EXPECT_EQ(found->report, "");
}

TEST(Fingerprint, DependsOnEachAddressAndTheirOrder) {
  EXPECT_EQ(fingerprint({1, 2}), fingerprint({1, 2}));
  EXPECT_NE(fingerprint({1, 2}), fingerprint({2, 1}));
  EXPECT_NE(fingerprint({1}), fingerprint({1, 0}));
  EXPECT_EQ(fingerprint({}), 0xcbf29ce484222325u);
}
