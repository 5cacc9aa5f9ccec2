// A real worker leaks; its leak is found where it was injected, with its size.

#include "support/places.hpp"
#include "support/real_worker.hpp"

#include <gmock/gmock.h>

#include <csignal>
#include <fstream>

namespace ziyu {
namespace {

using supervision::leak_cause;
using test::real_worker;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

struct injected {
  const char* name;
  const char* fault; ///< Empty: the model leaks by itself.
  int jobs;
  double bytes_per_job; ///< 0: as the worker's exact counters say.
  double about;         ///< What a judge would have reported.
  leak_cause cause;
  const char* responsible; ///< Part of the function to blame.
};

class InjectedLeak : public ::testing::TestWithParam<injected> {};

TEST_P(InjectedLeak, IsTheFirstSiteWithItsSizeAndCause) {
  const auto& p = GetParam();
  const std::string model = *p.fault == '\0' ? test::source_dir() + "/tests/data/models/leaky/1"
                                             : test::source_dir() + "/models/digits/1";
  real_worker worker{"", model};
  const auto image = test::digit();
  worker.run(image, 5);
  // The leak began before sampling.
  worker.assign(p.fault);
  worker.run(image, 10);
  const auto expected_rate = p.bytes_per_job > 0 ? p.bytes_per_job : p.about;
  worker.profile(wire::profile::start,
                 supervision::choose_sample_rate(expected_rate, static_cast<uint64_t>(p.jobs)));
  worker.run(image, 2);
  const auto before = worker.profile(wire::profile::dump);
  const auto exact = static_cast<double>(worker.run(image, p.jobs));
  const auto after = worker.profile(wire::profile::dump);
  worker.profile(wire::profile::stop);

  EXPECT_EQ(after.jobs - before.jobs, static_cast<uint64_t>(p.jobs));
  const auto report = supervision::explain_leak(test::compare(before, after));
  ASSERT_TRUE(report) << report.error().describe();
  ASSERT_FALSE(report->sites.empty());
  const auto& first = report->sites.front();
  const auto truth = p.bytes_per_job > 0 ? p.bytes_per_job * p.jobs : exact;
  EXPECT_GE(first.bytes, 0.8 * truth) << describe(first.responsible());
  EXPECT_LE(first.bytes, 1.2 * truth) << describe(first.responsible());
  EXPECT_TRUE(report->calibrated) << report->estimated_bytes << " by samples alone";
  EXPECT_THAT(first.responsible().function, HasSubstr(p.responsible));
  EXPECT_EQ(to_string(report->cause), to_string(p.cause));
  EXPECT_THAT(report->flame, Not(IsEmpty()));
}

INSTANTIATE_TEST_SUITE_P(
  OfARealWorker, InjectedLeak,
  ::testing::Values(
    injected{"NativeMalloc", "native_malloc:64KiB", 50, 65536, 65536, leak_cause::native_allocation,
             "keep_block"},
    injected{"NativeMallocOfOneKiB", "native_malloc:1KiB", 400, 1024, 1024,
             leak_cause::native_allocation, "keep_block"},
    injected{"OneJobInTen", "slow_leak:64KiB:10", 600, 6553.6, 6553.6,
             leak_cause::native_allocation, "keep_block"},
    injected{"Tensors", "retain_tensors:1MiB", 50, 1 << 20, 1 << 20, leak_cause::retained_tensors,
             "fault_injector::inject"},
    injected{"Images", "retain_images", 50, 0, 60'000, leak_cause::retained_images, "decode_png"},
    injected{"ImageBuffers", "retain_images:200KiB", 50, 200 * 1024, 200 * 1024,
             leak_cause::retained_images, "fault_injector::inject"},
    injected{"Model", "reload_model", 20, 0, 1.5e6, leak_cause::model_reloaded, "predictor::load"},
    injected{"Threads", "thread_local:64KiB", 50, 65536, 65536, leak_cause::thread_local_growth,
             "fill_thread_cache"},
    injected{"LeakyModel", "", 50, 65536, 65536, leak_cause::retained_tensors, "add_Tensor"}),
  [](const auto& x) { return std::string{x.param.name}; });

TEST(HeapProfiling, LeavesTheExactAccountOfAJobAlone) {
  real_worker worker;
  const auto image = test::digit();
  worker.run(image, 5);
  const auto live = worker.run(image).memory.live;
  for (auto round = 0; round < 3; ++round) {
    worker.profile(wire::profile::start, 12);
    for (auto i = 0; i < 10; ++i) {
      const auto answer = worker.run(image);
      EXPECT_EQ(answer.delta_live, 0);
      EXPECT_EQ(answer.memory.live, live);
    }
    EXPECT_THAT(worker.profile(wire::profile::dump).heap, HasSubstr("heap_v2/4096\n"));
    EXPECT_EQ(worker.run(image).memory.live, live) << "after a dump";
    worker.profile(wire::profile::stop);
    EXPECT_EQ(worker.run(image).memory.live, live) << "after the end of sampling";
  }
}

TEST(HeapProfiling, CountsTheLeakToTheByteWhileItSamples) {
  real_worker worker{"native_malloc:64KiB"};
  const auto image = test::digit();
  worker.run(image, 20);
  worker.profile(wire::profile::start, 12);
  // Beside the blocks only the list of them grows, once in a while.
  EXPECT_GE(worker.run(image, 10), 10 * 65536);
  EXPECT_LE(worker.run(image, 10), 10 * 65536 + 1024);
}

TEST(HeapProfiling, ForgetsWhatWasBeforeItsStart) {
  real_worker worker{"native_malloc:64KiB"};
  const auto image = test::digit();
  worker.profile(wire::profile::start, 12);
  worker.run(image, 10);
  worker.assign("");
  worker.profile(wire::profile::start, 12);
  worker.run(image, 10);
  const auto x = supervision::parse_heap_profile(worker.profile(wire::profile::dump).heap);
  ASSERT_TRUE(x);
  uint64_t bytes = 0;
  for (const auto& stack : x->stacks)
    bytes += stack.bytes;
  EXPECT_LT(bytes, 10u * 65536 / 2);
}

TEST(HeapProfiling, RefusesADumpOfNothing) {
  real_worker worker;
  ASSERT_TRUE(wire::send_frame(worker.socket().get(), wire::profile{wire::profile::dump, 0}));
  const auto answer = worker.expect<wire::profiled>(worker.socket());
  EXPECT_EQ(answer.what, wire::profile::dump);
  EXPECT_THAT(answer.error_message, HasSubstr("not been started"));
  EXPECT_THAT(answer.heap, IsEmpty());
  EXPECT_TRUE(worker.run(test::digit()).error_code.empty()); // and goes on
}

// -- the helper -------------------------------------------------------------------------

const std::string program = test::program_dir() + "/ziyu";

/// A request of a small leak, recorded once.
const supervision::leak_request& some_request() {
  static const auto request = [] {
    real_worker worker{"retain_tensors:1MiB"};
    const auto image = test::digit();
    worker.profile(wire::profile::start, 14);
    worker.run(image, 3);
    const auto before = worker.profile(wire::profile::dump);
    worker.run(image, 10);
    return test::compare(before, worker.profile(wire::profile::dump));
  }();
  return request;
}

TEST(LeakExplainer, BringsTheSameReportFromItsHelper) {
  auto helper = supervision::leak_explainer::start(program, some_request());
  ASSERT_TRUE(helper) << helper.error().describe();
  const auto theirs = helper->wait(real_worker::patience);
  ASSERT_TRUE(theirs) << theirs.error().describe();
  const auto ours = supervision::explain_leak(some_request());
  ASSERT_TRUE(ours);
  EXPECT_EQ(theirs->cause, leak_cause::retained_tensors);
  ASSERT_EQ(theirs->sites.size(), ours->sites.size());
  EXPECT_EQ(theirs->sites[0].stack, ours->sites[0].stack);
  EXPECT_NEAR(theirs->sites[0].bytes, ours->sites[0].bytes, 1);
  EXPECT_EQ(theirs->flame, ours->flame);
}

/// Private memory of this very process in bytes.
uint64_t own_anonymous_memory() {
  uint64_t size = 0, resident = 0, shared = 0;
  std::ifstream{"/proc/self/statm"} >> size >> resident >> shared;
  return (resident - shared) * 4096;
}

TEST(LeakExplainer, LeavesNoMemoryBehindInItsCaller) {
  const auto explain = [] {
    auto helper = supervision::leak_explainer::start(program, some_request());
    ASSERT_TRUE(helper) << helper.error().describe();
    const auto report = helper->wait(real_worker::patience);
    ASSERT_TRUE(report) << report.error().describe();
  };
  explain();
  explain();
  const auto before = own_anonymous_memory();
  for (auto i = 0; i < 5; ++i)
    explain();
  EXPECT_LT(own_anonymous_memory(), before + (1 << 20));
}

TEST(LeakExplainer, PassesOnWhatIsWrongWithADump) {
  auto request = some_request();
  request.after.resize(request.after.size() / 2 + 3);
  auto helper = supervision::leak_explainer::start(program, request);
  ASSERT_TRUE(helper);
  const auto report = helper->wait(real_worker::patience);
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().message, HasSubstr("heap profile, line"));
}

TEST(LeakExplainer, SaysHowAHelperEndedThatDidNotAnswer) {
  auto helper = supervision::leak_explainer::start("/bin/false", some_request());
  ASSERT_TRUE(helper);
  const auto report = helper->wait(real_worker::patience);
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().message, HasSubstr("exit code 1"));
  EXPECT_FALSE(supervision::leak_explainer::start("/no/such/program", some_request()));
}

TEST(LeakExplainer, EndsItsHelperWithItself) {
  // A helper that never answers.
  const temp_dir folder;
  const auto stuck = folder.path() / "stuck";
  ASSERT_TRUE(write_file(stuck, "#!/bin/sh\nexec tail -f /dev/null\n"));
  std::filesystem::permissions(stuck, std::filesystem::perms::owner_all);
  auto pid = 0;
  {
    auto helper = supervision::leak_explainer::start(stuck, {});
    ASSERT_TRUE(helper);
    pid = helper->pid();
    EXPECT_FALSE(helper->poll());
  }
  EXPECT_NE(::kill(pid, 0), 0);
}

} // namespace
} // namespace ziyu
