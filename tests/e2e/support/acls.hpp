#pragma once

// A broker of its own with Kafka's authorizer, and the rights of its clients, which are all
// `User:ANONYMOUS`.

#include "e2e/support/processes.hpp"
#include "messaging/broker/embedded_broker.hpp"
#include "messaging/kafka_client.hpp"

#include <gtest/gtest.h>

namespace ziyu::e2e {

/// Clients that no ACL of a topic (group, transactional id) names may do nothing with it. One
/// without any ACL is free.
inline broker::embedded_broker authorizing_broker(const std::filesystem::path& folder) {
  broker::broker_settings settings;
  settings.folder = folder;
  settings.properties = {
    {"authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"},
    {"allow.everyone.if.no.acl.found", "true"}};
  return must(broker::embedded_broker::start(std::move(settings)));
}

class topic_acls {
public:
  explicit topic_acls(const messaging::kafka_properties& client) {
    char text[512];
    auto conf = must(messaging::make_conf(client));
    admin_.reset(rd_kafka_new(RD_KAFKA_PRODUCER, conf.release(), text, sizeof text));
    answers_.reset(rd_kafka_queue_new(admin_.get()));
  }

  /// From now on only this is allowed.
  void allow(const std::string& topic, const char* user, rd_kafka_AclOperation_t what) {
    allow(RD_KAFKA_RESOURCE_TOPIC, topic, user, what);
  }
  void allow(rd_kafka_ResourceType_t type, const std::string& name, const char* user,
             rd_kafka_AclOperation_t what) {
    char text[512];
    auto x = rd_kafka_AclBinding_new(type, name.c_str(), RD_KAFKA_RESOURCE_PATTERN_LITERAL, user,
                                     "*", what, RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, text,
                                     sizeof text);
    ASSERT_TRUE(x) << text;
    rd_kafka_CreateAcls(admin_.get(), &x, 1, nullptr, answers_.get());
    rd_kafka_AclBinding_destroy(x);
    await_answer();
  }

  /// All is allowed again.
  void clear(const std::string& topic) { clear(RD_KAFKA_RESOURCE_TOPIC, topic); }
  void clear(rd_kafka_ResourceType_t type, const std::string& name) {
    char text[512];
    auto x = rd_kafka_AclBindingFilter_new(type, name.c_str(), RD_KAFKA_RESOURCE_PATTERN_LITERAL,
                                           nullptr, nullptr, RD_KAFKA_ACL_OPERATION_ANY,
                                           RD_KAFKA_ACL_PERMISSION_TYPE_ANY, text, sizeof text);
    ASSERT_TRUE(x) << text;
    rd_kafka_DeleteAcls(admin_.get(), &x, 1, nullptr, answers_.get());
    rd_kafka_AclBinding_destroy(x);
    await_answer();
  }

private:
  void await_answer() {
    const messaging::event_ptr event{rd_kafka_queue_poll(answers_.get(), 30'000)};
    ASSERT_TRUE(event);
    EXPECT_EQ(rd_kafka_event_error(event.get()), RD_KAFKA_RESP_ERR_NO_ERROR);
  }

  messaging::kafka_ptr admin_;
  messaging::queue_ptr answers_;
};

} // namespace ziyu::e2e
