#include "supervision/leak_report.hpp"

#include "base/file.hpp"
#include "support/places.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace ziyu::supervision {
namespace {

code_location at(std::string function, std::string library = "ziyu-worker") {
  return {std::move(function), std::move(library), {}, 0};
}

/// A stack below the worker's loop.
leak_cause cause_below_loop(std::vector<code_location> top, uint32_t threads = 1) {
  top.insert(top.begin(), at("malloc", "libjemalloc.so.2"));
  top.push_back(at("ziyu::worker::run_worker"));
  top.push_back(at("main"));
  return cause_of(top, threads);
}

TEST(LeakCause, FollowsItsTable) {
  EXPECT_EQ(cause_below_loop(
              {at("c10::alloc_cpu", "libc10.so"), at("at::_ops::zeros::call"), at("app::keep")}),
            leak_cause::retained_tensors);
  EXPECT_EQ(cause_below_loop({at("cv::fastMalloc"), at("cv::Mat::create"), at("app::keep")}),
            leak_cause::retained_images);
  EXPECT_EQ(cause_below_loop({at("", "libjpeg.so.62"), at("app::keep")}),
            leak_cause::retained_images);
  EXPECT_EQ(cause_below_loop({at("ziyu::model::pixel_grid::pixel_grid"), at("app::keep")}),
            leak_cause::retained_images);
  EXPECT_EQ(cause_below_loop({at("app::keep")}), leak_cause::native_allocation);
  EXPECT_EQ(cause_below_loop({at("c10::cuda::CUDACachingAllocator::raw_alloc")}),
            leak_cause::gpu_cache);
}

TEST(LeakCause, NamesTheModelBeforeItsTensors) {
  EXPECT_EQ(cause_below_loop({at("c10::alloc_cpu", "libc10.so"),
                              at("torch::jit::Unpickler::run", "libtorch_cpu.so"),
                              at("torch::jit::load", "libtorch_cpu.so")}),
            leak_cause::model_reloaded);
}

TEST(LeakCause, NamesTheImageBeforeTheTensorThatItBecame) {
  EXPECT_EQ(cause_below_loop({at("c10::alloc_cpu", "libc10.so"), at("at::_ops::empty::call"),
                              at("ziyu::model::preprocess(ziyu::model::decoded_image const&)")}),
            leak_cause::retained_images);
}

TEST(LeakCause, KnowsOtherThreads) {
  EXPECT_EQ(cause_of({at("malloc", "libjemalloc.so.2"), at("app::cache"), at("start_thread"),
                      at("clone3")}),
            leak_cause::thread_local_growth);
  EXPECT_EQ(cause_below_loop({at("app::cache")}, 4), leak_cause::thread_local_growth);
  EXPECT_EQ(cause_below_loop({at("__tls_get_addr", "ld-linux-x86-64.so.2")}),
            leak_cause::thread_local_growth);
}

TEST(LeakCause, DoesNotGuessWithoutNames) {
  EXPECT_EQ(cause_of({at("malloc", "libjemalloc.so.2"), at("", "")}), leak_cause::unknown);
  EXPECT_EQ(cause_of({}), leak_cause::unknown);
}

leak_site site(leak_cause cause, double bytes) {
  leak_site x;
  x.cause = cause;
  x.bytes = bytes;
  return x;
}

TEST(LeakCause, GoesByTheSitesThatHoldMost) {
  cause_evidence e;
  e.kind = growth::leak;
  EXPECT_EQ(
    name_cause(e, {site(leak_cause::retained_images, 40), site(leak_cause::retained_tensors, 35),
                   site(leak_cause::retained_tensors, 25)}),
    leak_cause::retained_tensors);
}

TEST(LeakCause, FallsBackToTheCountersWithoutAMajority) {
  cause_evidence e;
  e.kind = growth::leak;
  e.live_per_job = e.decoded_per_job = 1e6;
  EXPECT_EQ(name_cause(e, {}), leak_cause::retained_images);
  EXPECT_EQ(
    name_cause(e, {site(leak_cause::native_allocation, 40), site(leak_cause::retained_tensors, 35),
                   site(leak_cause::model_reloaded, 25)}),
    leak_cause::retained_images);
}

TEST(LeakCause, SeesHoardingAndTheGpuByCounters) {
  cause_evidence e;
  e.kind = growth::hoarding;
  EXPECT_EQ(name_cause(e, {site(leak_cause::retained_tensors, 10)}), leak_cause::hoarding);
  EXPECT_EQ(name_cause(e, {site(leak_cause::thread_local_growth, 10)}),
            leak_cause::thread_local_growth);
  e.kind = growth::healthy;
  e.gpu_reserved_per_job = 1e6;
  EXPECT_EQ(name_cause(e, {}), leak_cause::gpu_cache);
  e.gpu_allocated_per_job = 1e6; // held by tensors, not by the cache
  EXPECT_NE(name_cause(e, {}), leak_cause::gpu_cache);
}

TEST(LeakCause, TellsAGrowingGpuCacheFromTensorsOnTheGpuByCountersAlone) {
  cause_evidence x;
  x.kind = growth::hoarding;
  x.gpu_reserved_per_job = 2e6;
  EXPECT_EQ(name_cause(x), leak_cause::gpu_cache);
  x.kind = growth::leak;
  x.gpu_allocated_per_job = 2e6;
  EXPECT_EQ(name_cause(x), leak_cause::retained_tensors) << "nothing else lives there";
  x.live_per_job = 6e6;
  EXPECT_EQ(name_cause(x), leak_cause::unknown) << "something else leaks more";
}

TEST(LeakCause, SeesThatMoreIsHoardedThanHeld) {
  cause_evidence e;
  e.kind = growth::leak;
  e.live_grown = 10e6;
  e.private_grown = 35e6;
  auto tensors = site(leak_cause::retained_tensors, 10e6);
  tensors.objects = 40;
  EXPECT_EQ(name_cause(e, {tensors}), leak_cause::hoarding);
  e.private_grown = 18e6;
  EXPECT_EQ(name_cause(e, {tensors}), leak_cause::retained_tensors) << "less than is held";
  e.private_grown = 35e6;
  tensors.objects = 10'000;
  EXPECT_EQ(name_cause(e, {tensors}), leak_cause::retained_tensors)
    << "small objects that are sampled take pages of their own";
  auto threads = site(leak_cause::thread_local_growth, 10e6);
  EXPECT_EQ(name_cause(e, {threads}), leak_cause::thread_local_growth) << "their stacks";
}

TEST(LeakCause, SeesHoardingBeforeTheJudgeIsSureOfIt) {
  cause_evidence x;
  x.kind = growth::suspected;
  x.private_grown = 250e6;
  x.live_grown = 1e6;
  EXPECT_EQ(name_cause(x), leak_cause::hoarding) << "its budget was used up first";
  x.live_grown = 130e6;
  EXPECT_EQ(name_cause(x), leak_cause::unknown) << "more is held than is not";
  x.kind = growth::warming_up;
  EXPECT_EQ(name_cause(x), leak_cause::unknown) << "it is too early, but it holds what it took";
  x.live_grown = 1e6;
  EXPECT_EQ(name_cause(x), leak_cause::budget) << "too early to be called growth";
  x = {};
  x.kind = growth::suspected;
  x.private_grown = 7e6;
  EXPECT_EQ(name_cause(x), leak_cause::unknown) << "an allocator has as much to spare";
}

TEST(LeakCause, HasANameForEachThatCanBeReadBack) {
  for (auto i = 0; i <= static_cast<int>(leak_cause::unknown); ++i)
    EXPECT_EQ(parse_leak_cause(to_string(static_cast<leak_cause>(i))), static_cast<leak_cause>(i));
  EXPECT_FALSE(parse_leak_cause("bad luck"));
}

// -- stacks that were recorded from a real worker (bench_heap_profile --record) -----------

struct recorded {
  const char* name;
  leak_cause cause;
  const char* responsible; ///< Part of the name of the function to blame.
};

class RecordedLeak : public ::testing::TestWithParam<recorded> {};

TEST_P(RecordedLeak, IsNamedAndSized) {
  const auto path = (test::source_dir() + "/tests/data/heap/") + GetParam().name + ".json";
  const auto data = nlohmann::json::parse(read_file(path).value());
  std::vector<named_growth> stacks;
  double sum = 0;
  for (const auto& item : data["stacks"]) {
    auto& x = stacks.emplace_back();
    x.bytes = item["bytes"];
    x.objects = item["objects"];
    x.threads = item["threads"];
    sum += x.bytes;
    for (const auto& frame : item["stack"])
      x.stack.push_back({frame[0], frame[1], frame[2], 0});
  }
  const auto sites = find_sites(stacks, sum, 10);
  ASSERT_FALSE(sites.empty());
  cause_evidence e;
  e.kind = growth::leak;
  EXPECT_EQ(to_string(name_cause(e, sites)), to_string(GetParam().cause));
  EXPECT_THAT(sites[0].responsible().function, ::testing::HasSubstr(GetParam().responsible));
  EXPECT_GT(sites[0].share, 0.8);
}

INSTANTIATE_TEST_SUITE_P(
  OfARealWorker, RecordedLeak,
  ::testing::Values(
    recorded{"native_malloc_64KiB", leak_cause::native_allocation, "keep_block"},
    recorded{"native_malloc_1KiB", leak_cause::native_allocation, "keep_block"},
    recorded{"slow_leak_64KiB_10", leak_cause::native_allocation, "keep_block"},
    recorded{"retain_tensors_1MiB", leak_cause::retained_tensors, "fault_injector::inject"},
    recorded{"retain_images", leak_cause::retained_images, "cv::imdecode"},
    recorded{"reload_model", leak_cause::model_reloaded, "predictor::load"},
    recorded{"thread_local_64KiB", leak_cause::thread_local_growth, "fill_thread_cache"},
    recorded{"leaky_model", leak_cause::retained_tensors, "add_Tensor"}),
  [](const auto& x) { return std::string{x.param.name}; });

} // namespace
} // namespace ziyu::supervision
