// When the breaker is told that results do not get through.

#include "actors/delivery_watch.hpp"

#include <gtest/gtest.h>

namespace ziyu::actors {

namespace {

using namespace std::chrono_literals;
using clock = delivery_watch::clock;

constexpr clock::time_point start{1'000s};

class DeliveryWatch : public ::testing::Test {
protected:
  delivery_watch::news look(clock::time_point now, uint64_t records = 1) {
    return aut.look(aside, records > 0, now, false, [&] {
      return delivery_watch::stall{"no delivery report", "who knows", {records, 100, records > 0}};
    });
  }

  set_aside aside;
  delivery_watch aut{10s, start};
};

publication result_for(const std::string& topic) {
  auto content = std::make_shared<messaging::outgoing>();
  content->topic = topic;
  return {publication_kind::result, content, {"image.jobs", 0, 0}, 1};
}

} // namespace

TEST_F(DeliveryWatch, TellsAStallOnceWithItsNumbers) {
  EXPECT_FALSE(look(start + 10s));
  const auto told = look(start + 10'001ms);
  ASSERT_TRUE(told);
  EXPECT_TRUE(told->raised);
  EXPECT_EQ(told->reason, "no delivery report for 10000 ms: who knows");
  EXPECT_EQ(told->values.at("silent_ms"), 10'001);
  EXPECT_EQ(told->values.at("pending_records"), 1);
  EXPECT_EQ(told->values.at("pending_bytes"), 100);
  EXPECT_FALSE(look(start + 20s)) << "the breaker knows";
  const auto over = aut.works(aside, start + 21s);
  ASSERT_TRUE(over);
  EXPECT_FALSE(over->raised);
  EXPECT_FALSE(aut.works(aside, start + 21s));
}

TEST_F(DeliveryWatch, SilenceWithoutAnythingToSayIsNoStall) { EXPECT_FALSE(look(start + 60s, 0)); }

TEST_F(DeliveryWatch, ProgressIsCountedFromTheLatest) {
  aut.progressed(start + 9s);
  EXPECT_FALSE(look(start + 18s));
  EXPECT_TRUE(look(start + 20s));
}

TEST_F(DeliveryWatch, ATopicThatTakesNoResultsIsTroubleThoughOthersAreAcknowledged) {
  aside.refuse(result_for("image.results"), error{errc::kafka, "forbidden"}, true, start, 1);
  aut.progressed(start + 10s);
  const auto told = look(start + 11s);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->reason, "topic image.results takes no results: forbidden");
  EXPECT_FALSE(aut.works(aside, start + 11s)) << "the topic still takes none";
}

TEST_F(DeliveryWatch, AFailureIsToldAtOnce) {
  const auto told = aut.fails("no producer", {}, start + 1s);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->values.at("silent_ms"), 0) << "nothing waits";
  EXPECT_FALSE(look(start + 1s)) << "the breaker knows";
  const auto made = aut.look(aside, false, start + 2s, true,
                             [] { return delivery_watch::stall{}; });
  ASSERT_TRUE(made) << "a producer was made, and nothing waits";
  EXPECT_FALSE(made->raised);
}

} // namespace ziyu::actors
