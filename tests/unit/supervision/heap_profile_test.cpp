#include "supervision/heap_profile.hpp"

#include "base/file.hpp"
#include "support/places.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <random>

namespace ziyu::supervision {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr std::string_view small = "heap_v2/4096\n"
                                   "  t*: 5: 81920 [0: 0]\n"
                                   "  t0: 3: 49152 [0: 0] main\n"
                                   "  t7: 2: 32768 [0: 0]\n"
                                   "@ 0x7f0000001010 0x55aa\n"
                                   "  t*: 3: 49152 [0: 0]\n"
                                   "  t0: 1: 16384 [0: 0] a thread: with a name\n"
                                   "  t7: 2: 32768 [0: 0]\n"
                                   "@ 0x1\n"
                                   "  t*: 2: 32768 [0: 0]\n"
                                   "  t0: 2: 32768 [0: 0]\n"
                                   "\n"
                                   "MAPPED_LIBRARIES:\n"
                                   "55a0-55b0 r-xp 00001000 08:01 42   /opt/a program\n"
                                   "55b0-55c0 rw-p 00002000 08:01 42   /opt/a program\n"
                                   "7f0000001000-7f0000002000 r-xp 00000000 08:01 7 /lib/x.so\n"
                                   "7fff0000-7fff1000 r-xp 00000000 00:00 0 [vdso]\n";

heap_profile parsed(std::string_view text) {
  auto x = parse_heap_profile(text);
  EXPECT_TRUE(x) << (x ? "" : x.error().describe());
  return x.value_or(heap_profile{});
}

std::string broken(std::string_view text) {
  const auto x = parse_heap_profile(text);
  return x ? "no error" : x.error().message;
}

heap_profile profile_of(std::vector<heap_stack> stacks, uint64_t sample_bytes = 4096) {
  return {sample_bytes, std::move(stacks), {}, 0};
}

TEST(HeapProfile, ReadsStacksThreadsAndMappings) {
  const auto x = parsed(small);
  EXPECT_EQ(x.sample_bytes, 4096u);
  EXPECT_THAT(x.stacks, ElementsAre(heap_stack{{0x7f0000001010, 0x55aa}, 3, 49152, 2},
                                    heap_stack{{0x1}, 2, 32768, 1}));
  EXPECT_THAT(x.mappings, ElementsAre(mapping{0x55a0, 0x55b0, 0x1000, "/opt/a program"},
                                      mapping{0x7f0000001000, 0x7f0000002000, 0, "/lib/x.so"}));
}

TEST(HeapProfile, ReadsADumpWithoutSamplesOrMappings) {
  const auto x = parsed("heap_v2/524288\n  t*: 0: 0 [0: 0]\n");
  EXPECT_THAT(x.stacks, SizeIs(0));
  EXPECT_THAT(x.mappings, SizeIs(0));
}

TEST(HeapProfile, SaysWhereADumpIsBroken) {
  EXPECT_THAT(broken(""), HasSubstr("empty"));
  EXPECT_THAT(broken("heap profile: 1: 2\n"), HasSubstr("line 1: not a heap profile"));
  EXPECT_THAT(broken("heap_v2/0\n"), HasSubstr("line 1"));
  EXPECT_THAT(broken("heap_v2/x\n"), HasSubstr("line 1"));
  EXPECT_THAT(broken("heap_v2/1\n@ 0x1 rubbish\n"), HasSubstr("line 2: not a list of addresses"));
  EXPECT_THAT(broken("heap_v2/1\n@ 0x1\n@ 0x2\n"), HasSubstr("line 3: the stack before"));
  EXPECT_THAT(broken("heap_v2/1\n  t*: 1: -2 [0: 0]\n"), HasSubstr("line 2"));
  EXPECT_THAT(broken("heap_v2/1\n@ 0xfffffffffffffffff\n"), HasSubstr("line 2")); // 68 bits
}

TEST(HeapProfile, NeverTakesACutDumpForAWholeOne) {
  // Cut anywhere but between two stacks it is refused; there it has fewer stacks.
  const auto end = small.find("\nMAPPED");
  for (size_t size = 0; size < end; ++size) {
    const auto cut = small.substr(0, size);
    const auto x = parse_heap_profile(cut);
    if (!x)
      continue;
    ASSERT_TRUE(cut.ends_with('\n')) << cut;
    for (const auto& stack : x->stacks)
      EXPECT_GT(stack.bytes, 0u) << cut;
  }
}

TEST(HeapProfile, SurvivesAnyDamageToADump) {
  std::mt19937 random{1};
  const std::string_view alphabet = "@0123456789abcdefx:[]t* \n/\xff";
  size_t refused = 0;
  for (auto round = 0; round < 20'000; ++round) {
    std::string text{small};
    for (auto hits = 1 + random() % 4; hits > 0; --hits)
      text[random() % text.size()] = alphabet[random() % alphabet.size()];
    const auto x = parse_heap_profile(text);
    refused += x ? 0 : 1;
    if (x) {
      EXPECT_LE(x->stacks.size(), 6u);
    }
  }
  EXPECT_GT(refused, 10'000u);
}

TEST(HeapProfile, BoundsWhatADumpMakesItHold) {
  std::string text = "heap_v2/1\n";
  for (auto i = 1; i <= 10; ++i) {
    text += '@';
    for (auto depth = 0; depth < 1000; ++depth)
      text += " 0x" + std::to_string(i);
    text += "\n  t*: 1: 100 [0: 0]\n";
  }
  heap_limits limits;
  limits.max_stacks = 4;
  limits.max_depth = 8;
  const auto x = parse_heap_profile(text, limits);
  ASSERT_TRUE(x);
  EXPECT_THAT(x->stacks, SizeIs(4));
  EXPECT_THAT(x->stacks.front().addresses, SizeIs(8));
  EXPECT_EQ(x->skipped_bytes, 600u);
  limits.max_dump_bytes = 100;
  EXPECT_FALSE(parse_heap_profile(text, limits));
}

TEST(HeapProfile, RemovesTheBiasOfSampling) {
  // Objects of 64 bytes, one sample in 4096: each stands for about 64.5 of its kind.
  const auto x = remove_bias(10, 640, 4096);
  EXPECT_NEAR(x.objects, 10 / (1 - std::exp(-64.0 / 4096)), 1e-6);
  EXPECT_NEAR(x.bytes, x.objects * 64, 1e-6);
  // Objects far above the rate are all seen.
  EXPECT_NEAR(remove_bias(3, 3u << 20, 4096).bytes, 3 << 20, 1);
  EXPECT_EQ(remove_bias(0, 0, 4096).bytes, 0);
}

TEST(HeapProfile, EstimatesWhatWasAllocated) {
  // The sampler as jemalloc has it, against the formula: 20 000 objects of 1000 bytes.
  std::mt19937 random{7};
  std::exponential_distribution<double> gap{1.0 / 8192};
  uint64_t seen = 0;
  auto left = gap(random);
  for (auto i = 0; i < 20'000; ++i) {
    left -= 1000;
    if (left > 0)
      continue;
    ++seen;
    left = gap(random);
  }
  const auto x = remove_bias(seen, seen * 1000, 8192);
  EXPECT_NEAR(x.bytes, 20e6, 2e6);
  EXPECT_NEAR(x.objects, 20e3, 2e3);
}

TEST(HeapProfile, DiffsByStackAndSortsByGrowth) {
  const auto before = profile_of({{{1, 2}, 1, 1 << 20, 1}, {{3}, 1, 5 << 20, 1}, {{4}, 2, 99, 1}});
  const auto after = profile_of({{{4}, 2, 99, 1}, {{1, 2}, 4, 4 << 20, 3}, {{5}, 1, 9 << 20, 1}});
  const auto x = diff(before, after);
  ASSERT_TRUE(x);
  ASSERT_THAT(*x, SizeIs(3));
  EXPECT_EQ((*x)[0].addresses, std::vector<uint64_t>{5});
  EXPECT_NEAR((*x)[1].bytes, 3 << 20, 1);
  EXPECT_NEAR((*x)[1].objects, 3, 1e-6);
  EXPECT_EQ((*x)[1].threads, 3u);
  EXPECT_NEAR((*x)[2].bytes, -(5 << 20), 1); // gone
}

TEST(HeapProfile, TakesAnEmptyBaselineForTheBeginning) {
  const auto x = diff({}, profile_of({{{1}, 1, 1 << 20, 1}}));
  ASSERT_TRUE(x);
  EXPECT_NEAR(x->front().bytes, 1 << 20, 1);
}

TEST(HeapProfile, RefusesToCompareDifferentRates) {
  const auto x = diff(profile_of({}, 4096), profile_of({}, 8192));
  ASSERT_FALSE(x);
  EXPECT_EQ(x.error().code, errc::invalid_usage);
}

TEST(HeapProfile, SamplesSmallLeaksFinerThanLargeOnes) {
  EXPECT_EQ(choose_sample_rate(6.7e6, 50), 19);
  EXPECT_EQ(choose_sample_rate(64 * 1024, 50), 13);
  EXPECT_EQ(choose_sample_rate(1, 1), 9);
}

TEST(HeapProfile, ReadsWhatARealWorkerDumped) {
  // 50 jobs with native_malloc:64KiB between the two dumps.
  const std::string folder = test::source_dir() + "/tests/data/heap/";
  const auto before = parsed(read_file(folder + "native_malloc_64KiB.before.heap").value());
  const auto after = parsed(read_file(folder + "native_malloc_64KiB.after.heap").value());
  const auto growth = diff(before, after);
  ASSERT_TRUE(growth);
  EXPECT_NEAR(growth->front().bytes, 50 * 65536, 0.2 * 50 * 65536);
  EXPECT_NEAR(growth->front().objects, 50, 10);
  // Every frame lies in one of the mappings.
  for (auto address : growth->front().addresses)
    EXPECT_TRUE(
      std::any_of(after.mappings.begin(), after.mappings.end(),
                  [&](const mapping& m) { return address >= m.begin && address < m.end; }))
      << address;
}

} // namespace
} // namespace ziyu::supervision
