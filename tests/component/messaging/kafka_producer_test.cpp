#include "messaging/kafka_producer.hpp"

#include "messaging/topic_reader.hpp"
#include "support/mock_cluster.hpp"
#include "support/report_book.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <set>

using namespace ziyu;
using namespace ziyu::messaging;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds patience{60'000};

outgoing make(uint64_t token, std::string value = "v") {
  outgoing x;
  x.topic = "out";
  x.key = "k" + std::to_string(token);
  x.value = std::move(value);
  x.token = token;
  return x;
}

class KafkaProducer : public ::testing::Test {
protected:
  void SetUp() override { cluster_.create_topic("out", 1); }

  /// A producer with `more` properties on top.
  std::unique_ptr<producer> start(const kafka_properties& more = {}) {
    auto properties = cluster_.properties();
    for (const auto& [name, value] : more)
      properties[name] = value;
    auto x = make_kafka_producer(properties, reports_.handler());
    EXPECT_TRUE(x) << x.error().describe();
    return x ? std::move(*x) : nullptr;
  }

  /// The first `count` records of the topic and whatever follows at once.
  std::vector<record> stored(size_t count) {
    std::vector<record> result;
    auto reader = read_topic(cluster_.properties(), "out", topic_reader::start::beginning,
                             patience);
    EXPECT_TRUE(reader) << reader.error().describe();
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (reader && std::chrono::steady_clock::now() < deadline) {
      auto next = (*reader)->next(milliseconds{result.size() < count ? 1000 : 200});
      EXPECT_TRUE(next) << next.error().describe();
      if (next && *next)
        result.push_back(std::move(**next));
      else if (!next || result.size() >= count)
        break;
    }
    return result;
  }

  test::mock_cluster cluster_;
  test::report_book reports_;
};

std::set<uint64_t> tokens(const std::vector<delivery_report>& reports) {
  std::set<uint64_t> result;
  for (const auto& x : reports)
    result.insert(x.token);
  return result;
}

} // namespace

TEST_F(KafkaProducer, ReportsEachRecordOnceWithItsPlace) {
  auto x = start();
  constexpr uint64_t count = 500;
  for (uint64_t token = 0; token < count; ++token) {
    const auto status = x->produce(make(token));
    ASSERT_TRUE(status) << status.error().describe();
  }
  const auto reports = reports_.wait_for(count);
  ASSERT_EQ(reports.size(), count);
  std::set<int64_t> offsets;
  for (const auto& report : reports) {
    ASSERT_FALSE(report.failure) << report.failure->describe();
    EXPECT_EQ(report.where.topic, "out");
    EXPECT_EQ(report.where.partition, 0);
    EXPECT_EQ(report.where.offset, static_cast<int64_t>(report.token)) << "in their order";
    offsets.insert(report.where.offset);
  }
  EXPECT_EQ(tokens(reports).size(), count);
  EXPECT_EQ(offsets.size(), count);
  x.reset();
  EXPECT_EQ(reports_.all().size(), count) << "none twice";
}

TEST_F(KafkaProducer, CarriesKeysValuesAndHeadersAsTheyAre) {
  auto x = start();
  auto full = make(std::numeric_limits<uint64_t>::max(), std::string("\0\xff图", 5));
  full.key = std::string("照片\0\xff", 8);
  full.headers = {{"名", "值"},
                  {"twice", "1"},
                  {"twice", std::string("\0\xfe", 2)},
                  {"empty", ""},
                  {"null", std::nullopt}};
  outgoing tombstone;
  tombstone.topic = "out";
  auto empty = make(2, "");
  empty.key = "";
  for (const auto& item : {full, tombstone, empty})
    ASSERT_TRUE(x->produce(item));
  const auto reports = reports_.wait_for(3);
  EXPECT_EQ(tokens(reports), (std::set<uint64_t>{0, 2, std::numeric_limits<uint64_t>::max()}));
  const auto got = stored(3);
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(got[0].key, full.key);
  EXPECT_EQ(*got[0].value, *full.value);
  EXPECT_EQ(got[0].headers, full.headers);
  EXPECT_GT(got[0].timestamp_ms, 1'600'000'000'000);
  EXPECT_EQ(got[1].key, std::nullopt);
  EXPECT_EQ(got[1].value, nullptr) << "a tombstone";
  EXPECT_TRUE(got[1].headers.empty());
  EXPECT_EQ(got[2].key, "") << "empty is not absent";
  ASSERT_TRUE(got[2].value);
  EXPECT_EQ(*got[2].value, "");
}

TEST_F(KafkaProducer, RetriesWhatMayPassWithoutRepeatingOrReordering) {
  auto x = start({{"linger.ms", "0"}});
  cluster_.fail_next(test::api_produce,
                     {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                      RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
                      RD_KAFKA_RESP_ERR__TRANSPORT});
  constexpr uint64_t count = 50;
  for (uint64_t token = 0; token < count; ++token)
    ASSERT_TRUE(x->produce(make(token)));
  const auto reports = reports_.wait_for(count);
  ASSERT_EQ(reports.size(), count);
  for (const auto& report : reports)
    EXPECT_FALSE(report.failure) << report.failure->describe();
  const auto got = stored(count);
  ASSERT_EQ(got.size(), count);
  for (uint64_t token = 0; token < count; ++token)
    EXPECT_EQ(got[token].key, "k" + std::to_string(token));
}

