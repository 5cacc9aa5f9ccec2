#include "base/log.hpp"

#include "base/clock.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

using namespace ziyu;
using testing::HasSubstr;
using testing::Not;

namespace {

/// What one warning looks like on standard error.
std::string logged(const std::string& level, const std::string& format,
                   const std::string& message) {
  testing::internal::CaptureStderr();
  EXPECT_TRUE(init_log(level, format));
  spdlog::warn("{}", message);
  return testing::internal::GetCapturedStderr();
}

} // namespace

TEST(Log, TextIsOneLineForPeopleWithoutColoursWhenNotOnATerminal) {
  const auto line = logged("info", "text", "worker replaced slot=1 label=金毛犬");
  EXPECT_THAT(line, HasSubstr("warning worker replaced slot=1 label=金毛犬\n"));
  EXPECT_THAT(line, Not(HasSubstr("\x1b")));
}

TEST(Log, JsonEscapesWhatJsonForbids) {
  const auto line = logged("info", "json", "a \"quoted\" \\ back\nslash 金\xff");
  EXPECT_THAT(line, HasSubstr(R"("level":"warning")"));
  EXPECT_THAT(
    line, HasSubstr("\"message\":\"a \\\"quoted\\\" \\\\ back\\u000aslash 金\xef\xbf\xbd\"}\n"));
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
}

TEST(Log, DropsWhatIsBelowItsLevel) {
  EXPECT_EQ(logged("error", "text", "not shown"), "");
  EXPECT_NE(logged("warn", "text", "shown"), "");
}

TEST(Log, RefusesUnknownLevelsAndFormats) {
  const auto level = init_log("loud", "text");
  ASSERT_FALSE(level);
  EXPECT_EQ(level.error().code, errc::invalid_config);
  EXPECT_THAT(level.error().message, HasSubstr("loud"));
  const auto format = init_log("info", "xml");
  ASSERT_FALSE(format);
  EXPECT_THAT(format.error().message, HasSubstr("xml"));
}

TEST(Clock, MonotonicTimeNeverGoesBackAndRandomNumbersDiffer) {
  auto& env = system_environment();
  const auto before = env.monotonic_us();
  EXPECT_GE(env.monotonic_us(), before);
  EXPECT_GT(env.wall_ms(), 1'700'000'000'000) << "later than 2023";
  EXPECT_NE(env.random(), env.random());
}
