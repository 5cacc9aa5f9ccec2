// A topic that an ACL forbids, on a real broker with Kafka's own authorizer.

#include "e2e/support/acls.hpp"
#include "e2e/support/stage.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::e2e;
using namespace ziyu::messaging;
using nlohmann::json;
using namespace std::chrono_literals;

namespace {

double set_aside(const service& s) {
  const auto text = s.get("/metrics").body;
  const std::string name{"\nziyu_set_aside_records "};
  const auto at = text.find(name);
  return at == std::string::npos ? 0 : std::stod(text.substr(at + name.size()));
}

/// The guarantee, and whether the topic may be seen, if not written to.
class ForbiddenTopic : public testing::TestWithParam<std::tuple<const char*, bool>> {
protected:
  static bool may_be_seen() { return std::get<1>(GetParam()); }

  static json configuration(const stage& x) {
    const std::string guarantee = std::get<0>(GetParam());
    json patch{{"delivery", {{"guarantee", guarantee}}}};
    if (guarantee == "exactly_once")
      patch["delivery"]["transactional_id"] = x.topic("service");
    return patch;
  }

  static void forbid(topic_acls& acls, const std::string& topic) {
    acls.allow(topic, "User:nobody", RD_KAFKA_ACL_OPERATION_WRITE);
    if (may_be_seen())
      acls.allow(topic, "User:ANONYMOUS", RD_KAFKA_ACL_OPERATION_READ);
  }
};

} // namespace

INSTANTIATE_TEST_SUITE_P(, ForbiddenTopic,
                         testing::Combine(testing::Values("at_least_once", "exactly_once"),
                                          testing::Bool()),
                         [](const auto& x) {
                           return std::string{std::get<0>(x.param)}
                                  + (std::get<1>(x.param) ? "_seen" : "_hidden");
                         });

TEST_P(ForbiddenTopic, OfDeadLettersHoldsNoResultUpAndTakesThemWhenItIsAllowed) {
  constexpr size_t bad = 4, good = 20;
  const temp_dir folder{"ziyu-acl"};
  auto broker = authorizing_broker(folder.path());
  {
    stage x{broker.bootstrap(), false};
    x.create_topics({"jobs", "results", "dead", "events"});
    x.begin_reading({"results", "events"});
    topic_acls acls{x.client()};
    forbid(acls, x.topic("dead"));
    auto s = x.serve(configuration(x));
    for (size_t i = 0; i < bad; ++i) {
      x.submit({job_record("bad-" + std::to_string(i), "no image")});
      x.submit_digits(good / bad, "good-" + std::to_string(i));
    }
    ASSERT_TRUE(x.read_until([&] { return x.results().size() == good; })) << x.account() << s.log();
    ASSERT_TRUE(x.read_event("publication_set_aside", "topic", x.topic("dead")))
      << x.account() << s.log();
    ASSERT_TRUE(eventually([&] { return set_aside(s) == bad; })) << s.log();
    EXPECT_TRUE(x.events("breaker_opened").empty()) << s.log();
    acls.clear(x.topic("dead"));
    x.begin_reading({"dead"});
    ASSERT_TRUE(x.read_until([&] { return x.dead_letters().size() == bad; }))
      << x.account() << s.log();
    expect_all_accounted(x, s);
    EXPECT_EQ(x.duplicates(), 0u);
    EXPECT_EQ(s.stop(), 0) << s.log();
  }
  broker.stop();
}
