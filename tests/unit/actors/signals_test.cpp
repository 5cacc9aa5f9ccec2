#include "actors/signals.hpp"

#include <gtest/gtest.h>

#include <csignal>

namespace ziyu::actors {

// To this thread, which has blocked them by then.

TEST(Wakeups, KnowsOfAStopWhileItWaitsForSomethingElseAndStillTellsOfIt) {
  wakeups aut;
  EXPECT_FALSE(aut.stop_is_due());
  std::raise(SIGUSR2);
  EXPECT_FALSE(aut.stop_is_due());
  std::raise(SIGTERM);
  EXPECT_TRUE(aut.stop_is_due());
  EXPECT_TRUE(aut.stop_is_due()) << "it was not taken";
  EXPECT_EQ(aut.wait(), wakeups::kind::resume) << "in their order";
  EXPECT_EQ(aut.wait(), wakeups::kind::stop);
  EXPECT_FALSE(aut.stop_is_due());
}

TEST(Wakeups, LeavesTheSignalBehindAStopToWhoeverForcesIt) {
  wakeups aut;
  std::raise(SIGINT);
  EXPECT_TRUE(aut.stop_is_due());
  std::raise(SIGTERM);
  EXPECT_TRUE(aut.stop_is_due());
  EXPECT_EQ(aut.wait(), wakeups::kind::stop);
  EXPECT_TRUE(aut.stopped_again(-1, 0));
}

TEST(Wakeups, CountsAFatalErrorAsAReasonToStop) {
  wakeups aut;
  aut.fail_with({errc::model_missing, "gone"});
  EXPECT_TRUE(aut.stop_is_due());
  EXPECT_EQ(aut.wait(), wakeups::kind::fatal);
}

} // namespace ziyu::actors
