// Which properties of Kafka `ziyu check` and `ziyu serve` accept. Both ask the functions that are
// asked here; tests/process/cli/settings_test.cpp compares the programs themselves.

#include "actors/service.hpp"
#include "cli/check/checks.hpp"
#include "messaging/kafka_consumer.hpp"
#include "messaging/kafka_producer.hpp"
#include "support/kafka_rows.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using test::kafka_row;

namespace {

class KafkaSettings : public testing::TestWithParam<kafka_row> {
protected:
  /// What is said of the row with this guarantee; empty: accepted.
  static std::string refusal(const char* guarantee) {
    auto overrides = GetParam().properties;
    overrides.insert(overrides.begin(), {"kafka.bootstrap.servers=127.0.0.1:1",
                                         std::string{"delivery.guarantee="} + guarantee,
                                         "workers.executable=/bin/true"});
    const auto loaded = cli::load_settings({test::source_dir() + "/configs/ziyu.json", overrides});
    if (!loaded)
      return loaded.error().front().message;
    if (const auto x = cli::check_clients(loaded->values); x.how == cli::verdict::failed)
      return x.detail;
    // A transactional one would wait for a broker.
    return loaded->values.delivery.guarantee == "exactly_once" ? "" : make_clients(loaded->values);
  }

  /// Makes the clients as `serve` does, which takes more than their properties.
  static std::string make_clients(const configs::config& x) {
    const auto properties = actors::client_properties_of(x);
    if (const auto client = messaging::make_kafka_consumer(properties.consumer, {x.topics.jobs});
        !client)
      return client.error().message;
    if (const auto client = messaging::make_kafka_producer(properties.producer, [](const auto&) {});
        !client)
      return client.error().message;
    return "";
  }

  static void expect(const char* guarantee) {
    SCOPED_TRACE(guarantee);
    const auto said = refusal(guarantee);
    if (GetParam().mistake.empty())
      EXPECT_EQ(said, "");
    else
      EXPECT_NE(said.find(GetParam().mistake), std::string::npos) << "said: " << said;
  }
};

} // namespace

TEST_P(KafkaSettings, AreAcceptedOrRefusedBeforeABrokerIsAsked) {
  if (GetParam().with != kafka_row::guarantee::exactly_once)
    expect("at_least_once");
  if (GetParam().with != kafka_row::guarantee::at_least_once)
    expect("exactly_once");
}

INSTANTIATE_TEST_SUITE_P(All, KafkaSettings, testing::ValuesIn(test::kafka_rows()));
