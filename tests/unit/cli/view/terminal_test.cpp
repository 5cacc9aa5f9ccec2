#include "cli/view/terminal.hpp"

#include "base/text.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

using namespace ziyu;
using namespace ziyu::cli;

TEST(Fit, PadsOnTheSideThatIsAsked) {
  EXPECT_EQ(fit("ab", 4), "ab  ");
  EXPECT_EQ(fit("ab", 4, true), "  ab");
  EXPECT_EQ(fit("", 3), "   ");
}

TEST(Fit, CountsWideCharactersAsTwo) {
  EXPECT_EQ(fit("金毛犬", 8), "金毛犬  ");
  EXPECT_EQ(fit("金毛犬", 6), "金毛犬");
  // Five columns: two characters and the ellipsis.
  EXPECT_EQ(fit("金毛犬", 5), "金毛…");
  // Four: the second character would leave no room for the ellipsis.
  EXPECT_EQ(fit("金毛犬", 4), "金… ");
}

TEST(Fit, CutsBetweenCharactersOnly) {
  EXPECT_EQ(fit("🇨🇳🇨🇳", 3), "🇨🇳…");
  EXPECT_EQ(fit("a👩\u200d👩\u200d👧b", 6), "a…    ");
  EXPECT_EQ(fit("e\u0301e\u0301e\u0301", 2), "e\u0301…");
}

TEST(Fit, IsAlwaysExactlyAsWideAsAsked) {
  for (const auto* text :
       {"", "a", "plain text", "金毛犬 golden", "e\u0301tude", "\xff\xfe?", "tab\there",
        "🙂 smile", "👩\u200d👩\u200d👧 family", "\u0939\u093f\u0928\u094d\u0926\u0940"})
    for (size_t columns = 0; columns < 14; ++columns)
      for (const auto right : {false, true})
        EXPECT_EQ(display_width(fit(text, columns, right)), columns) << text << " " << columns;
}

TEST(Printable, LetsNothingSteerTheTerminal) {
  EXPECT_EQ(printable("a\x1b[31mb\nc\td\x7f"), "a [31mb c d ");
  EXPECT_EQ(printable("a\u009bb"), "a b"); // CSI as one C1 control
  EXPECT_EQ(printable("a\xffz"), "a\uFFFDz");
  EXPECT_EQ(printable("零 é 🙂"), "零 é 🙂");
}

TEST(Paint, IsTheTextItselfWithoutColours) {
  EXPECT_EQ(paint("x", colour::red, false), "x");
  EXPECT_EQ(paint("x", colour::red, true), "\x1b[31mx\x1b[0m");
}

TEST(Terminal, APipeIsNone) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_FALSE(is_terminal(ends[1]));
  EXPECT_FALSE(wants_colour(ends[1]));
  EXPECT_EQ(terminal_width(ends[1]), 80u);
  EXPECT_EQ(terminal_height(ends[1]), 24u);
  ::close(ends[0]);
  ::close(ends[1]);
}
