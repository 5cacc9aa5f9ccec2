// Private memory goes up and down by itself: what is hoarding, and what is an allocator that
// settles.

#include "supervision/leak_judge.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

using namespace ziyu::supervision;

namespace {

constexpr uint64_t mib = 1024 * 1024;

leak_judge::settings usual() {
  leak_judge::settings s;
  s.budget_bytes = 256 * mib;
  return s;
}

job_memory with_private(uint64_t bytes) {
  job_memory x;
  x.live = 5 * mib;
  x.private_bytes = bytes;
  x.decoded_bytes = 10'000'000;
  x.encoded_bytes = 500'000;
  return x;
}

/// The first job that is called hoarding, 0: none.
uint64_t claim(uint64_t jobs, const std::function<uint64_t(uint64_t)>& private_bytes) {
  leak_judge aut{usual()};
  for (uint64_t i = 1; i <= jobs; ++i)
    if (aut.observe(with_private(private_bytes(i))).kind == growth::hoarding)
      return i;
  return 0;
}

} // namespace

TEST(Hoarding, IsNotAnAllocatorThatSettlesUnderNoise) {
  // Each of ten steps is as large as the noise, which then sets several records above it. (The
  // judge once took each of these records for a step; `bench/judge --seed 7500027`.)
  for (const uint64_t every : {8, 10, 12, 16})
    for (uint32_t seed = 1; seed <= 20; ++seed) {
      std::mt19937 random{seed};
      EXPECT_EQ(claim(600,
                      [&](uint64_t i) {
                        const auto steps = i <= 150 ? 0
                                                    : std::min<uint64_t>((i - 151) / every + 1, 10);
                        return 60 * mib + random() % (6 * mib) + steps * 6 * mib;
                      }),
                0u)
        << "a step each " << every << " jobs, seed " << seed;
    }
}

TEST(Hoarding, IsFoundUnderNoise) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    std::mt19937 random{seed};
    const auto job = claim(250, [&](uint64_t i) {
      return 30 * mib + random() % (6 * mib) + (i < 100 ? 0 : (i - 99) * 3 * mib / 2);
    });
    EXPECT_GT(job, 100u) << "seed " << seed;
  }
}

TEST(Hoarding, OfAFreshWorkerIsFoundBeforeItFillsTheBudget) {
  // 6.4 MiB with each job are more than the pages that a fresh worker copies.
  const auto job = claim(36, [](uint64_t i) { return 15 * mib + i * 64 * mib / 10; });
  EXPECT_GT(job, 8u);
}

TEST(Hoarding, IsNotAFreshWorkerThatCopiesItsPages) {
  // With each job some of the pages that are left; then the arenas settle.
  for (uint32_t seed = 1; seed <= 50; ++seed) {
    std::mt19937 random{seed};
    double left = 60. * mib;
    uint64_t used = 5 * mib;
    EXPECT_EQ(claim(600,
                    [&](uint64_t i) {
                      const auto copied = left * (0.05 + 0.01 * static_cast<double>(random() % 20));
                      left -= copied;
                      used += static_cast<uint64_t>(copied);
                      used += random() % i < 2 ? random() % (2 * mib) : 0;
                      return used;
                    }),
              0u)
      << "seed " << seed;
  }
}

TEST(Hoarding, IsFoundAgainAfterATrim) {
  // The trim gives 150 MiB back; growth from there on is no noise.
  leak_judge aut{usual()};
  uint64_t used = 15 * mib, trimmed = 0, found = 0;
  for (uint64_t i = 1; i <= 300 && found == 0; ++i) {
    used += 2 * mib;
    const auto kind = aut.observe(with_private(used)).kind;
    if (trimmed == 0 && kind == growth::hoarding && used >= 165 * mib) {
      used -= 150 * mib;
      trimmed = i;
    } else if (trimmed > 0 && kind != growth::hoarding) {
      // The verdict is taken back: it speaks of growth before the trim.
      for (uint64_t again = 1; again <= 100 && found == 0; ++again) {
        used += 2 * mib;
        if (aut.observe(with_private(used)).kind == growth::hoarding)
          found = again;
      }
      break;
    }
  }
  EXPECT_GT(trimmed, 0u);
  EXPECT_GT(found, 0u) << explain(aut.last());
  EXPECT_LT(found, 60u);
}
