#include "cli/view/chart.hpp"

#include "support/xml.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <sstream>

using namespace ziyu::cli;
using ziyu::test::named;
using ziyu::test::read_xml;
using ziyu::test::with_text;
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
