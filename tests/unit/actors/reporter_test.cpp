#include "actors/reporter.hpp"

#include "tests/support/actor_stage.hpp"
#include "tests/support/fake_actors.hpp"

#include <nlohmann/json.hpp>

namespace ziyu::actors {

namespace {

using namespace ziyu::test;

class Reporter : public actor_fixture {
protected:
  std::shared_ptr<std::vector<publication>> log = std::make_shared<std::vector<publication>>();
};

} // namespace

TEST_F(Reporter, PublishesAnEventWithTimeInstanceAndDetail) {
  report->connect(spawn(fake_publisher, log));
  report->emit(events::broker_unavailable{.reason = "泄漏"});
  run();
  ASSERT_EQ(log->size(), 1u);
  const auto& x = log->front();
  EXPECT_EQ(x.kind, publication_kind::event);
  EXPECT_EQ(x.content->topic, "ziyu.events");
  EXPECT_EQ(x.content->key, "test-1");
  const auto event = nlohmann::json::parse(*x.content->value);
  EXPECT_EQ(event["schema"], "ziyu.event.v1");
  EXPECT_EQ(event["type"], "broker_unavailable");
  EXPECT_EQ(event["time_ms"], env.wall_ms());
  EXPECT_EQ(event["instance"], "test-1");
  EXPECT_EQ(event["detail"], (nlohmann::json{{"reason", "泄漏"}}));
}

TEST_F(Reporter, CountsEventsByTypeEvenWithoutAPublisher) {
  report->emit(events::worker_started{.slot = 0});
  report->emit(events::worker_started{.slot = 1});
  report->emit(events::worker_died{});
  EXPECT_EQ(events("worker_started"), 2);
  EXPECT_EQ(events("worker_died"), 1);
}

TEST_F(Reporter, SurvivesIllFormedTextInADetail) {
  report->connect(spawn(fake_publisher, log));
  events::dead_lettered what;
  what.job_id = "caf\xe9";
  report->emit(what);
  run();
  ASSERT_EQ(log->size(), 1u);
  EXPECT_EQ(nlohmann::json::parse(*log->front().content->value)["detail"]["job_id"],
            "caf\xef\xbf\xbd");
}

TEST_F(Reporter, PublishesNothingWhenDisconnected) {
  report->connect(spawn(fake_publisher, log));
  report->disconnect();
  report->emit(events::worker_started{.slot = 0});
  run();
  EXPECT_TRUE(log->empty());
}

} // namespace ziyu::actors
