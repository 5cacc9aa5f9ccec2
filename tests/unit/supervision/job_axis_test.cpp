#include "supervision/job_axis.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

using ziyu::supervision::job_axis;

TEST(JobAxis, IsExactWhileNothingWasForgotten) {
  job_axis aut;
  EXPECT_EQ(aut.first_job_of(0), 0u);
  std::vector<uint64_t> firsts{0};
  for (const auto jobs : {1, 1, 1, 8, 8, 3, 1, 16, 16, 16, 1}) {
    firsts.push_back(aut.jobs() + 1);
    aut.add(static_cast<uint64_t>(jobs));
  }
  for (uint64_t i = 0; i < firsts.size(); ++i)
    EXPECT_EQ(aut.first_job_of(i), firsts[i]) << "reading " << i;
  EXPECT_EQ(aut.readings(), 11u);
  EXPECT_EQ(aut.jobs(), 72u);
}

TEST(JobAxis, IsNearEverywhereAfterManyChanges) {
  job_axis aut;
  std::mt19937 random{5};
  std::vector<uint64_t> firsts{0};
  for (auto i = 0; i < 100'000; ++i) {
    firsts.push_back(aut.jobs() + 1);
    aut.add(1 + random() % 8);
  }
  uint64_t previous = 0;
  for (uint64_t i = 1; i < firsts.size(); ++i) {
    const auto found = aut.first_job_of(i);
    ASSERT_GE(found, previous) << "reading " << i;
    ASSERT_NEAR(static_cast<double>(found), static_cast<double>(firsts[i]),
                std::max(64., static_cast<double>(firsts[i]) * 0.02))
      << "reading " << i;
    previous = found;
  }
  for (uint64_t i = firsts.size() - 32; i < firsts.size(); ++i)
    EXPECT_EQ(aut.first_job_of(i), firsts[i]) << "late readings are exact";
}
