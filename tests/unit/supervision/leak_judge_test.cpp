#include "supervision/healing_policy.hpp"
#include "supervision/leak_judge.hpp"

#include <gmock/gmock.h>

#include <functional>
#include <random>

using namespace ziyu::supervision;
using testing::HasSubstr;

namespace {

constexpr uint64_t kib = 1024, mib = 1024 * 1024;

leak_judge::settings usual() {
  leak_judge::settings s;
  s.budget_bytes = 256 * mib;
  return s;
}

job_memory at(uint64_t live, uint64_t owned = 20 * mib) {
  job_memory x;
  x.live = live;
  x.private_bytes = owned;
  x.decoded_bytes = 150'528;
  x.encoded_bytes = 10'000;
  return x;
}

/// Runs a worker of `jobs` jobs; returns the first job with a confirmed verdict, 0: none.
uint64_t alarm(leak_judge& aut, uint64_t jobs, const std::function<job_memory(uint64_t)>& job) {
  for (uint64_t i = 1; i <= jobs; ++i)
    if (is_confirmed(aut.observe(job(i)).kind))
      return i;
  return 0;
}

} // namespace

TEST(LeakJudge, CallsAFlatWorkerHealthy) {
  leak_judge aut{usual()};
  EXPECT_EQ(aut.observe(at(5 * mib)).kind, growth::warming_up);
  EXPECT_EQ(alarm(aut, 5000, [](auto) { return at(5 * mib); }), 0u);
  EXPECT_EQ(aut.last().kind, growth::healthy);
  EXPECT_EQ(aut.last().live.bytes_per_job, 0);
  EXPECT_FALSE(aut.last().jobs_left);
}

TEST(LeakJudge, FindsALateLeakWithinThreeJobs) {
  for (const auto bytes : {kib, 64 * kib, mib}) {
    leak_judge aut{usual()};
    const auto job = alarm(aut, 300, [&](uint64_t i) {
      const auto leaked = i < 200 ? 0 : (i - 199) * bytes;
      return at(5 * mib + leaked, 20 * mib + leaked);
    });
    EXPECT_EQ(job, 202u) << bytes;
    EXPECT_EQ(aut.last().kind, growth::growing) << "a fact; growth_claim_test.cpp has the forecast";
    EXPECT_EQ(aut.last().live.bytes_per_job, static_cast<double>(bytes));
    EXPECT_EQ(aut.last().onset, 200u);
    EXPECT_EQ(aut.last().input, leak_input::any);
  }
}

TEST(LeakJudge, FindsALeakFromBirthWithinSixteenJobs) {
  leak_judge aut{usual()};
  const auto job = alarm(aut, 100, [](uint64_t i) { return at(5 * mib + i * kib); });
  EXPECT_GT(job, usual().warmup_jobs);
  EXPECT_LE(job, 16u);
}

TEST(LeakJudge, LetsAWorkerWarmUp) {
  // The steps of a JIT: seven, each of another size, within the first ten jobs.
  const uint64_t steps[] = {0,         900'000,   1'400'000, 1'400'000, 1'700'000,
                            1'720'000, 1'720'000, 1'731'000, 1'731'000, 1'731'512};
  leak_judge aut{usual()};
  EXPECT_EQ(
    alarm(aut, 1000, [&](uint64_t i) { return at(5 * mib + steps[std::min<uint64_t>(i - 1, 9)]); }),
    0u);
  EXPECT_EQ(aut.last().kind, growth::healthy);
}

TEST(LeakJudge, ForgivesSpikesAndSteps) {
  leak_judge aut{usual()};
  EXPECT_EQ(alarm(aut, 3000,
                  [](uint64_t i) {
                    const auto spike = i % 37 == 0 ? 10 * mib + i * kib : 0;
                    const auto step = i > 700 ? 8 * mib : 0;
                    return at(5 * mib + spike + step);
                  }),
            0u);
}

TEST(LeakJudge, FindsALeakBetweenSpikes) {
  leak_judge aut{usual()};
  const auto job = alarm(aut, 400, [](uint64_t i) {
    const auto spike = i % 11 == 0 ? 10 * mib : 0;
    return at(5 * mib + spike + (i < 100 ? 0 : (i - 99) * 4 * kib));
  });
  EXPECT_GE(job, 102u);
  EXPECT_LE(job, 115u);
}

