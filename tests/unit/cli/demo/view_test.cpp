#include "cli/demo/view.hpp"

#include "base/text.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::cli;
using nlohmann::json;

namespace {

/// `text` without its colours.
std::string plain(const std::string& text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i)
    if (text[i] == '\x1b')
      i = text.find('m', i);
    else
      result += text[i];
  return result;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string result;
  for (const auto& x : lines)
    result += x + "\n";
  return result;
}

/// A run in full swing, with long names everywhere.
class DemoView : public ::testing::Test {
protected:
  DemoView() {
    account.expect(200);
    for (int i = 0; i < 200; ++i) {
      const auto id = "demo-" + std::to_string(i);
      account.submitted(id, "零");
      if (i >= 150)
        continue;
      messaging::result x;
      x.job_id = id;
      x.slot = static_cast<uint32_t>(i % 2);
      x.generation = x.slot == 0 ? 1 + static_cast<uint64_t>(i) / 30 : 1;
      x.top_k = {{"零", 0.987, 0}};
      x.private_bytes = static_cast<uint64_t>(x.slot == 0 ? 4 + i % 30 * 3 : 4) * 1'000'000;
      x.delta_bytes = x.slot == 0 ? 6'292'128 : 0;
      x.decode_ms = 1;
      x.inference_ms = 2.5;
      account.on_result(x);
      moment.latest.push_back(x);
      if (moment.latest.size() > 6)
        moment.latest.erase(moment.latest.begin());
    }
    for (uint64_t i = 1; i < 5; ++i) {
      events::worker_replaced x;
      x.worker.generation = i;
      x.cause = "retained_tensors_of_a_long_name";
      x.bytes_recovered = 76'500'000;
      x.ms = 12;
      account.on_event({0, {}, x});
    }
    moment.phase = "classifying; slot 0 leaks: retain_tensors:6MiB";
    moment.seconds = 4;
    moment.jobs_per_second = 37.5;
    moment.budget_bytes = 134'000'000;
  }

  demo_account account;
  demo_moment moment;
};

} // namespace

TEST_F(DemoView, HasNoLineWiderThanItsColumns) {
  account.on_event({0, {}, events::worker_died{}});
  moment.latest.back().ok = false;
  moment.latest.back().reason = {errc::deadline_exceeded, "late"};
  for (size_t columns = 1; columns < 200; ++columns)
    for (const auto colours : {false, true})
      for (const auto& line : draw_demo(account, moment, columns, 30, colours))
        ASSERT_LE(display_width(plain(line)), columns) << line;
}

TEST_F(DemoView, FitsIntoTheRowsItIsGiven) {
  for (size_t rows = 13; rows < 40; ++rows)
    EXPECT_LE(draw_demo(account, moment, 100, rows, true).size(), rows);
}

TEST_F(DemoView, ShowsFewerResultsRatherThanNoHealing) {
  const auto text = joined(draw_demo(account, moment, 100, 14, false));
  EXPECT_NE(text.find("4 workers replaced"), text.npos) << text;
  EXPECT_NE(text.find("breaker closed"), text.npos) << text;
  EXPECT_NE(text.find("demo-149"), text.npos) << text;
  EXPECT_EQ(text.find("demo-148"), text.npos) << text;
  EXPECT_NE(text.find("generation 4 "), text.npos) << text;
}

TEST_F(DemoView, HasNoEscapeWithoutColours) {
  EXPECT_EQ(joined(draw_demo(account, moment, 100, 30, false)).find('\x1b'), std::string::npos);
  EXPECT_EQ(joined(draw_ledger(account, {}, 100, false)).find('\x1b'), std::string::npos);
}

TEST_F(DemoView, SaysTheSameWithAndWithoutColours) {
  EXPECT_EQ(plain(joined(draw_demo(account, moment, 100, 30, true))),
            joined(draw_demo(account, moment, 100, 30, false)));
}

TEST_F(DemoView, ShowsProgressThroughputMemoryResultsAndHealing) {
  const auto text = joined(draw_demo(account, moment, 100, 30, false));
  for (const auto* part :
       {"150 of 200 jobs", "37.5 jobs/s", "slot 0  generation 5", "slot 1  generation 1",
        "127.8 MiB", "零", "98.7 %", "3.5 ms", "+6.0 MiB",
        "4 workers replaced, 291.8 MiB recovered", "12 ms", "dead letters 0", "duplicates 0"})
    EXPECT_NE(text.find(part), text.npos) << part << " in\n" << text;
}

TEST_F(DemoView, DoesNotSayThatNobodyWasReplacedBesideASecondGeneration) {
  demo_account early;
  early.expect(2);
  messaging::result x;
  x.job_id = "demo-0";
  x.generation = 1;
  early.submitted("demo-0", "零");
  early.on_result(x);
  EXPECT_NE(joined(draw_demo(early, moment, 100, 30, false)).find("no worker replaced so far"),
            std::string::npos);
  x.job_id = "demo-1";
  x.generation = 2;
  early.submitted("demo-1", "零");
  early.on_result(x);
  const auto text = joined(draw_demo(early, moment, 100, 30, false));
  EXPECT_EQ(text.find("no worker replaced so far"), std::string::npos) << text;
  EXPECT_NE(text.find("a worker was replaced; its report is under way"), std::string::npos);
}

TEST_F(DemoView, AlignsLabelsOfAnyWidth) {
  moment.latest = {moment.latest.front(), moment.latest.front(), moment.latest.front()};
  moment.latest[1].top_k.front().label = "seven";
  moment.latest[2].ok = false;
  moment.latest[2].reason = {errc::undecodable_image, ""};
  std::vector<size_t> at;
  for (const auto& line : draw_demo(account, moment, 100, 30, false))
    if (const auto found = line.find(" ms "); line.starts_with("  demo-") && found != line.npos)
      at.push_back(display_width(line.substr(0, found)));
  ASSERT_EQ(at.size(), 3u);
  EXPECT_EQ(at[0], at[1]);
  EXPECT_EQ(at[0], at[2]);
}

TEST_F(DemoView, FillsTheBarWithTheShareThatIsDone) {
  auto cells = [&](const std::string& block) {
    const auto line = draw_demo(account, moment, 100, 30, false)[1];
    size_t n = 0;
    for (auto i = line.find(block); i != line.npos; i = line.find(block, i + block.size()))
      ++n;
    return n;
  };
  EXPECT_EQ(cells("█"), 3 * (cells("█") + cells("░")) / 4);
  EXPECT_GT(cells("░"), 5u);
}

TEST_F(DemoView, LedgerAddsUpAndComparesWithTheUnhealedRun) {
  demo_outcome outcome{4, 134'000'000, unhealed_outcome{0, 455'000'000, 76, false}, {}};
  outcome.pointers = {{"memory chart", "a/very/long/path/" + std::string(200, 'x')}};
  const auto lines = draw_ledger(account, outcome, 80, false);
  const auto text = joined(lines);
  for (const auto& x : lines)
    EXPECT_LE(display_width(x), 80u);
  for (const auto* part : {"submitted                  200", "results                    150",
                           "lost                        50", "replacements                 4",
                           "of a budget of 127.8 MiB, 75 jobs in slot 0",
                           "433.9 MiB   76 jobs in slot 0\n", "291.8 MiB recovered"})
    EXPECT_NE(text.find(part), text.npos) << part << " in\n" << text;
  outcome.unhealed->at_limit = true;
  const auto ended = joined(draw_ledger(account, outcome, 80, false));
  EXPECT_NE(ended.find("76 jobs in slot 0, then ended by the demo\n"), ended.npos) << ended;
}
