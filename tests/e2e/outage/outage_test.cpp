// Kafka is absent, goes away, or lacks a topic: the service waits, reports it, and loses
// nothing.

#include "e2e/support/observed.hpp"
#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"

#include <gmock/gmock.h>

#include <csignal>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;
using namespace std::chrono_literals;

namespace {

/// A port of 127.0.0.1 without a listener.
uint16_t free_port() {
  unique_fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0
      || ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("no port is free");
  return ntohs(address.sin_port);
}

/// A broker of the test's own, which can be ended and started again at the same port.
class own_broker {
public:
  explicit own_broker(uint16_t port = 0) : port_(port) { start(); }
  void start() {
    broker::broker_settings settings;
    settings.folder = folder_.path();
    settings.port = port_;
    broker_.emplace(must(broker::embedded_broker::start(std::move(settings))));
  }
  void stop() {
    broker_->stop();
    broker_.reset();
  }
  /// SIGKILL to the Java process.
  void kill() {
    for (const auto& x : descendants(broker_->pid()))
      ::kill(x.pid, SIGKILL);
    if (!eventually([this] { return !broker_->running(); }))
      throw std::runtime_error("the broker does not end");
    broker_.reset();
  }
  const std::string& bootstrap() const { return broker_->bootstrap(); }

private:
  temp_dir folder_{"ziyu-broker"};
  uint16_t port_;
  std::optional<broker::embedded_broker> broker_;
};

bool ready(const service& s) { return s.get("/readyz").status == 200; }

/// Whether this is among the reasons for not being ready.
bool says(const service& s, const std::string& words) {
  return s.get("/readyz").body.find(words) != std::string::npos;
}

const json slow{{"faults", {{"allowed", true}, {"slots", {{"0", "slow:20"}, {"1", "slow:20"}}}}}};

} // namespace

TEST(Outage, WithoutABrokerAtTheStartItWaitsSaysSoAndServesWhenItComes) {
  const auto port = free_port();
  stage x{"127.0.0.1:" + std::to_string(port), false};
  auto s = x.serve();
  s.await_workers(2, 1); // everything but Kafka works
  EXPECT_TRUE(eventually([&] { return says(s, "kafka: no broker is reachable"); }))
    << s.get("/readyz").body << s.log();
  const auto unready = s.get("/readyz");
  EXPECT_EQ(unready.status, 503) << unready.body;
  EXPECT_EQ(json::parse(unready.body).at("ready"), false);
  EXPECT_EQ(s.get("/livez").status, 200) << "a restart would not help";
  EXPECT_TRUE(degraded_by(s, "kafka: no broker is reachable")) << s.get("/health").body;

  own_broker kafka{port};
  x.create_topics({"jobs", "results", "dead", "events"});
  x.begin_reading();
  EXPECT_TRUE(eventually([&] { return ready(s); })) << s.get("/readyz").body << s.log();
  x.submit_digits(30);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  EXPECT_EQ(x.results().size(), 30u);
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Outage, ABrokerThatIsKilledInTheMiddleAndComesBackCostsNothing) {
  own_broker kafka;
  stage x{kafka.bootstrap()};
  auto s = x.serve(slow);
  s.await_workers(2, 1);
  x.submit_digits(400);
  ASSERT_TRUE(x.read_until([&] { return x.results().size() >= 40; })) << x.account() << s.log();
  kafka.kill();
  EXPECT_TRUE(eventually([&] { return says(s, "kafka: no broker is reachable"); }))
    << s.get("/readyz").body << s.log();
  EXPECT_FALSE(ready(s));
  EXPECT_TRUE(degraded_by(s, "kafka: no broker is reachable")) << s.get("/health").body;
  EXPECT_EQ(s.get("/livez").status, 200);
  EXPECT_TRUE(s.running());
  kafka.start();
  ASSERT_TRUE(x.read_all_answers(120s)) << x.account() << s.log();
  EXPECT_GE(x.accuracy(), 0.97);
  expect_all_accounted(x, s);
  EXPECT_TRUE(eventually([&] { return ready(s); })) << s.get("/readyz").body << s.log();
  EXPECT_TRUE(x.read_event("broker_unavailable")) << x.account();
  EXPECT_TRUE(x.read_event("broker_available")) << x.account();
  // And goes on.
  x.submit_digits(30, "later");
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Outage, AnIdleServiceIsReadyAgainWhenTheBrokerIsBack) {
  own_broker kafka;
  stage x{kafka.bootstrap()};
  auto s = x.serve();
  s.await_workers(2, 1);
  ASSERT_TRUE(eventually([&] { return ready(s); })) << s.get("/readyz").body;
  kafka.stop();
  EXPECT_TRUE(eventually([&] { return !ready(s); })) << s.log();
  kafka.start();
  // Without a single job.
  EXPECT_TRUE(eventually([&] { return ready(s); })) << s.get("/readyz").body << s.log();
  x.begin_reading(); // anew: how this test's own readers survive an outage is not its subject
  x.submit_digits(5);
  EXPECT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Outage, StoppingWithoutABrokerEndsInBoundedTimeAndTheJobsRunAfterARestart) {
  own_broker kafka;
  stage x{kafka.bootstrap()};
  {
    auto s = x.serve([] {
      auto patch = slow;
      patch["shutdown"] = {{"drain_ms", 1000}};
      return patch;
    }());
    s.await_workers(2, 1);
    x.submit_digits(200);
    ASSERT_TRUE(x.read_until([&] { return x.results().size() >= 20; })) << x.account() << s.log();
    kafka.kill();
    s.signal(SIGTERM);
    const auto code = s.wait(60s);
    ASSERT_TRUE(code) << s.log();
    EXPECT_EQ(*code, 0) << s.log();
  }
  kafka.start();
  auto s = x.serve();
  ASSERT_TRUE(x.read_all_answers(120s)) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Outage, ATopicThatIsCreatedLaterIsFound) {
  stage x{shared_broker(), false};
  x.create_topics({"results", "dead", "events"});
  x.begin_reading();
  auto s = x.serve();
  s.await_workers(2, 1);
  EXPECT_TRUE(eventually([&] { return says(s, x.topic("jobs")); })) << s.get("/readyz").body;
  EXPECT_EQ(s.get("/readyz").status, 503);
  EXPECT_TRUE(degraded_by(s, x.topic("jobs"))) << s.get("/health").body;
  EXPECT_EQ(s.get("/livez").status, 200);
  x.create_topics({"jobs"});
  EXPECT_TRUE(eventually([&] { return ready(s); })) << s.get("/readyz").body << s.log();
  x.submit_digits(20);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
}
