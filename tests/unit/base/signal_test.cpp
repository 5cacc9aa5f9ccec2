#include "base/signal.hpp"

#include <gtest/gtest.h>

#include <csignal>

namespace ziyu {

TEST(Signal, IsIgnoredOnlyIfItsActionIsToIgnoreIt) {
  const auto before = ::signal(SIGURG, SIG_IGN);
  EXPECT_TRUE(is_ignored(SIGURG));
  ::signal(SIGURG, SIG_DFL); // which does nothing, but is not the same
  EXPECT_FALSE(is_ignored(SIGURG));
  ::signal(SIGURG, [](int) {});
  EXPECT_FALSE(is_ignored(SIGURG));
  ::signal(SIGURG, before);
  EXPECT_FALSE(is_ignored(-1));
}

} // namespace ziyu
