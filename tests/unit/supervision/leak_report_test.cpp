#include "supervision/leak_report.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace ziyu::supervision {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

/// "outer;inner" with names as libraries' functions.
named_growth growth(double bytes, const std::string& folded_stack, double objects = 1) {
  named_growth x;
  x.bytes = bytes;
  x.objects = objects;
  x.threads = 1;
  std::string left = folded_stack;
  while (!left.empty()) {
    const auto end = left.find(';');
    x.stack.insert(x.stack.begin(), code_location{left.substr(0, end), "lib", "", 0});
    left = end == std::string::npos ? "" : left.substr(end + 1);
  }
  return x;
}

TEST(LeakSites, GoDownToTheInnermostCallThatExplainsTheGrowth) {
  const auto sites = find_sites({growth(950, "main;ziyu::job;lib::keep;malloc"),
                                 growth(50, "main;ziyu::job;lib::other;malloc")},
                                1000, 10);
  ASSERT_THAT(sites, SizeIs(1));
  EXPECT_EQ(sites[0].responsible().function, "lib::keep");
  EXPECT_DOUBLE_EQ(sites[0].bytes, 950);
  EXPECT_DOUBLE_EQ(sites[0].share, 0.95);
}

TEST(LeakSites, TellApartWhatOurOwnCodeCalls) {
  const auto sites = find_sites({growth(300, "main;ziyu::job;lib::a;malloc"),
                                 growth(600, "main;ziyu::job;lib::b;malloc"),
                                 growth(100, "main;ziyu::job;lib::c;malloc")},
                                1000, 2);
  ASSERT_THAT(sites, SizeIs(2)); // the largest two
  EXPECT_EQ(sites[0].responsible().function, "lib::b");
  EXPECT_EQ(sites[1].responsible().function, "lib::a");
}

TEST(LeakSites, TakeTheManyPiecesOfALibraryForOneThing) {
  std::vector<named_growth> stacks;
  for (auto i = 0; i < 200; ++i)
    stacks.push_back(growth(5, "main;ziyu::job;lib::open;lib::part_" + std::to_string(i)));
  const auto sites = find_sites(stacks, 1000, 10);
  ASSERT_THAT(sites, SizeIs(1));
  EXPECT_EQ(sites[0].responsible().function, "lib::open");
  EXPECT_DOUBLE_EQ(sites[0].bytes, 1000);
  EXPECT_DOUBLE_EQ(sites[0].objects, 200);
}

TEST(LeakSites, TakeLoadingAModelForOneThing) {
  const auto sites = find_sites(
    {growth(500, "main;ziyu::model::predictor::load;torch::jit::load"),
     growth(500, "main;ziyu::model::predictor::load;torch::jit::freeze")},
    1000, 10);
  ASSERT_THAT(sites, SizeIs(1));
  EXPECT_EQ(sites[0].responsible().function, "ziyu::model::predictor::load");
  EXPECT_EQ(sites[0].cause, leak_cause::model_reloaded);
}

TEST(LeakSites, AreNotMadeOfWhatShrinks) {
  EXPECT_THAT(find_sites({growth(-100, "main;a")}, -100, 10), SizeIs(0));
  EXPECT_THAT(find_sites({}, 0, 10), SizeIs(0));
  const auto sites = find_sites({growth(1000, "main;a;malloc"), growth(-900, "main;b;malloc")}, 100,
                                10);
  ASSERT_THAT(sites, SizeIs(1));
  EXPECT_EQ(sites[0].responsible().function, "a");
}

TEST(LeakReport, WritesFoldedStacksLargestFirst) {
  EXPECT_EQ(write_folded({growth(10.4, "main;a;malloc"), growth(200, "main;b c;malloc"),
                          growth(3, "main;a;malloc"), growth(-5, "main;d"), growth(0.2, "e")}),
            "main;c;malloc 200\nmain;a;malloc 13\n");
}

