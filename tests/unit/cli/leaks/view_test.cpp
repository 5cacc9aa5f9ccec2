#include "cli/leaks/view.hpp"

#include "base/text.hpp"
#include "support/leak_events.hpp"
#include "support/xml.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

using namespace ziyu;
using namespace ziyu::cli;
using namespace ziyu::test;

namespace {

class LeakView : public ::testing::Test {
protected:
  LeakView() {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
    event = leak_report_event();
    book.add(replaced_event("0.3-5f2a91c0", 151'000'000));
  }

  const leak_story& story() {
    book.add(event);
    return book.stories().front();
  }

  std::vector<healing> healed() { return book.healings_of("0.3-5f2a91c0"); }

  std::string text(bool full = false, bool colours = false) {
    std::string result;
    for (const auto& line : draw_leak(story(), healed(), 80, full, colours))
      result += line + "\n";
    return result;
  }

  nlohmann::json event;
  leak_book book;
};

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (auto i = text.find(part); i != text.npos; i = text.find(part, i + part.size()))
    ++n;
  return n;
}

} // namespace

TEST_F(LeakView, ARowNamesTheLeakItsSiteAndItsHealing) {
  const auto row = leak_row(story(), healed(), false);
  for (const auto* part : {"0.3-5f2a91c0", "11-14 22:13:20.123", " 0.3 ", "retained_tensors",
                           "+6.0 MiB (+5.8 MiB to +6.1 MiB)", "138.0 MiB", " 1 144.0 MiB",
                           "97 % ziyu::model::keep_tensor (ziyu_worker)"})
    EXPECT_NE(row.find(part), row.npos) << part << " in " << row;
  EXPECT_EQ(leak_head(false).find("TOP SITE"), display_width(row.substr(0, row.find("97 %"))));
}

TEST_F(LeakView, ARowOfALeakWithoutSitesOrHealingSaysSo) {
  event["detail"].erase("sites");
  const auto row = leak_row(story(), {}, false);
  EXPECT_NE(row.find(" 0       0 B ?"), row.npos) << row;
}

TEST_F(LeakView, TellsTheNumbersOfTheLeak) {
  const auto shown = text();
  for (const auto* part :
       {"leak 0.3-5f2a91c0  retained_tensors\n", "slot 0 generation 3, pid 4711, of host-1\n",
        "verdict   leak: leak of 6.0 MiB per job: 69.7 MiB of 152.6 MiB are used\n",
        "138.0 MiB in 23 jobs, +6.0 MiB (+5.8 MiB to +6.1 MiB) per job",
        "146.9 MiB now, 2.6 MiB when fresh, 147.0 MiB at its peak; the budget is 152.6 MiB",
        "9 jobs left until the budget (8 to 11)", "a sample every 512.0 KiB",
        "scaled to the exact growth"})
    EXPECT_NE(shown.find(part), shown.npos) << part << " in\n" << shown;
}

TEST_F(LeakView, HasARowForEachTenthJobTheFirstAndTheLast) {
  const auto shown = text();
  for (const auto* row :
       {"\n        2     +6.0 MiB    74.7 MiB    14.7 MiB", "\n       10    +48.0 MiB",
        "\n       20    +60.0 MiB", "\n       24    +24.0 MiB"})
    EXPECT_NE(shown.find(row), shown.npos) << row << " in\n" << shown;
  EXPECT_EQ(shown.find("\n       11"), shown.npos) << shown;
}

TEST_F(LeakView, ShowsTheStacksThatMatterAndMarksTheCulprit) {
  const auto shown = text();
  EXPECT_NE(shown.find("96.7 % ███████████████████░"), shown.npos) << shown;
  EXPECT_NE(shown.find("        > ziyu::model::keep_tensor (ziyu_worker)  "
                       "model/worker/faults.cpp:42\n"
                       "          ziyu::model::run_job (ziyu_worker)\n"),
            shown.npos)
    << shown;
  EXPECT_EQ(shown.find("operator new"), shown.npos);
  EXPECT_EQ(count(shown, "        > "), 2u) << "one for each site";
}

