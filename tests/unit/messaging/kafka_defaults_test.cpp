#include "messaging/kafka_defaults.hpp"

#include <gtest/gtest.h>

using namespace ziyu::messaging;

TEST(KafkaDefaults, AQueueThatWasFullIsRefilledSoon) {
  EXPECT_EQ(with_consumer_defaults({}).at("fetch.queue.backoff.ms"), "20");
  const kafka_properties given{{"fetch.queue.backoff.ms", "7"}};
  EXPECT_EQ(with_consumer_defaults(given).at("fetch.queue.backoff.ms"), "7");
}

TEST(KafkaDefaults, ResultsDoNotLingerAndFewRequestsAreOnTheirWay) {
  const auto x = with_producer_defaults({});
  EXPECT_EQ(x.at("linger.ms"), "0");
  EXPECT_EQ(x.at("max.in.flight.requests.per.connection"), "2");
}

TEST(KafkaDefaults, APropertyThatIsGivenByItsOtherNameGetsNoDefault) {
  for (const auto* name : {"max.in.flight", "max.in.flight.requests.per.connection"}) {
    const auto x = with_producer_defaults({{name, "4"}});
    EXPECT_EQ(x.at(name), "4");
    EXPECT_EQ(x.count("max.in.flight") + x.count("max.in.flight.requests.per.connection"), 1u);
  }
  EXPECT_EQ(with_producer_defaults({{"queue.buffering.max.ms", "9"}}).count("linger.ms"), 0u);
}

TEST(KafkaDefaults, OfTransactionsKeepTheirLinger) {
  const auto x = with_transactional_defaults({}, std::chrono::milliseconds{1'000});
  EXPECT_EQ(x.at("linger.ms"), "5");
  EXPECT_EQ(x.count("max.in.flight.requests.per.connection"), 0u);
}
