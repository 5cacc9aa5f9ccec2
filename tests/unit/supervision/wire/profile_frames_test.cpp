#include "supervision/wire/fault_spec.hpp"
#include "supervision/wire/frames.hpp"

#include <gmock/gmock.h>

namespace ziyu::wire {
namespace {

using ::testing::HasSubstr;
using kind = fault_spec::kind;

template <class T>
T through_the_wire(const T& x) {
  frame_reader reader;
  reader.feed(encode(x));
  return std::get<T>(reader.next().value().value());
}

TEST(ProfileFrames, ArriveAsTheyWereSent) {
  const profile request{profile::dump, 14};
  EXPECT_EQ(through_the_wire(request), request);
  profiled answer;
  answer.what = profile::dump;
  answer.error_message = "没有";
  answer.duration_us = 1;
  answer.jobs = 2;
  answer.live = 3;
  answer.sampled_jobs = 4;
  answer.heap = std::string(100'000, 'h');
  answer.maps = "maps\n";
  EXPECT_EQ(through_the_wire(answer), answer);
}

TEST(FaultSpec, KnowsTheWholeList) {
  const std::pair<const char*, fault_spec> all[] = {
    {"", {}},
    {"retain_tensors", {kind::retain_tensors}},
    {"retain_tensors:6MiB", {kind::retain_tensors, 6 << 20}},
    {"retain_images", {kind::retain_images}},
    {"retain_images:64KiB", {kind::retain_images, 64 << 10}},
    {"reload_model", {kind::reload_model}},
    {"native_malloc", {kind::native_malloc, 1 << 20}},
    {"native_malloc:4 kB", {kind::native_malloc, 4000}},
    {"slow_leak:64KiB:10", {kind::slow_leak, 64 << 10, 0, 10}},
    {"thread_local", {kind::of_thread, 1 << 20}},
    {"thread_local:1KiB", {kind::of_thread, 1 << 10}},
    {"fragment", {kind::fragment, 1 << 20}},
    {"fragment:2MiB", {kind::fragment, 2 << 20}},
    {"gpu_cache:2MiB", {kind::gpu_cache, 2 << 20}},
    {"crash", {kind::crash}},
    {"hang", {kind::hang}},
    {"slow:20", {kind::slow, 0, 20}},
    {"garbage", {kind::garbage}},
    {"oom", {kind::oom}},
  };
  for (const auto& [text, expected] : all) {
    const auto x = parse_fault(text);
    ASSERT_TRUE(x) << text << ": " << x.error().describe();
    EXPECT_EQ(x->what, expected.what) << text;
    EXPECT_EQ(x->bytes, expected.bytes) << text;
    EXPECT_EQ(x->ms, expected.ms) << text;
    EXPECT_EQ(x->every, expected.every) << text;
  }
}

TEST(FaultSpec, RefusesWhatItDoesNotKnow) {
  for (auto text : {"leak", "crash:1", "oom:1", "slow", "slow:x", "slow_leak", "slow_leak:1KiB",
                    "slow_leak:1KiB:0", "slow_leak:1KiB:x", "slow_leak:x:2",
                    "fragment:", "retain_images:", "gpu_cache:many", "reload_model:1"}) {
    const auto x = parse_fault(text);
    ASSERT_FALSE(x) << text;
    EXPECT_EQ(x.error().code, errc::invalid_config) << text;
  }
  EXPECT_THAT(parse_fault("leak").error().message, HasSubstr("thread_local[:bytes]"));
}

} // namespace
} // namespace ziyu::wire