TEST_F(LeakView, ShowsOnlyTheCulpritOfASiteThatHardlyMatters) {
  event["detail"]["sites"][0]["share"] = 0.01;
  EXPECT_EQ(count(text(), "ziyu::model::run_job"), 1u) << "the other site's";
  EXPECT_EQ(count(text(), "ziyu::model::keep_tensor"), 1u);
}

TEST_F(LeakView, ShowsAllFramesWhenAsked) {
  const auto shown = text(true);
  EXPECT_EQ(count(shown, "operator new"), 2u) << shown;
  EXPECT_EQ(count(shown, "  main ("), 2u) << shown;
}

TEST_F(LeakView, TellsWhatHealedIt) {
  EXPECT_NE(text().find("11-14 22:13:20.400  slot 0 generation 3 replaced by 4 in 92 ms, "
                        "144.0 MiB recovered\n    9 jobs are left until the budget\n"),
            std::string::npos)
    << text();
  book = {};
  EXPECT_NE(text().find("no replacement so far"), std::string::npos);
}

TEST_F(LeakView, SaysWhatItDoesNotKnow) {
  for (const auto* key : {"sites", "forecast", "series", "sampling"})
    event["detail"].erase(key);
  const auto shown = text();
  EXPECT_NE(shown.find("forecast  none"), shown.npos) << shown;
  EXPECT_NE(shown.find("were not sampled"), shown.npos) << shown;
  EXPECT_EQ(shown.find("memory every"), shown.npos) << shown;
}

TEST_F(LeakView, LetsNoNameSteerTheTerminal) {
  event["detail"]["cause"] = "\x1b[2J";
  event["detail"]["reason"] = "\x1b]0;x\a";
  event["detail"]["sites"][0]["stack"][1]["function"] = "evil\x1b[31m";
  event["instance"] = "\x1b[0m";
  EXPECT_EQ(text().find('\x1b'), std::string::npos);
  EXPECT_EQ(leak_row(story(), healed(), false).find('\x1b'), std::string::npos);
}

TEST_F(LeakView, KeepsTablesWithinTheColumns) {
  for (const auto columns : {40u, 60u, 120u})
    for (const auto& line : draw_leak(story(), healed(), columns, false, false)) {
      const auto is_table = line.find("█") != line.npos;
      EXPECT_TRUE(!is_table || display_width(line) <= columns) << line;
    }
}

TEST_F(LeakView, ChartsGrowthAboveItsLowestWithTheBudgetInReach) {
  const auto c = leak_chart(story());
  ASSERT_EQ(c.series.size(), 3u);
  EXPECT_EQ(c.y_label, "MiB");
  EXPECT_EQ(c.x_label, "jobs of this worker since its job 2");
  EXPECT_EQ(c.series[0].points.front(), (std::pair{0., 0.}));
  EXPECT_NEAR(c.series[0].points.back().second, 22 * 6.292144 / 1.048576, 1e-6);
  EXPECT_NEAR(c.series[1].points.back().second, 22 * 6.3 / 1.048576, 1e-6);
  ASSERT_TRUE(c.limit);
  EXPECT_NEAR(c.limit->first, (160 - 15.4) / 1.048576, 1e-6);
  EXPECT_EQ(c.series[2].points.back().first, 22 + 9) << "as far as the forecast";
  EXPECT_NO_THROW(read_xml(to_svg(c)));
}

TEST_F(LeakView, ChartsASlowLeakInItsOwnUnit) {
  nlohmann::json rows = {{1, 0, 1000, 5000}, {2, 64, 1064, 5000}, {3, 64, 1128, 5000}};
  event["detail"]["series"]["rows"] = rows;
  event["detail"]["growth"]["bytes_per_job"] = 64;
  const auto c = leak_chart(story());
  EXPECT_EQ(c.y_label, "B");
  EXPECT_FALSE(c.limit) << "far away";
  EXPECT_EQ(c.series[0].points.back(), (std::pair{2., 128.}));
  event["detail"]["series"]["rows"] = nlohmann::json::array();
  event["time_ms"] = 1'800'000'000'000;
  EXPECT_NO_THROW(read_xml(to_svg(leak_chart(story()))));
}
