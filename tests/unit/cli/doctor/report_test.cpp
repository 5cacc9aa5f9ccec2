// What `ziyu doctor` makes of its measurements: the verdict, the advice, the report.

#include "cli/doctor/report.hpp"

#include "configs/config.hpp"
#include "configs/job_memory.hpp"
#include "support/xml.hpp"

#include <gmock/gmock.h>

using namespace ziyu;
using namespace ziyu::cli;
using supervision::growth;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

namespace {

constexpr uint64_t mib = 1u << 20;

sizing_input container_of(uint64_t mebibytes) {
  sizing_input x;
  x.container = mebibytes * mib;
  x.fork_server = 200 * mib;
  x.control = 64 * mib;
  x.peak = 60 * mib;
  x.largest_job = 40 * mib;
  x.cores = 64;
  return x;
}

diagnosis of_kind(growth kind) {
  diagnosis x;
  x.model.model_name = "digits";
  x.model.model_version = "1";
  x.jobs = 200;
  x.verdict.kind = kind;
  x.verdict.jobs = 200;
  x.verdict.live = {65'536, 65'000, 66'000};
  x.verdict.private_memory = {70'000, 69'000, 71'000};
  return x;
}

diagnosis examined() {
  auto x = of_kind(growth::healthy);
  x.images = "3 files";
  x.sizes = {{"a.png", 1, 1, 68, 3, mib, mib + 4096, 10, 20, 30},
             {"b.png", 1000, 1000, 5000, 3'000'000, mib, 9 * mib, 4000, 1500, 700}};
  x.fork_server.rss = 200 * mib;
  x.container = {0, 1024 * mib, "as given"};
  x.worker_idle = mib;
  x.worker_peak = 9 * mib;
  x.series = {{1, 100, 1000, mib}, {2, 0, 1000, 2 * mib}};
  x.trim = diagnosis::trim_effect{9 * mib, 2 * mib, mib};
  x.advice = recommend(container_of(1024));
  return x;
}

std::string drawn(const diagnosis& x, size_t width = 100) {
  std::string text;
  for (const auto& line : draw(x, width, false))
    text += line + "\n";
  return text;
}

} // namespace

// -- sizing -----------------------------------------------------------------------------

TEST(Sizing, GivesAWorkerItsPeakAndRoom) {
  const auto x = recommend(container_of(1024));
  EXPECT_EQ(x.budget, (60 + 32) * mib);
  EXPECT_EQ(x.hard_limit, (92 + 46) * mib);
  // 0.8 · 1024 − 264 = 555 MiB: 6 workers, one of them the standby.
  EXPECT_EQ(x.slots, 5);
  EXPECT_EQ(x.standbys, 1);
  EXPECT_TRUE(x.fits);
}

TEST(Sizing, RoomGrowsWithThePeakAndWithTheLeak) {
  auto in = container_of(4096);
  in.peak = 400 * mib;
  EXPECT_EQ(recommend(in).budget, 500 * mib);
  in.leak_per_job = 6 * mib;
  EXPECT_EQ(recommend(in).budget, (400 + 2 * 20 * 6) * mib);
}

TEST(Sizing, TheHardLimitLeavesRoomForTheLargestJob) {
  auto in = container_of(4096);
  in.largest_job = 80 * mib;
  EXPECT_EQ(recommend(in).hard_limit, (92 + 80) * mib);
}

TEST(Sizing, TheHardLimitHoldsLargeImagesWhereTheContainerHasRoom) {
  auto in = container_of(2048);
  in.slots = 1;
  const auto x = recommend(in);
  EXPECT_EQ(x.hard_limit, configs::least_hard_limit(92 * mib, configs::most_pixels));
  EXPECT_EQ(x.max_pixels, configs::most_pixels);
}

TEST(Sizing, WhatItRecommendsIsAcceptedAndAdmitsNoMoreThanFits) {
  for (const uint64_t container : {512, 1024, 2048, 4096})
    for (const uint64_t peak : {1, 8, 60, 200}) {
      auto in = container_of(container);
      in.peak = peak * mib;
      in.largest_job = in.peak / 2;
      const auto x = recommend(in);
      const auto with = [&x](uint64_t pixels) {
        return configs::parse(
          R"({"kafka": {"bootstrap.servers": "b:1", "group.id": "g"}, "model": {"path": "m"}})",
          "/",
          {"memory.worker_budget_bytes=" + config_bytes(x.budget),
           "memory.worker_hard_limit_bytes=" + config_bytes(x.hard_limit),
           "jobs.max_pixels=" + std::to_string(pixels)});
      };
      EXPECT_TRUE(with(x.max_pixels)) << container << " " << peak;
      EXPECT_TRUE(with(x.max_pixels + 2).has_value() == (x.max_pixels == configs::most_pixels))
        << container << " " << peak;
    }
}

TEST(Sizing, RoundsUpToWholeMebibytes) {
  auto in = container_of(4096);
  in.peak += 1;
  EXPECT_EQ(recommend(in).budget, 93 * mib);
}

TEST(Sizing, HasNoMoreSlotsThanCores) {
  auto in = container_of(4096);
  in.cores = 2;
  const auto x = recommend(in);
  EXPECT_EQ(x.slots, 2);
  EXPECT_THAT(x.formula, Contains(HasSubstr("as many as cores")));
}

TEST(Sizing, SaysWhatIsNeededWhereNothingFits) {
  const auto x = recommend(container_of(256));
  EXPECT_EQ(x.slots, 0);
  EXPECT_FALSE(x.fits);
  EXPECT_EQ(x.needed, (264 + 2 * 92) * mib / 8 * 10);
  EXPECT_TRUE(recommend(container_of(x.needed / mib)).fits);
  EXPECT_FALSE(recommend(container_of(x.needed / mib - 1)).fits);
}

TEST(Sizing, TakesTheSlotsThatAreWanted) {
  auto in = container_of(1024);
  in.slots = 3;
  EXPECT_EQ(recommend(in).slots, 3);
  EXPECT_TRUE(recommend(in).fits);
  in.slots = 6;
  const auto x = recommend(in);
  EXPECT_EQ(x.slots, 6);
  EXPECT_FALSE(x.fits);
  in.container = x.needed;
  EXPECT_TRUE(recommend(in).fits);
}

TEST(Sizing, WritesLinesForTheConfiguration) {
  EXPECT_EQ(config_lines(recommend(container_of(1024))),
            "\"workers\": { \"slots\": 5, \"standbys\": 1 },\n"
            "\"memory\": { \"worker_budget_bytes\": \"92MiB\", "
            "\"worker_hard_limit_bytes\": \"138MiB\" },\n"
            "\"jobs\": { \"max_pixels\": 14068394 }");
  EXPECT_EQ(config_bytes(mib + 1), "1048577");
}

// -- verdicts -----------------------------------------------------------------------------

TEST(Diagnosis, ExitCodesTellLeaksFromHealthAndFromDoubt) {
  EXPECT_EQ(exit_code_of(of_kind(growth::healthy)), 0);
  EXPECT_EQ(exit_code_of(of_kind(growth::caching)), 0);
  EXPECT_EQ(exit_code_of(of_kind(growth::leak)), 3);
  EXPECT_EQ(exit_code_of(of_kind(growth::mixed)), 3);
  EXPECT_EQ(exit_code_of(of_kind(growth::growing)), 1) << "that it never ends is not known";
  EXPECT_EQ(exit_code_of(of_kind(growth::warming_up)), 1);
  EXPECT_EQ(exit_code_of(of_kind(growth::suspected)), 1);
}

TEST(Diagnosis, AModelThatWasNotJudgedGetsNoRecommendation) {
  auto x = examined();
  EXPECT_THAT(drawn(x), HasSubstr("Recommended for"));
  x.jobs = 5;
  x.verdict.kind = growth::warming_up;
  EXPECT_THAT(drawn(x), HasSubstr("NOT JUDGED"));
  EXPECT_THAT(drawn(x), Not(HasSubstr("Recommended for")));
  EXPECT_THAT(drawn(x), Not(HasSubstr("worker_budget_bytes")));
  EXPECT_TRUE(to_json(x)["recommendation"].is_null());
}

TEST(Report, SaysOfGrowthThatEndedWhenItDid) {
  auto x = of_kind(growth::healthy);
  x.jobs = 600;
  x.verdict.ended_jobs = 500;
  x.verdict.ended_bytes = 33'000'000;
  x.verdict.plateau_jobs = 100;
  EXPECT_EQ(exit_code_of(x), 0);
  EXPECT_THAT(summary(x), HasSubstr("grows for 500 jobs, then flat for 100"));
  EXPECT_THAT(summary(x), HasSubstr("31.5 MiB"));
  x.series = {{1, 0, mib, 2 * mib}, {500, 0, 34 * mib, 35 * mib}, {600, 0, 34 * mib, 35 * mib}};
  EXPECT_EQ(settled_private(x), 35 * mib) << "a worker needs room for its full cache";
}

TEST(Report, SaysOfGrowthThatWentOnThatItIsNotDecided) {
  auto x = of_kind(growth::growing);
  x.verdict.grown_since_birth = 13'000'000;
  EXPECT_THAT(summary(x), HasSubstr("not decided within 200 jobs: grows by 64.0 KiB per job"));
  EXPECT_THAT(summary(x), HasSubstr("--cache"));
  EXPECT_EQ(to_json(x)["health"].get<std::string>(), "unjudged");
  EXPECT_EQ(to_json(x)["verdict"]["kind"].get<std::string>(), "growing");
}

TEST(Diagnosis, HoardingIsALeakUnlessATrimGivesItBack) {
  auto x = of_kind(growth::hoarding);
  EXPECT_EQ(health_of(x), health::leaks);
  x.trim = diagnosis::trim_effect{100 * mib, 90 * mib, 10 * mib};
  EXPECT_EQ(health_of(x), health::leaks);
  EXPECT_THAT(summary(x), StartsWith("hoards, and a trim does not help: 68.4 KiB per job"));
  x.trim->after = 20 * mib;
  EXPECT_EQ(health_of(x), health::healthy);
  EXPECT_THAT(summary(x), HasSubstr("a trim gives back"));
  x.verdict.on_gpu = true; // of which no trim is known
  EXPECT_EQ(health_of(x), health::leaks);
  x.gpu_trim = diagnosis::trim_effect{100 * mib, 0, 0};
  EXPECT_EQ(health_of(x), health::healthy);
}

TEST(Diagnosis, AFailureOrNoResultIsNoHealth) {
  auto x = of_kind(growth::healthy);
  x.failure = "the worker died";
  EXPECT_EQ(exit_code_of(x), 1);
  EXPECT_EQ(summary(x), "could not be judged: the worker died");
  x.failure.clear();
  x.failed_jobs = x.jobs;
  EXPECT_EQ(exit_code_of(x), 1);
  EXPECT_THAT(summary(x), HasSubstr("not one of 200 jobs succeeded"));
  // Once a leak is confirmed, later failures do not change the verdict.
  auto leaking = of_kind(growth::leak);
  leaking.failure = "the worker died";
  EXPECT_EQ(exit_code_of(leaking), 3);
  EXPECT_THAT(drawn(leaking), HasSubstr("the worker died"));
}

TEST(Diagnosis, WhatAWorkerSettlesAtIsWithoutItsLeak) {
  auto x = of_kind(growth::leak);
  x.series = {{1, 0, 1000, 20 * mib}, {2, 0, 1000 + 5 * mib, 27 * mib}, {3, 0, 1000, 10 * mib}};
  EXPECT_EQ(settled_private(x), 22 * mib);
}

TEST(Diagnosis, WhatAWorkerSettlesAtEndsWhereItWouldBeTrimmed) {
  auto x = of_kind(growth::hoarding);
  x.series = {{1, 0, 0, 20 * mib}, {2, 0, 0, 30 * mib}, {3, 0, 0, 40 * mib}};
  x.confirmed_at = 2;
  EXPECT_EQ(settled_private(x), 30 * mib);
  x.verdict.kind = growth::healthy; // it was over after that
  EXPECT_EQ(settled_private(x), 40 * mib);
  EXPECT_EQ(settled_private(of_kind(growth::healthy)), 0);
}

// -- report ---------------------------------------------------------------------------

TEST(DoctorReport, ShowsSizesAdviceAndTrim) {
  const auto text = drawn(examined());
  for (const auto* part : {"HEALTHY  digits version 1", "a.png", "1000x1000", "2.9 MiB", "9.0 MiB",
                           "4.0 ms", "private memory 9.0 MiB → 2.0 MiB; no hoarding"})
    EXPECT_THAT(text, HasSubstr(part));
  EXPECT_THAT(text, HasSubstr("\"worker_budget_bytes\": \"92MiB\""));
  EXPECT_THAT(text, HasSubstr("Fits. 5 slots need a container of"));
}

TEST(DoctorReport, ShowsWhereItLeaks) {
  auto x = of_kind(growth::leak);
  x.confirmed_at = 12;
  x.explanation.emplace();
  x.explanation->cause = supervision::leak_cause::native_allocation;
  x.explanation->growth_bytes = 1e6;
  supervision::leak_site site;
  site.bytes = 9e5;
  site.share = 0.9;
  site.stack = {{"malloc", "libjemalloc.so.2", "", 0},
                {"codec::decode(int)", "libcodec.so", "/src/codec.cpp", 42},
                {"main", "ziyu-worker", "", 0}};
  site.relevant = {1, 2};
  x.explanation->sites = {site};
  const auto text = drawn(x);
  for (const auto* part : {"LEAKS", "64.0 KiB (63.5 KiB to 64.5 KiB)", "after job 12",
                           "native_allocation", "90 %", "codec::decode", "codec.cpp:42"})
    EXPECT_THAT(text, HasSubstr(part));
  const auto document = to_json(x);
  EXPECT_EQ(document["explanation"]["cause"], "native_allocation");
  EXPECT_EQ(document["verdict"]["confirmed_at_job"], 12);
  EXPECT_FALSE(document["explanation"].contains("flame"));
}

TEST(DoctorReport, SaysWhyThereIsNoExplanation) {
  auto x = of_kind(growth::leak);
  x.unexplained = "no profiler";
  EXPECT_THAT(drawn(x), HasSubstr("no explanation: no profiler"));
  EXPECT_EQ(to_json(x)["explanation"]["error"], "no profiler");
}

TEST(DoctorReport, ShowsTheFirstBadImagesOnly) {
  auto x = of_kind(growth::healthy);
  for (auto i = 0; i < 7; ++i)
    x.bad_images.push_back({"bad" + std::to_string(i), "undecodable_image", "broken\x1b[31m"});
  const auto text = drawn(x);
  EXPECT_THAT(text, HasSubstr("bad4: broken"));
  EXPECT_THAT(text, Not(HasSubstr("bad5")));
  EXPECT_THAT(text, HasSubstr("2 more"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_EQ(to_json(x)["bad_images"].size(), 7);
}

TEST(DoctorReport, IsCompleteAsJson) {
  const auto x = to_json(examined());
  EXPECT_EQ(x["schema"], "ziyu.doctor.v1");
  EXPECT_EQ(x["exit_code"], 0);
  EXPECT_EQ(x["sizes"][1]["peak_private_bytes"], 9 * mib);
  EXPECT_EQ(x["recommendation"]["config"]["workers"]["slots"], 5);
  EXPECT_EQ(x["recommendation"]["config"]["memory"]["worker_budget_bytes"], 92 * mib);
  EXPECT_EQ(x["trim"]["after_bytes"], 2 * mib);
  EXPECT_EQ(x["series"]["rows"],
            nlohmann::json::parse("[[1,100,1000,1048576],[2,0,1000,2097152]]"));
}

TEST(DoctorReport, ChartsMemoryAndTheMomentOfCertainty) {
  auto x = examined();
  x.confirmed_at = 2;
  const auto c = memory_chart(x);
  ASSERT_EQ(c.series.size(), 2);
  EXPECT_EQ(c.series[0].points.size(), 2);
  ASSERT_EQ(c.marks.size(), 1);
  EXPECT_EQ(c.marks[0].first, 2);
  EXPECT_EQ(test::read_xml(to_svg(c)).front().name, "svg");
}
