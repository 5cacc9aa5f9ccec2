// How far behind the dispatcher says that it is.

#include "tests/support/dispatcher_stage.hpp"

#include <gmock/gmock.h>

namespace ziyu::actors {

namespace {

using namespace ziyu::test;

class Backlog : public Dispatcher {
protected:
  std::string lag_in_metrics() {
    advance(1s);
    const auto text = report->stats().text();
    const auto begin = text.find("ziyu_consumer_lag_records{");
    return begin == std::string::npos ? "" : text.substr(begin, text.find('\n', begin) - begin);
  }
};

} // namespace

TEST_F(Backlog, IsNotKnownBeforeTheEndsOfAllLogsAre) {
  start();
  EXPECT_EQ(status().lag_records, std::nullopt);
  credit->tell_logs({{p0, {5, 12}}});
  EXPECT_EQ(status().lag_records, 7u);
  assign({p1}, 2);
  EXPECT_EQ(status().lag_records, std::nullopt) << "the other's end is not";
  credit->tell_logs({{p0, {5, 12}}, {p1, {-1, 3}}});
  EXPECT_EQ(status().lag_records, std::nullopt) << "nor our place in it";
  credit->tell_logs({{p0, {5, 12}}, {p1, {-1, 0}}});
  EXPECT_EQ(status().lag_records, 7u) << "an empty log has no place";
}

TEST_F(Backlog, CountsWhatIsFetchedAndNotFinishedToo) {
  start();
  credit->tell_logs({{p0, {0, 3}}});
  for (int64_t offset = 0; offset < 3; ++offset)
    fetch(make_record(offset));
  EXPECT_EQ(status().lag_records, 3u) << "fetched since the log's end was told";
  succeed();
  acknowledge_last();
  EXPECT_EQ(status().lag_records, 2u);
  EXPECT_EQ(lag_in_metrics(), "ziyu_consumer_lag_records{partition=\"0\",topic=\"image.jobs\"} 2");
  revoke({p0}, 1);
  EXPECT_EQ(lag_in_metrics(), "") << "its next owner tells";
}

TEST_F(Backlog, IsNeverNegativeAndDoesNotCountWhatBringsNoRecord) {
  start();
  fetch(make_record(0));
  credit->tell_logs({{p0, {0, 0}}}); // told before the record came
  EXPECT_EQ(status().lag_records, 1u);
  succeed();
  acknowledge_last();
  EXPECT_EQ(status().lag_records, 0u);
  credit->tell_logs({{p0, {2, 2}}}); // the marker of a transaction at offset 1
  EXPECT_EQ(status().lag_records, 0u);
}

TEST_F(Backlog, TellsTheAgeOfTheOldestJobThatIsNotFinished) {
  start();
  EXPECT_EQ(status().oldest_unfinished_us, 0);
  fetch(make_record(0));
  advance(2s);
  fetch(make_record(1));
  const auto younger_us = env.us;
  advance(1s);
  EXPECT_EQ(status().oldest_unfinished_us, 3'000'000);
  succeed();
  EXPECT_EQ(status().oldest_unfinished_us, 3'000'000) << "not acknowledged yet";
  acknowledge_last();
  EXPECT_EQ(status().oldest_unfinished_us, env.us - younger_us);
  succeed();
  acknowledge_last();
  EXPECT_EQ(status().oldest_unfinished_us, 0);
}

TEST_F(Backlog, SaysWhatADisabledBreakerWouldOpenFor) {
  start();
  breaker(trigger::publisher, true);
  send(aut, breaker_command{supervision::breaker_mode::disabled, "as the test says"});
  EXPECT_EQ(status().breaker, breaker_state::disabled);
  EXPECT_EQ(status().breaker_trouble, "publisher: as the test says");
  EXPECT_NE(status().breaker_reason.find("; publisher: as the test says"), std::string::npos);
}

} // namespace ziyu::actors
