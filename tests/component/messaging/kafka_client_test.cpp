#include "messaging/kafka_client.hpp"

#include "messaging/kafka_producer.hpp"
#include "messaging/topic_reader.hpp"
#include "support/mock_cluster.hpp"
#include "support/report_book.hpp"

#include <gtest/gtest.h>

#include <set>

using namespace ziyu;
using namespace ziyu::messaging;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds patience{60'000};

class TopicReader : public ::testing::Test {
protected:
  void SetUp() override {
    cluster_.create_topic("t", 2);
    auto x = make_kafka_producer(cluster_.properties(), reports_.handler());
    ASSERT_TRUE(x) << x.error().describe();
    producer_ = std::move(*x);
  }

  void produce(const std::string& prefix, int count) {
    for (int i = 0; i < count; ++i) {
      outgoing x;
      x.topic = "t";
      x.value = prefix + std::to_string(i);
      ASSERT_TRUE(producer_->produce(x));
    }
    await_reports(static_cast<size_t>(count));
  }

  void await_reports(size_t more) {
    produced_ += more;
    ASSERT_EQ(reports_.wait_for(produced_).size(), produced_);
  }

  std::unique_ptr<topic_reader> open(topic_reader::start from) {
    auto x = read_topic(cluster_.properties(), "t", from, patience);
    EXPECT_TRUE(x) << x.error().describe();
    return x ? std::move(*x) : nullptr;
  }

  /// The values of the next `count` records and of what follows at once.
  std::multiset<std::string> values(topic_reader& from, size_t count) {
    std::multiset<std::string> result;
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < deadline) {
      auto next = from.next(milliseconds{result.size() < count ? 1000 : 200});
      EXPECT_TRUE(next) << next.error().describe();
      if (next && *next)
        result.insert(*(*next)->value);
      else if (!next || result.size() >= count)
        break;
    }
    return result;
  }

  test::mock_cluster cluster_;
  test::report_book reports_;
  std::unique_ptr<producer> producer_;
  size_t produced_ = 0;
};

} // namespace

// Two bytes in Kafka are a hundred and more in memory.
TEST_F(TopicReader, OfARecordOfNothingButHeadersOnlyTheEndsAreRead) {
  for (const size_t count : {size_t{10'000}, size_t{10'001}, size_t{100'001}}) {
    outgoing x;
    x.topic = "t";
    x.partition = 0;
    x.value = "image";
    x.headers.assign(count, {"", std::nullopt});
    x.headers.front() = {"first", "1"};
    x.headers.back() = {"last", "2"};
    ASSERT_TRUE(producer_->produce(x));
  }
  await_reports(3);
  const auto from = open(topic_reader::start::beginning);
  ASSERT_TRUE(from);
  std::vector<header_list> found;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (found.size() < 3 && std::chrono::steady_clock::now() < deadline) {
    auto next = from->next(milliseconds{1000});
    ASSERT_TRUE(next) << next.error().describe();
    if (*next)
      found.push_back((*next)->headers);
  }
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].size(), 10'000u) << "so many are read";
  ASSERT_EQ(found[1].size(), 65u);
  EXPECT_LT(found[1].capacity(), 70u);
  EXPECT_EQ(find_header(found[1], "first"), "1");
  EXPECT_EQ(found[1][63], (header_list::value_type{"last", "2"}));
  EXPECT_EQ(found[1][64], (header_list::value_type{"ziyu-headers-unread", "9937"}));
  // librdkafka reads none of so many.
  EXPECT_EQ(found[2], (header_list{{"ziyu-headers-unread", "all"}}));
}

TEST_F(TopicReader, FromTheBeginningReadsAllPartitions) {
  produce("a", 10);
  auto reader = open(topic_reader::start::beginning);
  ASSERT_TRUE(reader);
  auto got = values(*reader, 10);
  EXPECT_EQ(got.size(), 10u);
  EXPECT_EQ(std::set<std::string>(got.begin(), got.end()).size(), 10u) << "each once";
  produce("b", 2);
  EXPECT_EQ(values(*reader, 2), (std::multiset<std::string>{"b0", "b1"}));
}

TEST_F(TopicReader, FromTheEndReadsOnlyWhatComesLater) {
  produce("old", 5);
  auto reader = open(topic_reader::start::end);
  ASSERT_TRUE(reader);
  produce("new", 3); // before the first fetch: the end is that of the opening
  EXPECT_EQ(values(*reader, 3), (std::multiset<std::string>{"new0", "new1", "new2"}));
}

TEST_F(TopicReader, OfAnEmptyTopicHasNothing) {
  auto reader = open(topic_reader::start::beginning);
  ASSERT_TRUE(reader);
  const auto next = reader->next(milliseconds{1});
  ASSERT_TRUE(next);
  EXPECT_FALSE(*next);
}

TEST_F(TopicReader, KnowsWhenItHasReadAll) {
  produce("a", 10);
  auto reader = open(topic_reader::start::beginning);
  ASSERT_TRUE(reader);
  EXPECT_FALSE(reader->at_end()) << "nothing was read yet";
  size_t read = 0;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!reader->at_end() && std::chrono::steady_clock::now() < deadline) {
    const auto next = reader->next(milliseconds{1000});
    ASSERT_TRUE(next);
    read += next->has_value();
  }
  EXPECT_TRUE(reader->at_end());
  EXPECT_EQ(read, 10u);
}

