// A log that goes back behind what was read of it, on a real Kafka: the mock cluster's logs never
// do.

#include "e2e/support/open_transaction.hpp"
#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"
#include "messaging/kafka_consumer.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::e2e;
using namespace ziyu::messaging;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 60s;

kafka_ptr make_admin(const kafka_properties& client) {
  auto conf = must(make_conf(client));
  char text[512];
  return kafka_ptr{rd_kafka_new(RD_KAFKA_PRODUCER, conf.release(), text, sizeof text)};
}

void delete_topic(const kafka_properties& client, const std::string& name) {
  const auto admin = make_admin(client);
  char text[512];
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

/// Like retention: deletes everything below `offset`.
void delete_records(const kafka_properties& client, const topic_partition& where, int64_t offset) {
  const auto admin = make_admin(client);
  partition_list_ptr list{rd_kafka_topic_partition_list_new(1)};
  rd_kafka_topic_partition_list_add(list.get(), where.topic.c_str(), where.partition)->offset =
    offset;
  auto request = rd_kafka_DeleteRecords_new(list.get());
  queue_ptr answers{rd_kafka_queue_new(admin.get())};
  rd_kafka_DeleteRecords(admin.get(), &request, 1, nullptr, answers.get());
  event_ptr event{rd_kafka_queue_poll(answers.get(), 30'000)};
  EXPECT_TRUE(event);
  EXPECT_EQ(rd_kafka_event_error(event.get()), RD_KAFKA_RESP_ERR_NO_ERROR);
  rd_kafka_DeleteRecords_destroy(request);
}

/// A consumer of the stage's jobs, and its events.
class reader {
public:
  explicit reader(const stage& x, const std::string& refresh_ms = "10000")
    : jobs_(x.topic("jobs")) {
    auto properties = x.client();
    properties["group.id"] = x.topic("reader");
    // The consumer learns of a new topic when it fetches from the old one. When it asks while there
    // is neither, it learns that there is none, and then it learns of the new one by this.
    properties["topic.metadata.refresh.interval.ms"] = refresh_ms;
    from_ = must(make_kafka_consumer(properties, {jobs_}));
  }
  ~reader() { from_->close(5s); }

  bool read_until(const std::function<bool()>& holds) {
    return eventually(
      [&] {
        auto event = from_->poll(10ms);
        if (auto* found = std::get_if<record>(&event))
          records.push_back(std::move(*found));
        if (auto* found = std::get_if<partitions_assigned>(&event)) {
          assigned.insert(found->epoch);
          committed.merge(found->committed);
        }
        if (const auto* found = std::get_if<records_lost>(&event))
          lost.push_back(*found);
        if (std::holds_alternative<partitions_revoked>(event)) {
          from_->finish_revoke();
          ++revocations;
        }
        if (looks)
          views = from_->view();
        return holds();
      },
      patience);
  }
  bool read(size_t count) {
    return read_until([&] { return records.size() >= count; });
  }
  /// Asks for the next view before the last one is answered, as a busy machine has it.
  bool learn_topic_id() {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    do
      views = from_->view();
    while ((views.empty() || views[0].topic_id.empty())
           && std::chrono::steady_clock::now() < deadline);
    return !views.empty() && !views[0].topic_id.empty();
  }
  /// A commit of everything below `next` of the only partition, with that leader epoch.
  bool commit(int64_t next, int32_t leader_epoch) {
    commit_point point{next, {}, 1};
    point.leader_epoch = leader_epoch;
    return from_->store({jobs_, 0}, point) && from_->commit(30s);
  }

  std::vector<record> records;
  std::set<uint64_t> assigned;
  int revocations = 0;
  std::map<topic_partition, committed_state> committed;
  std::vector<records_lost> lost;
  std::vector<partition_view> views;
  bool looks = true; ///< Asks for a view after each poll.

private:
  std::string jobs_;
  std::unique_ptr<consumer> from_;
};

void submit(stage& x, int count) {
  std::vector<outgoing> records;
  for (auto i = 0; i < count; ++i)
    records.push_back(job_record("job", "value"));
  x.submit(std::move(records));
}

} // namespace

TEST(LogWentBack, RecordsOfATopicThatWasMadeAnewAreNotTakenForThoseThatItHad) {
  stage x{shared_broker(), true, 1};
  reader r{x};
  submit(x, 20);
  ASSERT_TRUE(r.read(20));
  const auto before = r.records.back().epoch;
  delete_topic(x.client(), x.topic("jobs"));
  must(create_topics(x.client(), {{x.topic("jobs"), 1, 1, {}}}, patience));
  submit(x, 5);
  ASSERT_TRUE(r.read(25)) << r.records.size();
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(r.records[20 + i].id.offset, static_cast<int64_t>(i));
    EXPECT_GT(r.records[20 + i].epoch, before);
    EXPECT_TRUE(r.assigned.contains(r.records[20 + i].epoch)) << "told before its records";
  }
}

TEST(LogWentBack, ATopicThatWasMadeAnewAndHasGrownToWhereWeAreIsReadFromItsBeginning) {
  stage x{shared_broker(), true, 1};
  reader r{x};
  submit(x, 20);
  r.looks = false;
  ASSERT_TRUE(r.read(20));
  r.looks = true;
  ASSERT_TRUE(r.learn_topic_id());
  ASSERT_TRUE(r.commit(20, r.records.back().leader_epoch));
  const auto before = r.records.back().epoch;
  delete_topic(x.client(), x.topic("jobs"));
  must(create_topics(x.client(), {{x.topic("jobs"), 1, 1, {}}}, patience));
  submit(x, 30);
  std::set<int64_t> fresh;
  EXPECT_TRUE(r.read_until([&] {
    for (const auto& record : r.records)
      if (record.epoch > before)
        fresh.insert(record.id.offset);
    return fresh.size() == 30;
  }))
    << fresh.size();
}

TEST(LogWentBack, ATopicThatWasGoneForAWhileIsReadFromItsBeginning) {
  stage x{shared_broker(), true, 1};
  reader r{x, "200"};
  submit(x, 20);
  ASSERT_TRUE(r.read(20));
  ASSERT_TRUE(r.commit(20, r.records.back().leader_epoch));
  delete_topic(x.client(), x.topic("jobs"));
  ASSERT_TRUE(r.read_until([&] { return r.revocations > 0; }));
  must(create_topics(x.client(), {{x.topic("jobs"), 1, 1, {}}}, patience));
  submit(x, 30);
  EXPECT_TRUE(r.read(50)) << r.records.size();
  EXPECT_EQ(r.records[20].id.offset, 0);
}

TEST(LogWentBack, RecordsThatRetentionTookBeforeTheyWereReadAreCounted) {
  stage x{shared_broker(), true, 1};
  const topic_partition where{x.topic("jobs"), 0};
  submit(x, 5);
  {
    reader r{x};
    ASSERT_TRUE(r.read(5));
    ASSERT_TRUE(r.commit(5, r.records.back().leader_epoch));
  }
  submit(x, 15);
  delete_records(x.client(), where, 12);
  // A gap without a loss: the marker of a transaction.
  open_transaction{x.client(), x.topic("writer"), {{where.topic, "job", "value", {}, 0, 0}}}
    .commit();
  submit(x, 1);
  reader r{x};
  ASSERT_TRUE(r.read_until([&] { return r.records.size() == 10 && !r.lost.empty(); }))
    << r.records.size() << " records, losses: " << r.lost.size();
  EXPECT_EQ(r.committed.at(where).next, 5);
  EXPECT_GE(r.committed.at(where).leader_epoch, 0) << "commits carry the leader";
  ASSERT_EQ(r.lost.size(), 1u);
  EXPECT_EQ(r.lost[0].where, where);
  EXPECT_EQ(r.lost[0].from, 5);
  EXPECT_EQ(r.lost[0].past, 12);
  EXPECT_EQ(r.lost[0].log_start, 12);
}