TEST_F(KafkaProducer, WhatWillNotPassIsReportedAsAFailure) {
  auto x = start();
  cluster_.fail_next(test::api_produce, {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED});
  ASSERT_TRUE(x->produce(make(7)));
  const auto reports = reports_.wait_for(1);
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].token, 7u);
  ASSERT_TRUE(reports[0].failure);
  EXPECT_EQ(reports[0].failure->code, errc::kafka);
  EXPECT_NE(reports[0].failure->message.find("out"), std::string::npos);
}

TEST_F(KafkaProducer, AFullQueueRefusesAndLaterTakesAgain) {
  cluster_.down();
  auto x = start({{"queue.buffering.max.messages", "3"}});
  for (uint64_t token = 0; token < 3; ++token)
    ASSERT_TRUE(x->produce(make(token)));
  const auto refused = x->produce(make(3));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::queue_full);
  EXPECT_TRUE(reports_.all().empty());
  cluster_.up();
  EXPECT_EQ(reports_.wait_for(3).size(), 3u);
  // A place is free as soon as its report has been handled.
  const auto deadline = std::chrono::steady_clock::now() + patience;
  auto taken = x->produce(make(4));
  while (!taken && std::chrono::steady_clock::now() < deadline)
    taken = x->produce(make(4));
  ASSERT_TRUE(taken) << taken.error().describe();
  EXPECT_EQ(tokens(reports_.wait_for(4)), (std::set<uint64_t>{0, 1, 2, 4}))
    << "what was refused has no report";
}

TEST_F(KafkaProducer, ARecordOfTheLargestSizeFitsItsQueue) {
  constexpr size_t largest = 80'000'000; // more than the 64 MiB of a queue otherwise
  cluster_.down();
  auto x = start({{"message.max.bytes", std::to_string(largest)}});
  const auto taken = x->produce(make(1, std::string(largest - 1'000, 'x')));
  EXPECT_TRUE(taken) << taken.error().describe();
  const auto next = x->produce(make(2, std::string(5'000'000, 'x')));
  ASSERT_FALSE(next) << "one such, not two";
  EXPECT_EQ(next.error().code, errc::queue_full);
}

TEST_F(KafkaProducer, ARecordThatIsTooLargeIsRefusedAtOnce) {
  auto x = start({{"message.max.bytes", "1000"}});
  const auto refused = x->produce(make(1, std::string(2000, 'x')));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::job_too_large);
  EXPECT_NE(refused.error().message.find("out"), std::string::npos);
  ASSERT_TRUE(x->produce(make(2)));
  EXPECT_EQ(tokens(reports_.wait_for(1)), std::set<uint64_t>{2});
}

TEST_F(KafkaProducer, GoesOnWhenTheBrokerReturns) {
  auto x = start();
  ASSERT_TRUE(x->produce(make(0)));
  ASSERT_EQ(reports_.wait_for(1).size(), 1u);
  cluster_.down();
  for (uint64_t token = 1; token < 20; ++token)
    ASSERT_TRUE(x->produce(make(token)));
  EXPECT_EQ(reports_.all().size(), 1u) << "there is no broker to take them";
  cluster_.up();
  const auto reports = reports_.wait_for(20);
  ASSERT_EQ(reports.size(), 20u);
  for (const auto& report : reports)
    EXPECT_FALSE(report.failure) << report.failure->describe();
  EXPECT_EQ(stored(20).size(), 20u);
}

TEST_F(KafkaProducer, DestroyedItReportsWhatIsInFlightAsFailed) {
  auto x = start({{"linger.ms", "0"}});
  ASSERT_TRUE(x->produce(make(0)));
  ASSERT_EQ(reports_.wait_for(1).size(), 1u);
  cluster_.down();
  for (uint64_t token = 1; token <= 100; ++token)
    ASSERT_TRUE(x->produce(make(token)));
  x.reset();
  const auto reports = reports_.all();
  ASSERT_EQ(reports.size(), 101u);
  EXPECT_EQ(tokens(reports).size(), 101u);
  for (const auto& report : reports)
    EXPECT_EQ(report.failure.has_value(), report.token != 0) << report.token;
}

TEST_F(KafkaProducer, WithoutABrokerItEndsAllTheSame) {
  test::closed_port nobody;
  auto x = make_kafka_producer({{"bootstrap.servers", nobody.bootstrap()}}, reports_.handler());
  ASSERT_TRUE(x);
  ASSERT_TRUE((*x)->produce(make(1)));
  x->reset();
  const auto reports = reports_.all();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_TRUE(reports[0].failure);
}

TEST_F(KafkaProducer, IsIdempotentWhateverTheConfigurationSays) {
  auto x = start({{"enable.idempotence", "false"}, {"acks", "0"}});
  ASSERT_TRUE(x->produce(make(1)));
  const auto reports = reports_.wait_for(1);
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].where.offset, 0) << "acks=0 would not know the offset";
}

TEST_F(KafkaProducer, AWrongPropertyIsAnErrorWithItsName) {
  for (const auto& [name, value] :
       {std::pair{"no.such.property", "1"}, std::pair{"linger.ms", "soon"}}) {
    auto properties = cluster_.properties();
    properties[name] = value;
    const auto x = make_kafka_producer(properties, reports_.handler());
    ASSERT_FALSE(x) << name;
    EXPECT_EQ(x.error().code, errc::invalid_config);
    EXPECT_NE(x.error().message.find(std::string{"kafka."} + name), std::string::npos)
      << x.error().message;
  }
  auto properties = cluster_.properties();
  properties["max.in.flight"] = "100"; // not with idempotence
  const auto x = make_kafka_producer(properties, reports_.handler());
  ASSERT_FALSE(x);
  EXPECT_EQ(x.error().code, errc::invalid_config);
}
