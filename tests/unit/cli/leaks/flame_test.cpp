#include "cli/leaks/flame.hpp"

#include "support/xml.hpp"

#include <gtest/gtest.h>

#include <map>

using namespace ziyu::cli;
using ziyu::test::read_xml;

namespace {

struct box {
  double x, y, width;
};

/// The frames of a picture by their hover titles.
std::map<std::string, box> frames(const std::string& folded) {
  std::map<std::string, box> result;
  std::string title;
  for (const auto& x : read_xml(flame_svg(folded, "t"))) {
    if (x.name == "title")
      title = x.text;
    else if (x.name == "rect" && !title.empty())
      result[title] = {x.number("x"), x.number("y"), x.number("width")};
  }
  return result;
}

} // namespace

TEST(Flame, GivesEachFrameTheWidthOfItsBytesUponItsCaller) {
  const auto all = frames("main;a 3000000\nmain;b 1000000\nmain;a;c 4000000\n");
  ASSERT_EQ(all.size(), 5u);
  const auto &root = all.at("all: 7.6 MiB (100.0 %)"), &main = all.at("main: 7.6 MiB (100.0 %)"),
             &a = all.at("a: 6.7 MiB (87.5 %)"), &b = all.at("b: 976.6 KiB (12.5 %)"),
             &c = all.at("c: 3.8 MiB (50.0 %)");
  EXPECT_NEAR(a.width / root.width, 7. / 8, 0.01);
  EXPECT_NEAR(c.width / root.width, 4. / 8, 0.01);
  EXPECT_LT(main.y, root.y);
  EXPECT_LT(a.y, main.y);
  EXPECT_EQ(a.y, b.y);
  EXPECT_LT(c.y, a.y);
  EXPECT_GE(b.x, a.x + a.width);
  EXPECT_EQ(c.x, a.x);
}

TEST(Flame, IsWellFormedWhateverTheNames) {
  const auto svg = flame_svg("operator<< <char, \"x\">;a & b;零 1000\n", "Leak <1> & \"2\"");
  const auto all = read_xml(svg);
  EXPECT_EQ(all.front().name, "svg");
  auto found = false;
  for (const auto& x : all)
    found |= x.name == "title" && x.text.starts_with("operator<< <char, \"x\">: ");
  EXPECT_TRUE(found) << svg;
  EXPECT_EQ(svg.find("<script"), svg.npos);
  EXPECT_EQ(svg.find("href"), svg.npos) << "self-contained";
}

TEST(Flame, LeavesOutLinesThatAreNoStacks) {
  const auto all = frames("\nmain 1000\nno number x\n 5\nzero 0\nminus -5\nnan nan\ntail 3000");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_TRUE(all.contains("tail: 3000 B (75.0 %)"));
  EXPECT_NO_THROW(read_xml(flame_svg("", "empty")));
  EXPECT_NO_THROW(read_xml(flame_svg("rubbish", "empty")));
}

TEST(Flame, DrawsNoFrameThatNobodyCouldSee) {
  EXPECT_EQ(frames("big 1000000\nsmall 10\n").size(), 2u);
}

TEST(Flame, BearsDeepStacks) {
  std::string deep = "f0";
  for (int i = 1; i < 5000; ++i)
    deep += ";f" + std::to_string(i);
  EXPECT_EQ(frames(deep + " 1000\n").size(), 257u);
}

TEST(Flame, HoldsNamesWithinTheirFrames) {
  const std::string name(300, 'n');
  size_t cut = 0;
  for (const auto& x : read_xml(flame_svg(name + " 10\nother 90\n", "t"))) {
    const auto is_frame = x.name == "text" && x.text.starts_with("nn");
    cut += is_frame;
    EXPECT_TRUE(!is_frame || (x.text.size() < 30 && x.text.ends_with("…"))) << x.text;
  }
  EXPECT_EQ(cut, 1u);
}
