#include "cli/demo/picture.hpp"

#include "cli/view/terminal.hpp"
#include "support/xml.hpp"

#include <gtest/gtest.h>

using namespace ziyu::cli;
using ziyu::test::named;
using ziyu::test::read_xml;
using ziyu::test::with_text;

TEST(TerminalPicture, IsWellFormedAndKeepsTextAndColours) {
  const auto all = read_xml(
    terminal_picture({"$ ziyu demo <&>", paint("red", colour::red, true) + " plain",
                      paint("▃█", colour::green, true), "零 七"},
                     20, "a \"title\""));
  with_text(all, "<&>");
  EXPECT_EQ(with_text(all, "red").attributes.at("class"), "c31");
  EXPECT_EQ(with_text(all, "plain").attributes.at("class"), "c0");
  const auto wide = with_text(all, "零"), second = with_text(all, "七");
  // Two cells and a space further, in a cell twice as wide as that of an ASCII character.
  const auto cell = with_text(all, "red").number("textLength") / 3;
  EXPECT_NEAR(wide.number("textLength"), 2 * cell, 0.05);
  EXPECT_NEAR(second.number("x") - wide.number("x"), 3 * cell, 0.05);
}

TEST(TerminalPicture, DrawsBlocksInTheirCells) {
  const auto all = read_xml(terminal_picture({"▁▁█"}, 10, "t"));
  auto rects = named(all, "rect");
  rects.erase(rects.begin(), rects.begin() + 2); // Window and title bar.
  ASSERT_EQ(rects.size(), 2u);
  EXPECT_NEAR(rects[0].number("width"), 2 * rects[1].number("width"), 0.05);
  EXPECT_NEAR(rects[0].number("height") * 8, rects[1].number("height"), 0.05);
  EXPECT_NEAR(rects[0].number("x") + rects[0].number("width"), rects[1].number("x"), 0.05);
}

TEST(TerminalPicture, DrawsALetterWithItsAccents) {
  const auto all = read_xml(terminal_picture({"cafe\u0301s", "\xff"}, 10, "t"));
  const auto word = with_text(all, "cafe\u0301s");
  EXPECT_NEAR(word.number("textLength"), 5 * with_text(all, "\uFFFD").number("textLength"), 0.05);
}

TEST(TerminalPicture, CutsAtItsColumns) {
  const auto all = read_xml(terminal_picture({"abcdef", "ab零"}, 3, "t"));
  with_text(all, "abc");
  with_text(all, "ab");
  EXPECT_THROW(with_text(all, "零"), std::runtime_error);
}
