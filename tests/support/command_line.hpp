#pragma once

#include "cli/app.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace ziyu::test {

/// The result of one command line of `ziyu` that ran inside the test.
struct outcome {
  int code;
  std::string out, err;
};

inline outcome run_ziyu(const std::vector<std::string>& arguments) {
  ::unsetenv("ZIYU_CONFIG");
  std::vector<const char*> argv{"ziyu"};
  for (const auto& x : arguments)
    argv.push_back(x.c_str());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  outcome result;
  result.code = cli::run(static_cast<int>(argv.size()), argv.data());
  result.out = testing::internal::GetCapturedStdout();
  result.err = testing::internal::GetCapturedStderr();
  return result;
}

} // namespace ziyu::test
