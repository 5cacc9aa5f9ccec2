// A missing dead-letter topic: its dead letters wait, and nothing else does.

#include "e2e/support/observed.hpp"
#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"
#include "messaging/dead_letter.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;
using namespace std::chrono_literals;

namespace {

class MissingTopic : public testing::TestWithParam<const char*> {
protected:
  /// @param credit In jobs: fewer than there are waiting dead letters.
  json configuration(const stage& x, int credit = 64) const {
    json patch{{"delivery", {{"guarantee", GetParam()}}}, {"jobs", {{"max_in_flight", credit}}}};
    if (GetParam() == std::string{"exactly_once"})
      patch["delivery"]["transactional_id"] = x.topic("service");
    return patch;
  }
};

} // namespace

INSTANTIATE_TEST_SUITE_P(, MissingTopic, testing::Values("at_least_once", "exactly_once"),
                         [](const auto& x) { return std::string{x.param}; });

TEST_P(MissingTopic, OfDeadLettersHoldsNoResultUpAndTakesThemWhenItIsThere) {
  constexpr size_t bad = 12, good = 60;
  stage x{shared_broker(), false};
  x.create_topics({"jobs", "results", "events"});
  x.begin_reading({"results", "events"});
  auto s = x.serve(configuration(x, 8));
  for (size_t i = 0; i < good / 5; ++i) {
    x.submit({job_record("bad-" + std::to_string(i), "no image")});
    x.submit_digits(5, "good-" + std::to_string(i));
  }
  ASSERT_TRUE(x.read_until([&] { return x.results().size() == good; })) << x.account() << s.log();
  ASSERT_TRUE(x.read_event("publication_set_aside", "topic", x.topic("dead")))
    << x.account() << s.log();
  ASSERT_TRUE(eventually([&] { return metric(s, "ziyu_set_aside_records") == bad; }))
    << s.get("/metrics").body << s.log();
  EXPECT_TRUE(x.events("breaker_opened").empty()) << s.log();
  EXPECT_EQ(s.get_json("/ledger").at("total").at("in_flight"), bad);
  EXPECT_GT(metric(s, "ziyu_oldest_unfinished_job_seconds"), 0) << "they wait";
  x.create_topics({"dead"});
  x.begin_reading({"dead"});
  ASSERT_TRUE(x.read_until([&] { return x.dead_letters().size() == bad; }))
    << x.account() << s.log();
  ASSERT_TRUE(x.read_event("publication_resumed", "topic", x.topic("dead")));
  ASSERT_TRUE(eventually([&] { return metric(s, "ziyu_set_aside_records") == 0; }));
  EXPECT_TRUE(eventually([&] { return metric(s, "ziyu_oldest_unfinished_job_seconds") == 0; }));
  expect_all_accounted(x, s);
  EXPECT_EQ(x.duplicates(), 0u);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST_P(MissingTopic, WhatWaitedForItIsDoneAgainByTheNextLife) {
  stage x{shared_broker(), false};
  x.create_topics({"jobs", "results", "events"});
  x.begin_reading({"results", "events"});
  {
    auto s = x.serve(configuration(x));
    x.submit({job_record("bad", "no image")});
    x.submit_digits(10);
    ASSERT_TRUE(x.read_until([&] { return x.results().size() == 10; })) << x.account() << s.log();
    ASSERT_TRUE(x.read_event("publication_set_aside")) << x.account() << s.log();
    EXPECT_EQ(s.stop(), 0) << s.log();
  }
  x.create_topics({"dead"});
  x.begin_reading({"dead"});
  auto s = x.serve(configuration(x));
  ASSERT_TRUE(x.read_until([&] { return x.dead_letters().size() == 1; })) << x.account() << s.log();
  EXPECT_EQ(x.duplicates(), 0u) << "the results are on record";
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST_P(MissingTopic, OfResultsOpensTheBreakerUntilItIsThere) {
  stage x{shared_broker(), false};
  x.create_topics({"jobs", "dead", "events"});
  x.begin_reading({"events"});
  auto s = x.serve(configuration(x));
  x.submit_digits(20);
  ASSERT_TRUE(eventually([&] { return degraded_by(s, "the breaker is open: "); }))
    << s.get("/health").body << s.log();
  ASSERT_TRUE(x.read_event("publication_set_aside", "topic", x.topic("results"))) << s.log();
  x.create_topics({"results"});
  x.begin_reading({"results", "dead"});
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  EXPECT_EQ(x.results().size(), 20u);
  EXPECT_TRUE(eventually([&] { return s.get_json("/health").at("status") == "healthy"; }))
    << s.get("/health").body;
  EXPECT_EQ(s.stop(), 0) << s.log();
}
