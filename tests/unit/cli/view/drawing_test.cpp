#include "cli/view/drawing.hpp"

#include "base/text.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::cli;

TEST(StyledLine, NeverGetsWiderThanItsColumns) {
  for (size_t columns : {0u, 1u, 5u, 12u, 40u}) {
    styled_line x{columns, false};
    x.add("零一二").cell("name", 8, {}, true).bar(.5, 10, colour::red).levels({1, 2, 3}, 6, 3);
    EXPECT_LE(display_width(x.take()), columns);
  }
}

TEST(StyledLine, FillsItsBarByTheShare) {
  EXPECT_EQ((styled_line{10, false}.bar(.5, 4, colour::red).take()), "██░░");
  EXPECT_EQ((styled_line{10, false}.bar(-1, 4, colour::red).take()), "░░░░");
  EXPECT_EQ((styled_line{10, false}.bar(9, 4, colour::red).take()), "████");
}

TEST(StyledLine, ColoursOnlyWhereThatIsWanted) {
  EXPECT_EQ((styled_line{10, true}.add("x", colour::red).take()), "\x1b[31mx\x1b[0m");
  EXPECT_EQ((styled_line{10, false}.add("x", colour::red).take()), "x");
}

TEST(Sparkline, IsScaledAndHoldsTheLatest) {
  EXPECT_EQ(sparkline({0, 4, 8}, 3, 8), "▁▅█");
  EXPECT_EQ(sparkline({0, 4, 8}, 2, 8), "▅█");
  EXPECT_EQ(sparkline({8}, 3, 8), "█  ");
  EXPECT_EQ(sparkline({}, 2, 8), "  ");
  EXPECT_EQ(sparkline({-5, 1e300}, 2, 8), "▁█");
  EXPECT_EQ(sparkline({5}, 1, 0), "▁");
}

TEST(RateMeter, KnowsTheRateOfAShortRun) {
  rate_meter aut;
  EXPECT_EQ(aut.per_second(), 0);
  aut.add(0.1, 5);
  EXPECT_DOUBLE_EQ(aut.per_second(), 50);
}

TEST(RateMeter, ForgetsWhatIsLongAgo) {
  rate_meter aut;
  for (int i = 1; i <= 10; ++i)
    aut.add(i, 100);
  EXPECT_EQ(aut.per_second(), 0);
  for (int i = 11; i <= 20; ++i)
    aut.add(i, 100 + static_cast<uint64_t>(i - 10) * 20);
  EXPECT_DOUBLE_EQ(aut.per_second(), 20);
}
