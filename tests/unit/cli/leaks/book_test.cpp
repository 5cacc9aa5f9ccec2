#include "cli/leaks/book.hpp"

#include "support/leak_events.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::cli;
using namespace ziyu::test;
using nlohmann::json;

namespace {

leak_book book_of(const std::vector<std::string>& ids) {
  leak_book result;
  int64_t time = 0;
  for (const auto& id : ids)
    result.add(leak_report_event(id, ++time));
  return result;
}

/// What the book makes of one event.
std::optional<leak_story> story_of(const json& event) {
  leak_book book;
  book.add(event);
  return book.stories().empty() ? std::nullopt : std::optional{book.stories().front()};
}

std::string found(const leak_book& book, const std::string& id) {
  const auto x = book.find(id);
  return x ? (*x)->what.report : x.error().message;
}

} // namespace

TEST(LeakStory, HoldsWhatTheEventSays) {
  const auto x = story_of(leak_report_event());
  ASSERT_TRUE(x);
  EXPECT_EQ(x->what.report, "0.3-5f2a91c0");
  EXPECT_EQ(x->time_ms, 1'700'000'000'123);
  EXPECT_EQ(x->instance, "host-1");
  EXPECT_EQ(x->what.worker.generation, 3u);
  EXPECT_EQ(x->what.worker.pid, 4711);
  EXPECT_EQ(x->what.cause, "retained_tensors");
  EXPECT_EQ(x->what.growth.bytes, 144'719'312);
  EXPECT_EQ(x->what.growth.jobs, 23u);
  EXPECT_EQ(x->what.growth.per_job.lower, 6'100'000);
  ASSERT_TRUE(x->what.forecast);
  EXPECT_EQ(x->what.forecast->jobs_left, 9u);
  EXPECT_EQ(x->what.forecast->latest, 11u);
  EXPECT_EQ(x->what.sampling.sample_bytes, 524'288u);
  EXPECT_TRUE(x->what.sampling.calibrated);
  ASSERT_EQ(x->what.sites.size(), 2u);
  EXPECT_EQ(x->what.sites[0].responsible.line, 42u);
  EXPECT_EQ(x->what.sites[0].stack.size(), 2u);
  EXPECT_EQ(x->what.sites[0].full_stack.size(), 4u);
  ASSERT_EQ(x->what.worker.series.points.size(), 23u);
  EXPECT_EQ(x->what.worker.series.points[0].job, 2u);
  EXPECT_EQ(x->what.worker.series.points[0].private_bytes, 15'400'000u);
}

TEST(LeakStory, FindsTheColumnsOfTheSeriesByTheirNames) {
  auto event = leak_report_event();
  event["detail"]["series"] = {{"columns", {"private_bytes", "surprise", "job"}},
                               {"rows", {{5, 6, 7}, {8}, "rubbish"}}};
  const auto x = story_of(event);
  ASSERT_TRUE(x);
  ASSERT_EQ(x->what.worker.series.points.size(), 3u);
  EXPECT_EQ(x->what.worker.series.points[0].job, 7u);
  EXPECT_EQ(x->what.worker.series.points[0].private_bytes, 5u);
  EXPECT_EQ(x->what.worker.series.points[0].live_bytes, 0u);
  EXPECT_EQ(x->what.worker.series.points[1].job, 0u);
}

TEST(LeakStory, BearsThatAnythingIsMissingOrOfAnotherType) {
  const auto whole = leak_report_event(); // outlives the loop over its parts
  for (const auto& [key, value] : whole["detail"].items()) {
    if (key == "report")
      continue;
    for (const auto& other : {json{}, json{"text"}, json{-1e300}, json::array({1}),
                              json::object({{"bytes", "x"}, {"jobs_left", -5}})}) {
      auto event = leak_report_event();
      event["detail"][key] = other;
      const auto x = story_of(event);
      ASSERT_TRUE(x) << key;
      EXPECT_EQ(x->what.report, "0.3-5f2a91c0");
    }
  }
  EXPECT_FALSE(story_of(event_of("leak_report", 1, {})));
  EXPECT_FALSE(story_of(event_of("worker_died", 1, {{"report", "0.1-a"}})));
  EXPECT_FALSE(story_of(json::array()));
}

TEST(LeakBook, SortsByTimeAndKeepsTheLatestOfAnId) {
  leak_book book;
  book.add(leak_report_event("0.2-b", 20));
  book.add(leak_report_event("0.1-a", 10));
  auto again = leak_report_event("0.1-a", 30);
  again["detail"]["cause"] = "model_reloaded";
  book.add(again);
  book.add(leak_report_event("0.1-a", 15)); // an older one, of another partition
  ASSERT_EQ(book.stories().size(), 2u);
  EXPECT_EQ(book.stories()[0].what.report, "0.2-b");
  EXPECT_EQ(book.stories()[1].what.cause, "model_reloaded");
}

TEST(LeakBook, GivesEachReplacementToItsReport) {
  leak_book book;
  book.add(replaced_event("0.3-a", 5, 50)); // may be read before its report
  book.add(leak_report_event("0.3-a", 10));
  book.add(leak_report_event("0.4-b", 20));
  book.add(replaced_event("0.3-a", 7, 40));
  book.add(replaced_event("", 1'000, 30)); // a crash
  const auto healed = book.healings_of("0.3-a");
  ASSERT_EQ(healed.size(), 2u);
  EXPECT_EQ(healed[0].what.bytes_recovered, 7u);
  EXPECT_EQ(healed[1].what.bytes_recovered, 5u);
  EXPECT_TRUE(book.healings_of("0.4-b").empty());
  EXPECT_TRUE(book.healings_of("0.3").empty());
}

TEST(LeakBook, LeavesOutWhatIsNoEvent) {
  leak_book book;
  for (const auto& x : {json{}, json{5}, json::array({1}), json{{"type", 5}},
                        json::parse("rubbish", nullptr, false)})
    book.add(x);
  EXPECT_TRUE(book.stories().empty());
}

TEST(LeakBook, FindsReportsByTheirBeginning) {
  const auto book = book_of({"0.3-aa", "0.30-bb", "1.1-cc", "1.1-cd", "2.1-x", "2.1-xy"});
  EXPECT_EQ(found(book, "0.3-aa"), "0.3-aa");
  EXPECT_EQ(found(book, "0.3"), "0.3-aa") << "not the thirtieth generation";
  EXPECT_EQ(found(book, "0.30"), "0.30-bb");
  EXPECT_EQ(found(book, "1.1-cd"), "1.1-cd");
  EXPECT_EQ(found(book, "2.1-x"), "2.1-x") << "the whole id before a beginning";
  EXPECT_EQ(found(book, "1.1"), "report 1.1 may be any of 1.1-cc, 1.1-cd");
}

TEST(LeakBook, NamesTheKnownReportsForAnUnknownOne) {
  const auto book = book_of({"0.3-aa", "1.1-cc"});
  EXPECT_EQ(found(book, "7.7"), "there is no report 7.7; known are 0.3-aa, 1.1-cc");
  EXPECT_EQ(found(book, ""), "there is no report ; known are 0.3-aa, 1.1-cc");
  EXPECT_EQ(found({}, "7.7"), "there is no leak report in the event topic");
}

TEST(LeakJson, SumsUpWhatWasRecovered) {
  leak_book book;
  book.add(leak_report_event());
  book.add(replaced_event("0.3-5f2a91c0", 5));
  book.add(replaced_event("0.3-5f2a91c0", 7));
  const auto& story = book.stories().front();
  const auto healed = book.healings_of(story.what.report);
  const auto brief = summary_json(story, healed);
  EXPECT_EQ(brief["bytes_recovered"], 12);
  EXPECT_EQ(brief["replacements"].size(), 2u);
  EXPECT_EQ(brief["top_site"]["function"], "ziyu::model::keep_tensor");
  EXPECT_EQ(brief["growth"]["jobs"], 23);
  const auto whole = story_json(story, healed);
  EXPECT_EQ(whole["replacements"][1]["bytes_recovered"], 7);
  EXPECT_EQ(whole["time_ms"], story.time_ms);
  EXPECT_EQ(whole["sites"], leak_report_event()["detail"]["sites"]);
}
