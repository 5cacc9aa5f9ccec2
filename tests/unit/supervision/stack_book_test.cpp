#include "supervision/stack_book.hpp"

#include <gtest/gtest.h>

using namespace ziyu::supervision;

namespace {

struct held {
  uint64_t address, bytes;
};

/// A dump of one object per stack, each so large that it was surely sampled.
std::string dump(const std::vector<held>& stacks) {
  auto text = std::string{"heap_v2/1\n  t*: 1: 1 [0: 0]\n"};
  for (const auto& x : stacks) {
    char line[120];
    std::snprintf(
      line, sizeof line, "@ 0x%llx 0x1000\n  t*: 1: %llu [0: 0]\n  t0: 1: %llu [0: 0]\n",
      static_cast<unsigned long long>(x.address), static_cast<unsigned long long>(x.bytes),
      static_cast<unsigned long long>(x.bytes));
    text += line;
  }
  return text;
}

stack_cause known(uint64_t address, leak_cause cause) {
  return {fingerprint({address, 0x1000}), cause};
}

} // namespace

TEST(StackBook, KnowsNothingAtFirst) {
  const stack_book aut;
  EXPECT_FALSE(aut.recognise(dump({{1, 100}})));
  EXPECT_FALSE(aut.recognise(dump({}))) << "nothing is held";
  EXPECT_FALSE(aut.recognise("no dump"));
}

TEST(StackBook, AddsUpTheGrowthByCauseAndNamesTheReportOfTheLargestStack) {
  stack_book aut;
  aut.learn({known(1, leak_cause::retained_tensors), known(2, leak_cause::retained_tensors)}, "a");
  aut.learn({known(3, leak_cause::retained_images)}, "b");
  const auto found = aut.recognise(dump({{1, 300}, {2, 250}, {3, 400}, {9, 50}}));
  ASSERT_TRUE(found);
  EXPECT_DOUBLE_EQ(found->known, 0.95);
  EXPECT_EQ(found->report, "b");
  ASSERT_EQ(found->sites.size(), 3u);
  EXPECT_EQ(found->sites[0].cause, leak_cause::retained_tensors);
  EXPECT_DOUBLE_EQ(found->sites[0].bytes, 550);
  EXPECT_DOUBLE_EQ(found->sites[1].share, 0.4);
  EXPECT_EQ(found->sites[2].cause, leak_cause::unknown);
}

TEST(StackBook, DoesNotSpeakForGrowthThatIsMostlyUnknown) {
  stack_book aut;
  aut.learn({known(1, leak_cause::retained_tensors)}, "a");
  EXPECT_TRUE(aut.recognise(dump({{1, 500}, {2, 500}})));
  EXPECT_FALSE(aut.recognise(dump({{1, 490}, {2, 510}})));
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
  const auto found = aut.recognise(dump({{1, 100}}));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->sites[0].cause, leak_cause::thread_local_growth);
  EXPECT_EQ(found->report, "b");
}

TEST(StackBook, ForgetsTheOldestBeyondItsCapacityAndAllWhenTold) {
  stack_book aut{4};
  for (uint64_t i = 1; i <= 5; ++i)
    aut.learn({known(i, leak_cause::retained_tensors)}, std::to_string(i));
  EXPECT_EQ(aut.size(), 4u);
  EXPECT_FALSE(aut.recognise(dump({{1, 100}})));
  EXPECT_TRUE(aut.recognise(dump({{2, 100}})));
  EXPECT_TRUE(aut.recognise(dump({{5, 100}})));
  aut.clear();
  EXPECT_EQ(aut.size(), 0u);
  EXPECT_FALSE(aut.recognise(dump({{5, 100}})));
}

TEST(StackBook, KnowsACauseLongerThanTheReportThatNamedIt) {
  stack_book aut;
  aut.learn({known(1, leak_cause::retained_tensors)}, "first");
  for (auto i = 0; i < 1'000; ++i)
    aut.learn({}, "later");
  const auto found = aut.recognise(dump({{1, 100}}));
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