TEST(LeakJudge, LetsACachePerShapeFill) {
  leak_judge aut{usual()};
  std::vector<bool> seen(200);
  uint64_t cached = 0;
  std::mt19937 random{3};
  bool caching = false;
  for (int i = 0; i < 3000; ++i) {
    const auto shape = random() % seen.size();
    if (!seen[shape])
      seen[shape] = true, cached += 64 * kib;
    auto x = at(5 * mib + cached);
    x.decoded_bytes = 3000 * (shape + 1);
    x.encoded_bytes = 1000;
    const auto kind = aut.observe(x).kind;
    ASSERT_FALSE(is_confirmed(kind)) << "at job " << i << ": " << explain(aut.last());
    caching = caching || kind == growth::caching;
  }
  EXPECT_TRUE(caching);
  EXPECT_EQ(aut.last().kind, growth::healthy);
  EXPECT_EQ(aut.last().kinds, 200u);
}

TEST(LeakJudge, DoesNotExcuseGrowthWithKindsSeenBefore) {
  leak_judge aut{usual()};
  const auto job = alarm(aut, 500, [](uint64_t i) {
    auto x = at(5 * mib + (i < 100 ? 0 : (i - 99) * kib));
    x.decoded_bytes = 3000 * (i % 10 + 1);
    return x;
  });
  EXPECT_GE(job, 102u);
  EXPECT_LE(job, 106u);
}

TEST(LeakJudge, FindsACacheWithoutABound) {
  auto s = usual();
  s.cache_entries = 100;
  leak_judge aut{s};
  const auto job = alarm(aut, 1000, [](uint64_t i) {
    auto x = at(5 * mib + i * 10 * kib);
    x.decoded_bytes = 3000 * (5000 - i); // each size once, none the largest so far
    x.encoded_bytes = 1000;
    return x;
  });
  EXPECT_GT(job, 100u);
  EXPECT_LT(job, 200u);
}

TEST(LeakJudge, FindsALeakOnOneJobInTwenty) {
  leak_judge aut{usual()};
  const auto job = alarm(aut, 2000, [](uint64_t i) { return at(5 * mib + i / 20 * 64 * kib); });
  EXPECT_GT(job, 40u);
  EXPECT_LT(job, 400u);
  EXPECT_EQ(aut.last().input, leak_input::some);
}

