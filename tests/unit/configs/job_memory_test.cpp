#include "configs/job_memory.hpp"

#include "configs/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::configs;
using testing::HasSubstr;

namespace {

constexpr uint64_t mib = 1u << 20;

tl::expected<loaded, std::vector<error>> with(const std::vector<std::string>& overrides) {
  return parse(R"({"kafka": {"bootstrap.servers": "b:9092", "group.id": "g"},
                   "model": {"path": "/m/1"}})",
               "/", overrides);
}

} // namespace

TEST(JobMemory, TheRoomOfAJobIsWhatIsBetweenBudgetAndHardLimitLessAReserve) {
  EXPECT_EQ(job_room(256 * mib, 512 * mib), 240 * mib);
  EXPECT_EQ(job_room(64 * mib, 128 * mib), 56 * mib) << "an eighth where that is less";
  EXPECT_EQ(job_room(10, 10), 0u);
  EXPECT_EQ(job_room(11, 10), 0u);
}

TEST(JobMemory, TheSmallestHardLimitIsIndeedTheSmallest) {
  for (const uint64_t budget : {uint64_t{1}, 20 * mib, 256 * mib})
    for (const uint64_t pixels : {uint64_t{1}, uint64_t{1'000'000}, uint64_t{24'000'000},
                                  uint64_t{39'145'000}, uint64_t{39'146'000}, most_pixels}) {
      const auto limit = least_hard_limit(budget, pixels);
      EXPECT_EQ(limit % mib, 0u);
      EXPECT_GE(fitting_pixels(budget, limit), pixels) << budget << " " << pixels;
      if (limit > budget + mib) {
        EXPECT_LT(job_room(budget, limit - mib), pixels * bytes_per_pixel)
          << budget << " " << pixels;
      }
    }
}

TEST(JobMemory, TheDefaultsHoldTheLargestImage) {
  const auto x = with({});
  ASSERT_TRUE(x);
  EXPECT_EQ(x->values.jobs.max_pixels, 100'000'000u);
  EXPECT_EQ(x->document["jobs"]["max_pixels"], 100'000'000u) << "what is used is what is shown";
}

TEST(JobMemory, WithSmallerLimitsThereAreAsManyPixelsAsFit) {
  const auto x = with({"memory.worker_budget_bytes=42MiB", "memory.worker_hard_limit_bytes=63MiB"});
  ASSERT_TRUE(x);
  // 21 MiB, less an eighth, at 3 bytes.
  EXPECT_EQ(x->values.jobs.max_pixels, 6'422'528u);
  const auto off = with({"memory.worker_budget_bytes=42MiB", "memory.worker_hard_limit_bytes=63MiB",
                         "healing.enabled=false"});
  ASSERT_TRUE(off);
  EXPECT_EQ(off->values.jobs.max_pixels, most_pixels) << "nobody is killed";
}

TEST(JobMemory, AskingForMoreThanFitsIsRefusedWithTheNumbersAndWhatToSet) {
  const std::vector<std::string> small{"memory.worker_budget_bytes=42MiB",
                                       "memory.worker_hard_limit_bytes=63MiB"};
  auto asked = small;
  asked.emplace_back("jobs.max_pixels=24000000");
  const auto x = with(asked);
  ASSERT_FALSE(x);
  ASSERT_EQ(x.error().size(), 1u);
  const auto& message = x.error()[0].message;
  for (const auto* part : {"jobs.max_pixels: 24000000", "68.7 MiB", "memory.worker_budget_bytes",
                           "memory.worker_hard_limit_bytes", "6422528 at most", "121MiB at least"})
    EXPECT_THAT(message, HasSubstr(part));
  asked[1] = "memory.worker_hard_limit_bytes=121MiB";
  EXPECT_TRUE(with(asked));
  asked[1] = "memory.worker_hard_limit_bytes=120MiB";
  EXPECT_FALSE(with(asked));
  asked[1] = small[1];
  asked[2] = "jobs.max_pixels=6422528";
  EXPECT_TRUE(with(asked));
  asked[2] = "jobs.max_pixels=24000000";
  asked.emplace_back("healing.enabled=false");
  EXPECT_TRUE(with(asked));
}

TEST(JobMemory, AnotherMistakeOfTheKeysIsToldAlone) {
  const auto x = with({"memory.worker_budget_bytes=many"});
  ASSERT_FALSE(x);
  EXPECT_EQ(x.error().size(), 1u);
  const auto y = with({"memory.worker_hard_limit_bytes=128MiB"}); // below the budget
  ASSERT_FALSE(y);
  EXPECT_EQ(y.error().size(), 1u) << y.error()[1].message;
}
