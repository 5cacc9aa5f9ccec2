// A topic that an ACL forbids, on a real broker with Kafka's own authorizer.

#include "broker/embedded_broker.hpp"
#include "e2e/support/stage.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::e2e;
using namespace ziyu::messaging;
using nlohmann::json;
using namespace std::chrono_literals;

namespace {

/// Whoever is not named by a topic's ACLs may do nothing with it; a topic without any is free.
broker::embedded_broker authorizing_broker(const std::filesystem::path& folder) {
  broker::broker_settings settings;
  settings.folder = folder;
  settings.properties = {
    {"authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"},
    {"allow.everyone.if.no.acl.found", "true"}};
  return must(broker::embedded_broker::start(std::move(settings)));
}

class topic_acls {
public:
  explicit topic_acls(const kafka_properties& client) {
    char text[512];
    auto conf = must(make_conf(client));
    admin_.reset(rd_kafka_new(RD_KAFKA_PRODUCER, conf.release(), text, sizeof text));
    answers_.reset(rd_kafka_queue_new(admin_.get()));
  }

  /// From now on only this is allowed.
  void allow(const std::string& topic, const char* user, rd_kafka_AclOperation_t what) {
    char text[512];
    auto x = rd_kafka_AclBinding_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str(),
                                     RD_KAFKA_RESOURCE_PATTERN_LITERAL, user, "*", what,
                                     RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, text, sizeof text);
    ASSERT_TRUE(x) << text;
    rd_kafka_CreateAcls(admin_.get(), &x, 1, nullptr, answers_.get());
    rd_kafka_AclBinding_destroy(x);
    await_answer();
  }

  /// All is allowed again.
  void clear(const std::string& topic) {
    char text[512];
    auto x = rd_kafka_AclBindingFilter_new(
      RD_KAFKA_RESOURCE_TOPIC, topic.c_str(), RD_KAFKA_RESOURCE_PATTERN_LITERAL, nullptr, nullptr,
      RD_KAFKA_ACL_OPERATION_ANY, RD_KAFKA_ACL_PERMISSION_TYPE_ANY, text, sizeof text);
    ASSERT_TRUE(x) << text;
    rd_kafka_DeleteAcls(admin_.get(), &x, 1, nullptr, answers_.get());
    rd_kafka_AclBinding_destroy(x);
    await_answer();
  }

private:
  void await_answer() {
    const event_ptr event{rd_kafka_queue_poll(answers_.get(), 30'000)};
    ASSERT_TRUE(event);
    EXPECT_EQ(rd_kafka_event_error(event.get()), RD_KAFKA_RESP_ERR_NO_ERROR);
  }

  kafka_ptr admin_;
  queue_ptr answers_;
};

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
