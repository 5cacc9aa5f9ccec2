#include "base/error.hpp"

#include <gtest/gtest.h>

#include <set>

using namespace ziyu;

TEST(Errc, EveryCodeHasAStableNameOfItsOwnThatReadsBack) {
  std::set<std::string> names;
  for (int i = 0; i <= static_cast<int>(errc::stopping); ++i) {
    const auto code = static_cast<errc>(i);
    const std::string name{to_string(code)};
    EXPECT_NE(name, "unknown") << i;
    EXPECT_TRUE(names.insert(name).second) << name;
    auto read = errc::stopping;
    ASSERT_TRUE(from_string(name, read)) << name;
    EXPECT_EQ(read, code);
  }
  auto untouched = errc::io;
  EXPECT_FALSE(from_string("no_such_error", untouched));
  EXPECT_EQ(untouched, errc::io);
}

TEST(Errc, OnlyErrorsOfTheInputItselfAreBadInput) {
  for (auto code : {errc::empty_image, errc::undecodable_image, errc::image_too_large,
                    errc::job_too_large, errc::tombstone, errc::unknown_schema, errc::missing_field,
                    errc::bad_base64, errc::bad_dataref})
    EXPECT_TRUE(is_bad_input(code)) << to_string(code);
  for (auto code : {errc::labels_mismatch, errc::worker_died, errc::deadline_exceeded,
                    errc::inference_failed, errc::max_attempts, errc::io, errc::kafka})
    EXPECT_FALSE(is_bad_input(code)) << to_string(code);
}

TEST(Error, DescribesItselfWithCodeAndMessage) {
  const error x{errc::job_too_large, "17 MB"};
  EXPECT_EQ(x.describe(), "job_too_large: 17 MB");
}