TEST(LeakReport, BoundsTheFlameGraph) {
  std::vector<named_growth> stacks;
  for (auto i = 0; i < 20'000; ++i)
    stacks.push_back(growth(5, "main;" + std::string(100, 'x') + std::to_string(i)));
  EXPECT_LE(write_folded(stacks).size(), 256u * 1024);
}

leak_request request_of(const std::string& after) {
  leak_request x;
  x.after = after;
  return x;
}

TEST(LeakReport, SaysThatADumpIsBroken) {
  const auto x = explain_leak(request_of("heap_v2/4096\n@ 0x1\n"));
  ASSERT_FALSE(x);
  EXPECT_THAT(x.error().message, HasSubstr("line 2"));
}

TEST(LeakReport, ScalesSamplesToTheExactGrowth) {
  auto request = request_of("heap_v2/4096\n@ 0x1\n  t*: 10: 900000 [0: 0]\n");
  request.live_growth = 1'000'000;
  const auto x = explain_leak(request);
  ASSERT_TRUE(x);
  EXPECT_TRUE(x->calibrated);
  EXPECT_NEAR(x->estimated_bytes, 900'000, 1);
  ASSERT_THAT(x->sites, SizeIs(1));
  EXPECT_NEAR(x->sites[0].bytes, 1'000'000, 1);
  EXPECT_NEAR(x->sites[0].share, 1, 1e-9);
}

TEST(LeakReport, TakesTheSampledJobsForAll) {
  auto request = request_of("heap_v2/4096\n@ 0x1\n  t*: 10: 900000 [0: 0]\n");
  request.jobs = 50;
  request.sampled_jobs = 10;
  const auto x = explain_leak(request);
  ASSERT_TRUE(x);
  EXPECT_FALSE(x->calibrated);
  EXPECT_NEAR(x->growth_bytes, 4'500'000, 5);
  ASSERT_THAT(x->sites, SizeIs(1));
  EXPECT_NEAR(x->sites[0].objects, 50, 1e-3);
}

TEST(LeakReport, DoesNotBelieveCountersThatContradictTheSamples) {
  auto request = request_of("heap_v2/4096\n@ 0x1\n  t*: 10: 900000 [0: 0]\n");
  request.live_growth = 1'000;
  const auto x = explain_leak(request);
  ASSERT_TRUE(x);
  EXPECT_FALSE(x->calibrated);
  EXPECT_NEAR(x->growth_bytes, 900'000, 1);
}

TEST(LeakReport, KeepsItsContentAsJson) {
  leak_report x;
  x.cause = leak_cause::thread_local_growth;
  x.growth_bytes = 1000;
  x.estimated_bytes = 900;
  x.calibrated = true;
  x.sample_bytes = 4096;
  x.jobs = 50;
  x.sites = find_sites({growth(1000, "main;ziyu::job;lib::keep;malloc", 7)}, 1000, 10);
  x.sites[0].stack[1].file = "keep.cpp";
  x.sites[0].stack[1].line = 12;
  x.flame = "main;ziyu::job;lib::keep;malloc 1000\n";
  const auto text = to_json(x);
  EXPECT_EQ(text["cause"], "thread_local");
  EXPECT_EQ(text["sites"][0]["responsible"]["function"], "lib::keep");
  EXPECT_EQ(text["sites"][0]["responsible"]["line"], 12);
  EXPECT_EQ(text["sites"][0]["objects"], 7);
  EXPECT_THAT(text["sites"][0]["full_stack"], SizeIs(4));
  EXPECT_THAT(text["sites"][0]["stack"], SizeIs(2)); // without malloc and main
  const auto back = leak_report_from_json(text);
  ASSERT_TRUE(back) << back.error().describe();
  EXPECT_EQ(to_json(*back), text);
}

TEST(LeakReport, KeepsARequestAsJson) {
  auto x = request_of("heap_v2/4096\n");
  x.before = "heap_v2/4096\n";
  x.maps = "1-2 r-xp 0 0:0 0 /a\n";
  x.live_growth = -5;
  x.jobs = 3;
  x.sampled_jobs = 2;
  x.evidence.kind = supervision::growth::hoarding;
  x.evidence.gpu_reserved_per_job = 1.5;
  const auto back = leak_request_from_json(to_json(x));
  ASSERT_TRUE(back);
  EXPECT_EQ(to_json(*back), to_json(x));
}

TEST(LeakReport, RefusesJsonOfAnotherShape) {
  EXPECT_FALSE(leak_report_from_json(nlohmann::json::parse(R"({"cause": "unknown"})")));
  EXPECT_FALSE(leak_report_from_json(nlohmann::json::parse("[]")));
  EXPECT_FALSE(leak_request_from_json(nlohmann::json::parse(R"({"before": 1})")));
}

} // namespace
} // namespace ziyu::supervision
