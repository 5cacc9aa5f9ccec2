#include "supervision/output_lines.hpp"

#include <gtest/gtest.h>

using namespace ziyu::supervision;
using namespace std::chrono_literals;

namespace {

class OutputLines : public ::testing::Test {
protected:
  std::vector<std::string> feed(std::string_view bytes, int32_t pid = 1) {
    return texts(lines.feed(pid, bytes, now));
  }

  static std::vector<std::string> texts(const std::vector<output_line>& from) {
    std::vector<std::string> result;
    for (const auto& x : from)
      result.push_back(x.text);
    return result;
  }

  using list = std::vector<std::string>;
  output_lines lines;
  output_lines::clock::time_point now{1h};
};

} // namespace

TEST_F(OutputLines, CutsLinesOfEachProcessApart) {
  EXPECT_EQ(feed("libpng war"), list{});
  EXPECT_EQ(feed("libjpeg: bad\nmore", 2), list{"libjpeg: bad"});
  EXPECT_EQ(feed("ning: iCCP\n\n \n"), list{"libpng warning: iCCP"});
  EXPECT_EQ(feed(" of it\n", 2), list{"more of it"});
}

TEST_F(OutputLines, HasNoControlCharactersAndOnlyUtf8) {
  EXPECT_EQ(feed("\x1b[31m\xff 金毛犬\xc2\x9b\r\n"), list{" [31m\xef\xbf\xbd 金毛犬"});
}

TEST_F(OutputLines, KeepsABoundOfALineThatNeverEnds) {
  for (auto i = 0; i < 1000; ++i)
    EXPECT_EQ(feed(std::string(1000, 'x')), list{});
  const auto all = feed("\n");
  ASSERT_EQ(all.size(), 1u);
  auto expected = std::string(1024, 'x');
  expected += "…";
  EXPECT_EQ(all[0], expected);
}

TEST_F(OutputLines, TellsTheBeginningOfALineWhoseEndDoesNotCome) {
  feed("Assertion failed");
  EXPECT_TRUE(lines.tick(now + 100ms).empty());
  EXPECT_EQ(texts(lines.tick(now + 1s)), list{"Assertion failed"});
  EXPECT_TRUE(lines.tick(now + 2s).empty());
}

TEST_F(OutputLines, DropsAndCountsWhatComesTooFast) {
  std::string many;
  for (auto i = 0; i < 1000; ++i)
    many += "warning\n";
  EXPECT_EQ(feed(many).size(), 50u);
  EXPECT_EQ(feed("of another\n", 2).size(), 1u) << "each process has its own rate";
  now += 1s;
  const auto next = lines.feed(1, "late\n", now);
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].text, "late");
  EXPECT_EQ(next[0].dropped, 950u);
}

TEST_F(OutputLines, TellsWhatWasDroppedAlsoWhenNothingFollows) {
  std::string many;
  for (auto i = 0; i < 60; ++i)
    many += "warning\n";
  feed(many);
  const auto told = lines.tick(now + 1s);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].text, "");
  EXPECT_EQ(told[0].dropped, 10u);
}

TEST_F(OutputLines, ForgetsTheProcessThatWroteLongestAgo) {
  for (int32_t pid = 1; pid <= 1000; ++pid) {
    now += 1ms;
    feed("begun", pid);
  }
  EXPECT_EQ(lines.finish().size(), 64u);
}
