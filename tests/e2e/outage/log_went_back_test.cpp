// A log that goes back behind what was read of it, on a real Kafka: the mock cluster's never do.

#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"
#include "messaging/kafka_consumer.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::e2e;
using namespace ziyu::messaging;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 30s;

void delete_topic(const kafka_properties& client, const std::string& name) {
  auto conf = must(make_conf(client));
  char text[512];
  kafka_ptr admin{rd_kafka_new(RD_KAFKA_PRODUCER, conf.release(), text, sizeof text)};
  auto request = rd_kafka_DeleteTopic_new(name.c_str());
  auto options = rd_kafka_AdminOptions_new(admin.get(), RD_KAFKA_ADMIN_OP_DELETETOPICS);
  rd_kafka_AdminOptions_set_operation_timeout(options, 10'000, text, sizeof text);
  queue_ptr answers{rd_kafka_queue_new(admin.get())};
  rd_kafka_DeleteTopics(admin.get(), &request, 1, options, answers.get());
  event_ptr event{rd_kafka_queue_poll(answers.get(), 30'000)};
  EXPECT_TRUE(event);
  EXPECT_EQ(rd_kafka_event_error(event.get()), RD_KAFKA_RESP_ERR_NO_ERROR);
  rd_kafka_AdminOptions_destroy(options);
  rd_kafka_DeleteTopic_destroy(request);
}

} // namespace

TEST(LogWentBack, RecordsOfATopicThatWasMadeAnewAreNotTakenForThoseThatItHad) {
  stage x{shared_broker(), true, 1};
  const auto submit = [&](int count) {
    std::vector<outgoing> records;
    for (auto i = 0; i < count; ++i)
      records.push_back(job_record("job", "value"));
    return x.submit(std::move(records));
  };
  auto properties = x.client();
  properties["group.id"] = x.topic("reader");
  // It learns of the new topic when it asks for more of the old one.
  properties["topic.metadata.refresh.interval.ms"] = "600000";
  auto reader = must(make_kafka_consumer(properties, {x.topic("jobs")}));
  std::vector<record> records;
  std::set<uint64_t> assigned;
  const auto read = [&](size_t count) {
    return eventually(
      [&] {
        auto event = reader->poll(10ms);
        if (auto* found = std::get_if<record>(&event))
          records.push_back(std::move(*found));
        if (const auto* found = std::get_if<partitions_assigned>(&event))
          assigned.insert(found->epoch);
        if (std::holds_alternative<partitions_revoked>(event))
          reader->finish_revoke();
        return records.size() == count;
      },
      patience);
  };
  submit(20);
  ASSERT_TRUE(read(20));
  const auto before = records.back().epoch;
  delete_topic(x.client(), x.topic("jobs"));
  must(create_topics(x.client(), {{x.topic("jobs"), 1, 1, {}}}, patience));
  submit(5);
  ASSERT_TRUE(read(25)) << records.size();
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(records[20 + i].id.offset, static_cast<int64_t>(i));
    EXPECT_GT(records[20 + i].epoch, before);
    EXPECT_TRUE(assigned.contains(records[20 + i].epoch)) << "told before its records";
  }
  reader->close(5s);
}