TEST_F(TopicReader, WaitsOutABrokerThatIsAway) {
  produce("a", 1);
  auto reader = open(topic_reader::start::beginning);
  ASSERT_TRUE(reader);
  EXPECT_EQ(values(*reader, 1).size(), 1u);
  cluster_.down();
  for (int i = 0; i < 5; ++i) {
    const auto next = reader->next(milliseconds{50});
    ASSERT_TRUE(next) << "it may pass: " << next.error().describe();
    EXPECT_FALSE(*next);
  }
  cluster_.up();
  produce("b", 1);
  EXPECT_EQ(values(*reader, 1), std::multiset<std::string>{"b0"});
}

TEST_F(TopicReader, NeedsItsTopicAndABroker) {
  const auto missing = read_topic(cluster_.properties(), "no-such-topic",
                                  topic_reader::start::beginning, patience);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, errc::unavailable);
  EXPECT_NE(missing.error().message.find("no-such-topic does not exist"), std::string::npos);
  test::closed_port nobody;
  const auto absent = read_topic({{"bootstrap.servers", nobody.bootstrap()}}, "t",
                                 topic_reader::start::end, milliseconds{100});
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, errc::unavailable);
}

TEST(ReadMetadata, ListsBrokersAndTopics) {
  test::mock_cluster cluster;
  cluster.create_topic("one", 1);
  cluster.create_topic("three", 3);
  const auto x = read_metadata(cluster.properties(), patience);
  ASSERT_TRUE(x) << x.error().describe();
  ASSERT_EQ(x->brokers.size(), 1u);
  EXPECT_EQ(x->brokers[0], cluster.bootstrap());
  ASSERT_TRUE(x->find("three"));
  EXPECT_EQ(x->find("three")->partitions, 3);
  EXPECT_EQ(x->find("one")->partitions, 1);
  EXPECT_EQ(x->find("absent"), nullptr) << "asking creates nothing";
}

TEST(ReadMetadata, TakesAConsumersProperties) {
  test::mock_cluster cluster;
  auto properties = cluster.properties();
  properties["group.id"] = "g";
  properties["auto.offset.reset"] = "earliest";
  EXPECT_TRUE(read_metadata(properties, patience));
}

TEST(ReadMetadata, WithoutABrokerSaysWhoWasAskedAndForHowLong) {
  test::closed_port nobody;
  const auto x = read_metadata({{"bootstrap.servers", nobody.bootstrap()}}, milliseconds{120});
  ASSERT_FALSE(x);
  EXPECT_EQ(x.error().code, errc::unavailable);
  EXPECT_NE(x.error().message.find(nobody.bootstrap()), std::string::npos) << x.error().message;
  EXPECT_NE(x.error().message.find("120 ms"), std::string::npos) << x.error().message;
  const auto none = read_metadata({}, milliseconds{1});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, errc::unavailable);
}

TEST(ReadMetadata, AWrongPropertyIsAnErrorWithItsName) {
  const auto x = read_metadata({{"bootstrap.server", "localhost:1"}}, patience);
  ASSERT_FALSE(x);
  EXPECT_EQ(x.error().code, errc::invalid_config);
  EXPECT_NE(x.error().message.find("kafka.bootstrap.server"), std::string::npos);
}

TEST(CreateTopics, WithoutABrokerIsUnavailable) {
  test::closed_port nobody;
  const auto x = create_topics({{"bootstrap.servers", nobody.bootstrap()}}, {{"t", 1, 1, {}}},
                               milliseconds{120});
  ASSERT_FALSE(x);
  EXPECT_EQ(x.error().code, errc::unavailable);
  EXPECT_NE(x.error().message.find("120 ms"), std::string::npos) << x.error().message;
}

TEST(CreateTopics, AWrongSpecificationIsAnErrorWithTheTopicsName) {
  test::closed_port nobody;
  const auto x = create_topics({{"bootstrap.servers", nobody.bootstrap()}},
                               {{"good", 1, 1, {}}, {"bad", -7, 1, {}}}, milliseconds{120});
  ASSERT_FALSE(x);
  EXPECT_EQ(x.error().code, errc::invalid_config);
  EXPECT_NE(x.error().message.find("topic bad: "), std::string::npos) << x.error().message;
}

TEST(KafkaClient, AProducersQueueHoldsItsLargestRecord) {
  EXPECT_EQ(default_queue_kbytes({}), "65536");
  EXPECT_EQ(default_queue_kbytes({{"message.max.bytes", "1000000"}}), "65536");
  EXPECT_EQ(default_queue_kbytes({{"message.max.bytes", "67108864"}}), "65537");
  EXPECT_EQ(default_queue_kbytes({{"message.max.bytes", "1000000000"}}), "976563");
}

TEST(KafkaError, KnowsWhatMayPassAndWhatIsFatal) {
  const std::pair<rd_kafka_resp_err_t, errc> cases[] = {
    {RD_KAFKA_RESP_ERR__FATAL, errc::kafka_fatal},
    {RD_KAFKA_RESP_ERR__FENCED, errc::kafka_fatal},
    {RD_KAFKA_RESP_ERR__QUEUE_FULL, errc::queue_full},
    {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, errc::job_too_large},
    {RD_KAFKA_RESP_ERR__TIMED_OUT, errc::timeout},
    {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, errc::timeout},
    {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, errc::unavailable},
    {RD_KAFKA_RESP_ERR__TRANSPORT, errc::unavailable},
    {RD_KAFKA_RESP_ERR__STATE, errc::revoked},
    {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, errc::kafka},
  };
  for (const auto& [from, to] : cases)
    EXPECT_EQ(to_string(to_error(from, "").code), to_string(to)) << rd_kafka_err2name(from);
  EXPECT_EQ(to_error(RD_KAFKA_RESP_ERR__TIMED_OUT, "commit").message, "commit: Local: Timed out");
  EXPECT_EQ(to_error(RD_KAFKA_RESP_ERR__TIMED_OUT, "").message, "Local: Timed out");
}