TEST(LeakJudge, NamesTheInputsThatALeakComesWith) {
  const auto run = [](const std::function<bool(const job_memory&)>& leaks) {
    leak_judge aut{usual()};
    uint64_t leaked = 0;
    std::mt19937 random{5};
    const auto job = alarm(aut, 3000, [&](uint64_t i) {
      auto x = at(0);
      x.decoded_bytes = 100'000 * (random() % 10 + 1);
      x.encoded_bytes = 1000;
      x.ok = random() % 6 != 0;
      if (!x.ok)
        x.decoded_bytes = 0;
      if (i > 200 && leaks(x))
        leaked += 16 * kib;
      x.live = 5 * mib + leaked;
      return x;
    });
    EXPECT_GT(job, 200u);
    EXPECT_LT(job, 400u);
    return aut.last().input;
  };
  EXPECT_EQ(run([](const job_memory& x) { return !x.ok; }), leak_input::bad);
  EXPECT_EQ(run([](const job_memory& x) { return x.decoded_bytes > 600'000; }), leak_input::large);
  EXPECT_EQ(run([](const job_memory&) { return true; }), leak_input::any);
}

TEST(LeakJudge, TellsHoardingFromALeak) {
  leak_judge aut{usual()};
  const auto job = alarm(aut, 400,
                         [](uint64_t i) { return at(5 * mib, 20 * mib + i * 512 * kib); });
  EXPECT_GT(job, 0u);
  EXPECT_EQ(aut.last().kind, growth::hoarding);
  EXPECT_EQ(aut.last().live.bytes_per_job, 0);
  EXPECT_NEAR(aut.last().private_memory.bytes_per_job, 512 * kib, kib);
}

TEST(LeakJudge, CallsBothAtOnceMixed) {
  auto s = usual();
  s.model_cache_bytes = 0; // so that growth is a leak
  leak_judge aut{s};
  auto kind = growth::healthy;
  for (uint64_t i = 1; i <= 200; ++i)
    kind = aut.observe(at(5 * mib + i * 64 * kib, 20 * mib + i * 576 * kib)).kind;
  EXPECT_EQ(kind, growth::mixed);
}

TEST(LeakJudge, LetsArenasSettle) {
  leak_judge aut{usual()};
  EXPECT_EQ(alarm(aut, 3000,
                  [](uint64_t i) {
                    const auto x = static_cast<double>(i);
                    return at(5 * mib, 20 * mib + static_cast<uint64_t>(30e6 * x / (x + 40)));
                  }),
            0u);
}

TEST(LeakJudge, LetsAnAllocatorSettleBesideTheLargestInput) {
  // As jemalloc does (bench/supervision/recorded/large_images_*.csv): a 72 MB image leaves 97 MB of
  // free pages that small requests must not split, so these take as much again, then it is flat.
  leak_judge aut{usual()};
  EXPECT_EQ(alarm(aut, 4000,
                  [](uint64_t i) {
                    auto x = at(65 * mib, 3 * mib + i % 5 * 4 * kib);
                    if (i == 53)
                      x.decoded_bytes = 72'000'000;
                    if (i >= 53)
                      x.private_bytes += 97 * mib + std::min<uint64_t>(i - 53, 1000) * 110 * kib;
                    return x;
                  }),
            0u)
    << explain(aut.last());
  EXPECT_EQ(aut.last().kind, growth::healthy);
}

TEST(LeakJudge, FindsHoardingBeyondWhatTheLargestInputExplains) {
  leak_judge aut{usual()};
  const auto job = alarm(aut, 2000, [](uint64_t i) {
    auto x = at(5 * mib, 3 * mib);
    if (i == 53)
      x.decoded_bytes = 7'200'000;
    if (i >= 53)
      x.private_bytes += 10 * mib + (i - 53) * 256 * kib;
    return x;
  });
  EXPECT_GT(job, 53u + 60); // 15 MiB may be the allocator's
  EXPECT_LT(job, 250u);
  EXPECT_EQ(aut.last().kind, growth::hoarding);
}

TEST(LeakJudge, LetsAFullCacheOfUnequalEntriesWander) {
  // 64 entries, the oldest goes: the sum goes up and down, and its records come in clusters.
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    leak_judge aut{usual()};
    std::mt19937 random{seed};
    std::vector<uint64_t> entries;
    uint64_t cached = 0;
    EXPECT_EQ(alarm(aut, 2000,
                    [&](uint64_t i) {
                      entries.push_back(kib * (1 + random() % 512));
                      cached += entries.back();
                      if (i > 64)
                        cached -= entries[i - 65];
                      auto x = at(5 * mib + cached);
                      x.decoded_bytes = 3000 * (5000 - i);
                      x.encoded_bytes = 1000;
                      return x;
                    }),
              0u)
      << "seed " << seed << ": " << explain(aut.last());
  }
}

TEST(LeakJudge, IsNotConfusedByMixedBatches) {
  const auto run = [](uint64_t leak, auto keep) {
    leak_judge aut{usual()};
    std::mt19937 random{9};
    uint64_t kept = 0;
    return alarm(aut, 1000, [&](uint64_t i) {
      auto x = at(0);
      x.others.assign((1u << random() % 4) - 1, x);
      kept += keep(x) + (i < 300 ? 0 : leak);
      x.live = 5 * mib + kept;
      return x;
    });
  };
  // What is kept for each size of batch comes with its first job, also late ones.
  bool seen[9] = {};
  const auto per_batch = [&](const job_memory& x) {
    const auto jobs = 1 + x.others.size();
    return std::exchange(seen[jobs], true) ? 0 : jobs * 512 * kib;
  };
  EXPECT_EQ(run(0, per_batch), 0u);
  const auto job = run(64 * kib, [](const auto&) { return uint64_t{0}; });
  EXPECT_GE(job, 302u);
  EXPECT_LE(job, 303u);
}

TEST(LeakJudge, FindsALeakInBatchesAndSpeaksOfJobs) {
  leak_judge aut{usual()};
  std::mt19937 random{3};
  uint64_t jobs = 0, kept = 0;
  // Images of 200 sizes, eight at a time where that is wanted. From job 801 on each job leaves
  // 4 KiB.
  const auto found = alarm(aut, 1000, [&](uint64_t) {
    const auto input = [&] { return job_input{1000, 3000 * (1 + random() % 200)}; };
    auto x = at(0);
    static_cast<job_input&>(x) = input();
    for (auto i = 1; i < 8 && !aut.wants_lone_jobs(); ++i)
      x.others.push_back(input());
    for (size_t i = 0; i <= x.others.size(); ++i)
      kept += ++jobs > 800 ? 4 * kib : 0;
    x.live = 5 * mib + kept;
    return x;
  });
  ASSERT_GT(found, 0u) << explain(aut.last());
  EXPECT_GT(jobs, 800u) << explain(aut.last());
  EXPECT_LE(jobs, 824u) << explain(aut.last());
  EXPECT_EQ(aut.last().jobs, jobs);
  EXPECT_NEAR(static_cast<double>(aut.last().onset), 801, 8);
  EXPECT_NEAR(aut.last().live.bytes_per_job, 4 * kib, 16) << explain(aut.last());
}

TEST(LeakJudge, AsksForLoneJobsWhileItDoesNotKnow) {
  auto settings = usual();
  settings.model_cache_bytes = 2 * mib;
  leak_judge aut{settings};
  const auto batch_of_8 = [](uint64_t live) {
    auto x = at(live);
    x.others.assign(7, x);
    return x;
  };
  for (auto i = 1; i < 8; ++i) {
    aut.observe(at(5 * mib));
    EXPECT_TRUE(aut.wants_lone_jobs()) << "a young worker";
  }
  aut.observe(at(5 * mib));
  EXPECT_FALSE(aut.wants_lone_jobs());
  for (auto i = 0; i < 50; ++i)
    aut.observe(batch_of_8(5 * mib));
  EXPECT_FALSE(aut.wants_lone_jobs());
  aut.observe(batch_of_8(6 * mib)); // one of the eight has left something
  for (auto i = 0; i < 8; ++i) {
    EXPECT_TRUE(aut.wants_lone_jobs()) << i;
    aut.observe(at(6 * mib));
  }
  EXPECT_FALSE(aut.wants_lone_jobs()) << "none of the lone ones did";
  for (uint64_t i = 1; i < 200 && aut.last().kind != growth::leak; ++i) {
    aut.observe(at(6 * mib + i * 64 * kib));
    EXPECT_NE(aut.wants_lone_jobs(), aut.last().kind == growth::leak) << i;
  }
  EXPECT_EQ(aut.last().kind, growth::leak) << "it is known";
}

TEST(LeakJudge, ExcusesACacheThatBeginsWithAnotherWorkload) {
  // 400 small images of as many sizes leave nothing; of the large ones each size is cached.
  leak_judge aut{usual()};
  uint64_t cached = 0;
  EXPECT_EQ(alarm(aut, 1000,
                  [&](uint64_t i) {
                    auto x = at(0);
                    x.encoded_bytes = 1000;
                    x.decoded_bytes = i <= 400 ? 90'000 - 3 * i : 9'000'000 - 300 * i;
                    cached += i <= 400 ? 0 : 16 * kib;
                    x.live = 5 * mib + cached;
                    return x;
                  }),
            0u)
    << explain(aut.last());
  EXPECT_EQ(aut.last().workload_shifts, 1u);
}

TEST(LeakJudge, FindsALeakAmongSizesNeverSeenBefore) {
  leak_judge aut{usual()};
  const auto job = alarm(aut, 500, [](uint64_t i) {
    auto x = at(5 * mib + (i < 200 ? 0 : (i - 199) * mib));
    x.encoded_bytes = 1000;
    x.decoded_bytes = 900'000 - 3 * i; // each size once, none the largest so far
    return x;
  });
  EXPECT_GE(job, 202u);
  EXPECT_LE(job, 209u);
}

TEST(LeakJudge, SeesLeaksOfGpuMemory) {
  leak_judge aut{usual()};
  const auto job = alarm(aut, 200, [](uint64_t i) {
    auto x = at(5 * mib);
    x.gpu_allocated = 100 * mib + (i < 50 ? 0 : i - 49) * mib;
    x.gpu_reserved = 600 * mib;
    return x;
  });
  EXPECT_GE(job, 51u);
  EXPECT_LE(job, 55u);
  EXPECT_TRUE(aut.last().on_gpu);
  EXPECT_EQ(aut.last().gpu.bytes_per_job, static_cast<double>(mib));
}

TEST(LeakJudge, TakesTheVerdictBackWhenGrowthStops) {
  leak_judge aut{usual()};
  const auto grow = [](uint64_t i) { return at(5 * mib + std::min<uint64_t>(i, 60) * 8 * kib); };
  EXPECT_GT(alarm(aut, 60, grow), 0u);
  auto kind = growth::growing;
  for (uint64_t i = 61; i < 400; ++i)
    kind = aut.observe(grow(i)).kind;
  EXPECT_EQ(kind, growth::healthy);
}

TEST(LeakJudge, IgnoresGrowthBelowTheMinimumEffect) {
  leak_judge aut{usual()};
  EXPECT_EQ(alarm(aut, 2000, [](uint64_t i) { return at(5 * mib + i * 64); }), 0u);
}

TEST(LeakJudge, NeedsMoreEvidenceTheMoreWorkersThereAre) {
  auto one = usual(), many = usual();
  many.workers = 1000;
  leak_judge a{one}, b{many};
  const auto leak = [](uint64_t i) { return at(5 * mib + i * kib); };
  const auto first = alarm(a, 100, leak), second = alarm(b, 100, leak);
  EXPECT_GT(first, 0u);
  EXPECT_LT(first, second);
  EXPECT_DOUBLE_EQ(b.last().needed, 1000 * a.last().needed);
}

TEST(LeakJudge, DoesNotDependOnWhereTheBytesStart) {
  const auto trace = [](uint64_t base) {
    leak_judge aut{usual()};
    std::mt19937 random{11};
    uint64_t live = base;
    std::vector<growth> kinds;
    for (int i = 0; i < 300; ++i) {
      live += i > 120 && random() % 3 == 0 ? 4 * kib : 0;
      kinds.push_back(aut.observe(at(live)).kind);
    }
    return kinds;
  };
  EXPECT_EQ(trace(mib), trace(900 * mib));
}

TEST(LeakJudge, DoesNotDependOnTheUnitOfGrowth) {
  const auto first = [](uint64_t unit) {
    leak_judge aut{usual()};
    return alarm(aut, 300, [&](uint64_t i) { return at(mib + (i < 60 ? 0 : i - 59) * unit); });
  };
  EXPECT_EQ(first(kib), first(100 * kib));
}

TEST(LeakJudge, ForetellsTheBudget) {
  leak_judge aut{usual()};
  const auto leak = [](uint64_t i) {
    const auto leaked = i < 20 ? 0 : (i - 19) * 6 * mib;
    return at(5 * mib + leaked, 20 * mib + leaked);
  };
  const auto job = alarm(aut, 100, leak);
  ASSERT_GT(job, 0u);
  const auto room = (256 * mib - leak(job).private_bytes) / (6 * mib);
  ASSERT_TRUE(aut.last().jobs_left);
  EXPECT_NEAR(static_cast<double>(*aut.last().jobs_left), static_cast<double>(room), 1);
  EXPECT_LE(*aut.last().jobs_left_earliest, *aut.last().jobs_left);
  EXPECT_GE(*aut.last().jobs_left_latest, *aut.last().jobs_left);
}

TEST(LeakJudge, HasAReplacementBeforeTheBudgetOnlyForTheLeakingWorker) {
  auto s = usual();
  s.budget_bytes = 128 * mib;
  healing_policy::settings heal;
  heal.budget_bytes = s.budget_bytes;
  heal.hard_limit_bytes = 256 * mib;
  const healing_policy policy{heal};
  for (const auto leaks : {true, false}) {
    leak_judge aut{s};
    uint64_t replaced = 0, owned = 0;
    for (uint64_t i = 1; i <= 1000 && replaced == 0; ++i) {
      const auto leaked = leaks ? i * 6 * mib : 0;
      owned = 15 * mib + leaked;
      healing_policy::worker w;
      w.verdict = aut.observe(at(5 * mib + leaked, owned));
      w.baseline_bytes = 15 * mib;
      w.private_bytes = owned;
      w.step_bytes = leaks ? 6 * mib : 0;
      if (policy.decide(w).action == rung::replace)
        replaced = i;
    }
    if (leaks) {
      EXPECT_GT(replaced, 0u);
      EXPECT_LT(owned, s.budget_bytes);
    } else {
      EXPECT_EQ(replaced, 0u);
    }
  }
}

TEST(LeakJudge, ExplainsItselfInOneLine) {
  leak_judge aut{usual()};
  alarm(aut, 200, [](uint64_t i) { return at(5 * mib + (i < 100 ? 0 : i - 99) * 4392); });
  const auto text = explain(aut.last());
  EXPECT_THAT(text, HasSubstr("live bytes grow by 4392 B per job (4392 B to 4392 B)"));
  EXPECT_THAT(text, HasSubstr("since job 100"));
  EXPECT_EQ(text.find('\n'), std::string::npos);
}
