#include "cli/chart.hpp"

#include "cli/picture.hpp"
#include "cli/terminal.hpp"
#include "support/xml.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <sstream>

using namespace ziyu::cli;
using ziyu::test::read_xml;
using ziyu::test::xml_element;

namespace {

chart example() {
  chart c;
  c.title = "Private <memory> & \"more\"";
  c.x_label = "jobs finished";
  c.y_label = "MB";
  c.series = {{"healed", "#0f766e", false, {{0, 4}, {10, 80}, {11, 4}, {500, 60}}},
              {"left alone", "#dc2626", true, {{0, 4}, {160, 155}}},
              {"empty", "#000000", false, {}}};
  c.limit = {134, "budget"};
  c.marks = {{10, 80}};
  c.marks_name = "replaced";
  c.notes = {{160, 155, "155 MB", "#dc2626"}, {490, 60, "healed", "#0f766e"}};
  return c;
}

std::vector<xml_element> named(const std::vector<xml_element>& all, const std::string& name) {
  std::vector<xml_element> result;
  std::copy_if(all.begin(), all.end(), std::back_inserter(result),
               [&](const auto& x) { return x.name == name; });
  return result;
}

const xml_element& with_text(const std::vector<xml_element>& all, const std::string& text) {
  const auto i = std::find_if(all.begin(), all.end(),
                              [&](const auto& x) { return x.text == text; });
  if (i == all.end())
    throw std::runtime_error("no element with the text " + text);
  return *i;
}

} // namespace

TEST(Chart, IsWellFormedWhateverTheTexts) {
  auto c = example();
  c.series.front().name = "<&>\"'\x01\xff 槽";
  const auto all = read_xml(to_svg(c));
  EXPECT_EQ(all.front().name, "svg");
  with_text(all, "Private <memory> & \"more\"");
}

TEST(Chart, DrawsEachSeriesInsideOfTheFrame) {
  const auto all = read_xml(to_svg(example()));
  const auto lines = named(all, "polyline");
  ASSERT_EQ(lines.size(), 2u); // The empty one has nothing to draw.
  const auto width = all.front().number("width"), height = all.front().number("height");
  for (const auto& x : lines) {
    std::istringstream points{x.attributes.at("points")};
    size_t count = 0;
    for (std::string point; points >> point; ++count) {
      const auto comma = point.find(',');
      const auto px = std::stod(point.substr(0, comma)), py = std::stod(point.substr(comma + 1));
      EXPECT_GE(px, 0);
      EXPECT_LE(px, width);
      EXPECT_GE(py, 0);
      EXPECT_LE(py, height);
    }
    EXPECT_GE(count, 2u);
  }
  EXPECT_FALSE(lines[0].has("stroke-dasharray"));
  EXPECT_TRUE(lines[1].has("stroke-dasharray"));
}

TEST(Chart, HasALegendWhoseEntriesDoNotOverlap) {
  auto c = example();
  c.series.resize(7, c.series.front());
  for (size_t i = 0; i < c.series.size(); ++i)
    c.series[i].name = "slot " + std::to_string(i) + ", leaking: left alone";
  const auto all = read_xml(to_svg(c));
  std::set<std::pair<double, double>> places;
  std::map<double, std::vector<double>> rows;
  for (const auto& s : c.series) {
    const auto& x = with_text(all, s.name);
    EXPECT_TRUE(places.emplace(x.number("x"), x.number("y")).second);
    rows[x.number("y")].push_back(x.number("x"));
    EXPECT_LT(x.number("y"), all.front().number("height"));
  }
  for (auto& [y, row] : rows)
    for (size_t i = 1; i < row.size(); ++i)
      EXPECT_GE(row[i] - row[i - 1], 7.0 * static_cast<double>(c.series.front().name.size()));
}

TEST(Chart, PutsNotesOnTheSideWithRoom) {
  const auto all = read_xml(to_svg(example()));
  EXPECT_EQ(with_text(all, "155 MB").attributes.at("text-anchor"), "start");
  EXPECT_EQ(named(all, "circle").size(), 2u); // The mark, and its entry in the legend.
  std::vector<xml_element> notes;
  for (const auto& x : all)
    if (x.text == "healed" && x.has("paint-order"))
      notes.push_back(x);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(notes.front().attributes.at("text-anchor"), "end");
}

TEST(Chart, IsDrawnEvenWithoutData) { EXPECT_NO_THROW(read_xml(to_svg({}))); }

TEST(TickStep, IsRoundAndGivesAboutAsManyTicksAsAsked) {
  EXPECT_DOUBLE_EQ(tick_step(500, 10), 50);
  EXPECT_DOUBLE_EQ(tick_step(160, 6), 50);
  EXPECT_DOUBLE_EQ(tick_step(1, 10), 0.1);
  for (const double max : {0.003, 1., 7., 99., 100., 101., 12'345.}) {
    const auto ticks = max / tick_step(max, 10);
    EXPECT_LE(ticks, 10.0001) << max;
    EXPECT_GE(ticks, 3.9) << max;
  }
}

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
