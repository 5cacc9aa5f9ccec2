#include "supervision/wire/fault_spec.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::wire;
using kind = fault_spec::kind;

namespace {

struct good_case {
  std::string_view text;
  kind what;
  uint64_t bytes = 0, ms = 0;
};

} // namespace

TEST(FaultSpec, ParsesEveryKnownFault) {
  const good_case cases[] = {
    {"", kind::none},
    {"retain_tensors", kind::retain_tensors, 0},
    {"retain_tensors:6MiB", kind::retain_tensors, 6u << 20},
    {"retain_tensors:4392", kind::retain_tensors, 4392},
    {"retain_images", kind::retain_images},
    {"reload_model", kind::reload_model},
    {"native_malloc", kind::native_malloc, 1u << 20},
    {"native_malloc:10 kB", kind::native_malloc, 10'000},
    {"native_malloc:0", kind::native_malloc, 0},
    {"crash", kind::crash},
    {"hang", kind::hang},
    {"slow:250", kind::slow, 0, 250},
    {"slow:0", kind::slow, 0, 0},
  };
  for (const auto& x : cases) {
    const auto spec = parse_fault(x.text);
    ASSERT_TRUE(spec) << x.text << ": " << spec.error().describe();
    EXPECT_EQ(spec->what, x.what) << x.text;
    EXPECT_EQ(spec->bytes, x.bytes) << x.text;
    EXPECT_EQ(spec->ms, x.ms) << x.text;
  }
}

TEST(FaultSpec, RefusesWhatItDoesNotKnowAndListsWhatItKnows) {
  for (std::string_view text :
       {"retain", "Crash", "crash ", "crash:1", "hang:", "reload_model:2", ":", ":5", "slow",
        "slow:", "slow:-1", "slow:1.5", "slow:10ms", "slow:99999999999999999999", "崩溃"}) {
    const auto spec = parse_fault(text);
    ASSERT_FALSE(spec) << text;
    EXPECT_EQ(spec.error().code, errc::invalid_config) << text;
    EXPECT_NE(spec.error().message.find("\"" + std::string{text} + "\""), std::string::npos)
      << spec.error().message;
    for (auto name : {"retain_tensors[:bytes]", "retain_images", "reload_model",
                      "native_malloc[:bytes]", "crash", "hang", "slow:ms"})
      EXPECT_NE(spec.error().message.find(name), std::string::npos) << spec.error().message;
  }
}

TEST(FaultSpec, RefusesAmountsThatAreNone) {
  for (std::string_view text : {"retain_tensors:", "retain_tensors:much", "retain_tensors:-1",
                                "native_malloc:6XiB", "native_malloc:1:2"})
    EXPECT_FALSE(parse_fault(text)) << text;
}
