#include "base/one_thread.hpp"

#include "base/log.hpp"

#include <gtest/gtest.h>

namespace ziyu {

TEST(OneThread, LetsTheThreadOfTheFirstCheckGoOn) {
  one_thread aut;
  std::thread{[&aut] {
    for (auto i = 0; i < 3; ++i)
      aut.check("the thread that checks first may go on");
  }}.join();
}

TEST(OneThreadDeathTest, CrashesWhenAnotherThreadComes) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  ASSERT_TRUE(init_log("info", "text")); // on standard error, where death tests look
  EXPECT_DEATH(
    {
      one_thread aut;
      aut.check("only one thread comes");
      std::thread{[&aut] { aut.check("only one thread comes"); }}.join();
    },
    "only one thread comes");
}

} // namespace ziyu
