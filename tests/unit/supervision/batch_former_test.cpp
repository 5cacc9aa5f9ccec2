#include "supervision/batch_former.hpp"

#include <gtest/gtest.h>

using ziyu::supervision::batch_former;
using namespace std::chrono_literals;

namespace {

batch_former former(uint32_t max_jobs = 8) {
  return batch_former{{.max_jobs = max_jobs, .max_bytes = 1'000, .timeout = 1'000ms}};
}

} // namespace

TEST(BatchFormer, SharesWhatWaitsAmongTheFreeSlots) {
  const auto aut = former();
  EXPECT_EQ(aut.most_jobs(8, 0, 1), 1u);
  EXPECT_EQ(aut.most_jobs(8, 1, 1), 1u);
  EXPECT_EQ(aut.most_jobs(8, 2, 2), 1u) << "one for each";
  EXPECT_EQ(aut.most_jobs(8, 5, 2), 3u);
  EXPECT_EQ(aut.most_jobs(8, 100, 1), 8u);
  EXPECT_EQ(aut.most_jobs(4, 100, 1), 4u) << "what the slot takes";
  EXPECT_EQ(former(2).most_jobs(8, 100, 1), 2u) << "what is configured";
}

TEST(BatchFormer, BoundsBytesButNotThoseOfALoneImage) {
  const auto aut = former();
  EXPECT_TRUE(aut.fits(0, 5'000));
  EXPECT_TRUE(aut.fits(400, 600));
  EXPECT_FALSE(aut.fits(400, 601));
}

TEST(BatchFormer, GivesABatchTheTimeOfItsJobs) {
  auto aut = former();
  EXPECT_EQ(aut.time_limit(1), 1'000ms);
  EXPECT_EQ(aut.time_limit(8), 1'000ms) << "nothing is known";
  aut.ended(4, 40ms);
  EXPECT_EQ(aut.time_limit(1), 1'000ms);
  EXPECT_EQ(aut.time_limit(8), 1'280ms);
  for (auto i = 0; i < 100; ++i)
    aut.ended(1, 1ms);
  EXPECT_LE(aut.time_limit(8), 1'030ms) << "jobs have become faster";
}

TEST(BatchFormer, FormsSmallBatchesOfSlowJobs) {
  auto aut = former();
  aut.ended(1, 100ms);
  EXPECT_EQ(aut.most_jobs(8, 100, 1), 3u);
  EXPECT_EQ(aut.time_limit(3), 1'800ms);
  aut.ended(1, 800ms);
  EXPECT_EQ(aut.most_jobs(8, 100, 1), 1u);
  EXPECT_EQ(aut.time_limit(8), 2'000ms) << "never more than twice the time of a lone job";
}
