#include "supervision/pool/leak_desk.hpp"

#include "base/log.hpp"

#include <gtest/gtest.h>

namespace ziyu::supervision {

namespace {

using namespace std::chrono_literals;

/// heap_v2 text with one large object at each address.
std::string heap(const std::vector<uint64_t>& addresses) {
  std::string text = "heap_v2/1\n  t*: 1: 1 [0: 0]\n";
  for (const auto address : addresses) {
    char line[120];
    std::snprintf(line, sizeof line,
                  "@ 0x%llx 0x1000\n  t*: 1: 6000000 [0: 0]\n  t0: 1: 6000000 [0: 0]\n",
                  static_cast<unsigned long long>(address));
    text += line;
  }
  return text;
}

class LeakDesk : public testing::Test {
protected:
  /// Files the dump of a worker that leaks 6 MB per job through the stack at `address`.
  void take(uint32_t slot, uint64_t generation, uint64_t address, double rate = 6e6) {
    leak_desk::dump x;
    x.worker = worker(slot, generation, rate);
    x.growth_per_job = rate;
    x.random = 0xab;
    x.request.after = heap({address});
    x.request.evidence = {.kind = growth::leak, .live_per_job = rate, .live_grown = 10 * rate};
    aut.take(std::move(x), now, 5'000);
  }

  static events::evidence worker(uint32_t slot, uint64_t generation, double rate = 6e6) {
    events::evidence x;
    x.slot = slot;
    x.generation = generation;
    x.verdict = "leak";
    x.judgement = "live bytes grow";
    x.live_slope = {rate, rate, rate};
    return x;
  }

  static events::worker_replaced replacement(uint32_t slot, uint64_t generation,
                                             double rate = 6e6) {
    events::worker_replaced x;
    x.worker = worker(slot, generation, rate);
    x.cause = "unknown";
    return x;
  }

  /// The helper's report of a stack.
  static leak_report report(uint64_t address, leak_cause cause) {
    leak_report x;
    x.cause = cause;
    x.growth_bytes = 60e6;
    x.jobs = 10;
    leak_site site;
    site.bytes = 60e6;
    site.share = 1;
    site.stack = {{"ziyu::keep(int)", "ziyu-worker", "faults.cpp", 42}};
    site.relevant = {0, 1};
    site.cause = cause;
    x.sites = {site};
    x.stacks = {{fingerprint({address, 0x1000}), cause}};
    return x;
  }

  /// The helper explains the dump in front.
  std::vector<events::body> explain(uint64_t address,
                                    leak_cause cause = leak_cause::retained_tensors) {
    EXPECT_NE(aut.to_hand_over(), nullptr);
    aut.handed_over(++helper);
    return aut.finish(report(address, cause), now, 6'000);
  }

  static const events::worker_replaced& replaced(const events::body& x) {
    return std::get<events::worker_replaced>(x);
  }

  leak_desk aut{{.explain_interval = 60s}};
  leak_desk::clock::time_point now{1h};
  uint64_t helper = 0;
};

} // namespace

TEST_F(LeakDesk, HandsOverOneDumpAtATime) {
  take(0, 1, 0xa);
  take(1, 1, 0xb);
  ASSERT_NE(aut.to_hand_over(), nullptr);
  EXPECT_EQ(aut.to_hand_over()->after, heap({0xa}));
  EXPECT_FALSE(aut.at_work());
  aut.handed_over(7);
  EXPECT_EQ(aut.at_work(), 7u);
  EXPECT_EQ(aut.to_hand_over(), nullptr) << "a helper takes a core";
  aut.finish(report(0xa, leak_cause::retained_tensors), now, 6'000);
  EXPECT_EQ(aut.to_hand_over()->after, heap({0xb}));
}

TEST_F(LeakDesk, ReportsALeakWithItsNumbersAndSites) {
  take(2, 3, 0xa);
  const auto news = explain(0xa);
  ASSERT_EQ(news.size(), 1u);
  const auto& x = std::get<events::leak_report>(news[0]);
  EXPECT_EQ(x.report, "2.3-000000ab");
  EXPECT_EQ(x.cause, "retained_tensors");
  EXPECT_EQ(x.worker.generation, 3u);
  EXPECT_EQ(x.growth.bytes, 60'000'000);
  EXPECT_EQ(x.growth.per_job.bytes_per_job, 6e6);
  EXPECT_FALSE(x.forecast) << "the growth does not lead to the budget";
  ASSERT_EQ(x.sites.size(), 1u);
  EXPECT_EQ(x.sites[0].responsible.line, 42u);
  EXPECT_DOUBLE_EQ(x.explain_ms, 1);
  EXPECT_TRUE(aut.idle());
}

TEST_F(LeakDesk, LetsAReplacementWaitForItsDumpAndNamesIt) {
  take(0, 1, 0xa);
  EXPECT_FALSE(aut.name(replacement(0, 1), now));
  const auto news = explain(0xa);
  ASSERT_EQ(news.size(), 2u) << "the report comes first";
  EXPECT_EQ(replaced(news[1]).cause, "retained_tensors");
  EXPECT_EQ(replaced(news[1]).report, "0.1-000000ab");
  ASSERT_TRUE(replaced(news[1]).sites);
  EXPECT_EQ(replaced(news[1]).sites->at(0).function, "ziyu::keep(int)");
}

TEST_F(LeakDesk, DoesNotLetAReplacementWaitWithoutADump) {
  const auto x = aut.name(replacement(0, 1), now);
  ASSERT_TRUE(x);
  EXPECT_EQ(x->cause, "unknown");
  EXPECT_FALSE(x->report);
}

TEST_F(LeakDesk, LetsReplacementsGoUnnamedIfTheHelperFails) {
  take(0, 1, 0xa);
  EXPECT_FALSE(aut.name(replacement(0, 1), now));
  EXPECT_EQ(aut.slot_in_front(), 0u);
  const auto news = aut.finish(fail(errc::io, "no helper"), now, 6'000);
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(replaced(news[0]).cause, "unknown");
}

TEST_F(LeakDesk, GivesAHelperABoundedTime) {
  EXPECT_FALSE(aut.is_late(now + 1h)) << "nothing is filed";
  take(0, 1, 0xa);
  EXPECT_FALSE(aut.is_late(now + 29s));
  EXPECT_TRUE(aut.is_late(now + 30s));
}

TEST_F(LeakDesk, RecognisesAStackAtOnceAndReportsItOnlyNowAndThen) {
  take(0, 1, 0xa);
  explain(0xa);
  now += 10s;
  take(0, 2, 0xa);
  EXPECT_TRUE(aut.idle()) << "its report is fresh";
  const auto x = aut.name(replacement(0, 2), now);
  ASSERT_TRUE(x);
  EXPECT_EQ(x->cause, "retained_tensors");
  EXPECT_EQ(x->report, "0.1-000000ab");
  now += 60s;
  take(0, 3, 0xa);
  EXPECT_FALSE(aut.idle()) << "its numbers are old";
}

TEST_F(LeakDesk, NamesTwoLeaksThatTakeTurnsByTheirOwnStacks) {
  take(0, 1, 0xa);
  explain(0xa, leak_cause::retained_tensors);
  now += 10s;
  take(0, 2, 0xb);
  explain(0xb, leak_cause::retained_images);
  now += 1s;
  take(0, 3, 0xa);
  EXPECT_EQ(aut.name(replacement(0, 3), now)->cause, "retained_tensors");
  take(0, 4, 0xb);
  EXPECT_EQ(aut.name(replacement(0, 4), now)->cause, "retained_images");
}

TEST_F(LeakDesk, FinishesADumpWhoseStackHasBecomeKnown) {
  take(0, 1, 0xa);
  take(1, 1, 0xc);
  take(1, 2, 0xa);
  explain(0xa);
  explain(0xc);
  EXPECT_FALSE(aut.name(replacement(1, 2), now));
  const auto news = aut.finish_recognised();
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(replaced(news[0]).cause, "retained_tensors");
  EXPECT_TRUE(aut.idle());
}

TEST_F(LeakDesk, NamesAWorkerWithoutADumpByTheSlotsLatestLeakIfItsGrowthIsAlike) {
  take(0, 1, 0xa);
  explain(0xa);
  EXPECT_EQ(aut.name(replacement(0, 2, 5e6), now)->cause, "retained_tensors");
  EXPECT_EQ(aut.name(replacement(0, 2, 6e3), now)->cause, "unknown") << "another leak";
  EXPECT_EQ(aut.name(replacement(1, 2, 6e6), now)->cause, "unknown") << "another slot";
}

TEST_F(LeakDesk, LeavesTheCauseOfACrashAlone) {
  take(0, 1, 0xa);
  explain(0xa);
  auto x = replacement(0, 1);
  x.cause = "crash";
  EXPECT_EQ(aut.name(x, now)->cause, "crash");
}

TEST_F(LeakDesk, DoesNotCallAWorkerHoardingWhoseOwnGrowthIsNotSuspected) {
  take(0, 1, 0xa);
  explain(0xa, leak_cause::hoarding);
  auto x = replacement(0, 1);
  x.cause = "budget";
  x.worker.verdict = "healthy";
  EXPECT_EQ(aut.name(x, now)->cause, "budget");
}

TEST_F(LeakDesk, ForgetsStacksWithTheForkServer) {
  take(0, 1, 0xa);
  explain(0xa);
  now += 10s;
  aut.forget_addresses();
  take(0, 2, 0xa);
  EXPECT_FALSE(aut.idle()) << "the same address may be other code";
}

TEST_F(LeakDesk, IsBounded) {
  for (uint64_t i = 0; i < 100; ++i)
    take(static_cast<uint32_t>(i), 1, 0x10 + i);
  auto waiting = 0;
  for (auto i = 0; i < 100; ++i)
    waiting += !aut.name(replacement(0, 1), now);
  EXPECT_EQ(waiting, 64) << "the rest goes on unnamed";
  auto filed = 0;
  for (; !aut.idle(); ++filed)
    aut.finish(fail(errc::io, "no helper"), now, 0);
  EXPECT_EQ(filed, 8);
}

TEST_F(LeakDesk, BoundsTheHelpersPerMinute) {
  auto filed = 0;
  for (uint64_t i = 0; i < 100; ++i) {
    take(static_cast<uint32_t>(i), 1, 0x10 + i);
    if (aut.idle())
      continue;
    ++filed;
    aut.finish(fail(errc::io, "no helper"), now, 0);
  }
  EXPECT_EQ(filed, 20);
}

TEST_F(LeakDesk, PausesAfterADumpByItsCost) {
  EXPECT_TRUE(aut.may_dump(0));
  aut.note_dump(1'000, 50'000);
  EXPECT_FALSE(aut.may_dump(69'999));
  EXPECT_TRUE(aut.may_dump(70'000));
}

TEST_F(LeakDesk, AbortsWhenADumpIsHandedOverTwice) {
  ASSERT_TRUE(init_log("info", "text")); // on standard error, where death tests look
  take(0, 1, 0xa);
  aut.handed_over(1);
  EXPECT_DEATH(aut.handed_over(2), "not to be handed over");
}

} // namespace ziyu::supervision
