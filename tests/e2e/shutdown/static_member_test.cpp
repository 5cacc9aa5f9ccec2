// Static members (KIP-345) on a real Kafka: the mock cluster rebalances whenever one returns.

#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"
#include "messaging/kafka_consumer.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::e2e;
using namespace ziyu::messaging;
using namespace std::chrono_literals;

namespace {

/// A member and what it was told.
struct static_member {
  std::unique_ptr<consumer> it;
  std::set<topic_partition> owned;
  size_t rebalances = 0;

  void step() {
    auto event = it->poll(5ms);
    if (const auto* news = std::get_if<partitions_assigned>(&event)) {
      owned.insert(news->partitions.begin(), news->partitions.end());
      ++rebalances;
    }
    if (const auto* news = std::get_if<partitions_revoked>(&event)) {
      for (const auto& where : news->partitions)
        owned.erase(where);
      ++rebalances;
      it->finish_revoke();
    }
  }
};

} // namespace

TEST(StaticMember, ThatIsBackWithinItsSessionFindsItsPartitionsAndDisturbsNobody) {
  const stage x{shared_broker(), true, 2};
  const auto join = [&](const std::string& name) {
    auto properties = x.client();
    properties.insert({{"group.id", x.topic("group")},
                       {"group.instance.id", name},
                       {"heartbeat.interval.ms", "300"},
                       {"session.timeout.ms", "30000"}});
    return static_member{must(make_kafka_consumer(properties, {x.topic("jobs")})), {}};
  };
  auto first = join("first"), second = join("second");
  ASSERT_TRUE(eventually([&] {
    first.step();
    second.step();
    return first.owned.size() == 1 && second.owned.size() == 1;
  }));
  const auto before = first.owned;
  const auto rebalances = second.rebalances;
  first.it->close(5s);
  first = join("first");
  ASSERT_TRUE(eventually([&] {
    first.step();
    second.step();
    return !first.owned.empty();
  }));
  EXPECT_EQ(first.owned, before);
  for (auto i = 0; i < 200; ++i) // some heartbeats
    second.step();
  EXPECT_EQ(second.rebalances, rebalances);
  first.it->close(5s);
  second.it->close(5s);
}
