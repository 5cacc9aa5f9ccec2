// `ziyu health` against a service that the test simulates.

#include "cli/command.hpp"
#include "support/command_line.hpp"
#include "support/places.hpp"
#include "support/service_answers.hpp"

#include <gtest/gtest.h>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <thread>

using namespace ziyu;
using namespace ziyu::test;
using nlohmann::json;

namespace {

outcome run(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "health");
  return run_ziyu(arguments);
}

class Health : public ::testing::Test {
protected:
  Health() {
    server_.Get("/health", [this](const httplib::Request&, httplib::Response& res) {
      // The first answers are `before_`, if any.
      const auto first = asked_.fetch_add(1) < before_count_;
      res.status = status_;
      res.set_content(first ? before_ : body_, "application/json");
    });
    server_.Get("/livez", [this](const httplib::Request&, httplib::Response& res) {
      res.status = status_;
      res.set_content(body_, "application/json");
    });
    server_.Get("/readyz", [this](const httplib::Request&, httplib::Response& res) {
      res.status = status_;
      res.set_content(body_, "application/json");
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread{[this] { server_.listen_after_bind(); }};
    while (!server_.is_running())
      std::this_thread::yield();
  }

  ~Health() override {
    server_.stop();
    thread_.join();
  }

  std::string url() const { return "127.0.0.1:" + std::to_string(port_); }

  httplib::Server server_;
  std::thread thread_;
  int port_ = 0, status_ = 200;
  std::atomic<int> asked_ = 0;
  int before_count_ = 0;
  std::string before_, body_ = healthy_answer().dump();
};

} // namespace

TEST_F(Health, PrintsTheFieldsOfAHealthyService) {
  const auto x = run({url()});
  EXPECT_EQ(x.code, cli::exit_ok);
  EXPECT_EQ(x.out, "healthy  http://" + url()
                     + "\n"
                       "memory   31.3 % (320.0 MiB of 1.0 GiB, cgroup2), threshold not exceeded\n"
                       "workers  2 of 2 up, 1 warm, 3 replaced so far\n"
                       "jobs     0 waiting, 1 running; 512 results, 4 dead letters\n"
                       "kafka    consuming, 7 records behind, oldest job in hand 0.4 s\n"
                       "breaker  closed\n");
}

TEST_F(Health, AcceptsASchemeAndALastSlash) {
  EXPECT_EQ(run({"http://" + url() + "/"}).code, cli::exit_ok);
}

TEST_F(Health, FailsForADegradedService) {
  auto body = healthy_answer();
  body["status"] = "degraded";
  body["threshold_exceeded"] = true;
  body["breaker"] = "open";
  body["breaker_reason"] = "memory at 83 %";
  body["reasons"] = {"the breaker is open: memory at 83 %"};
  body["consuming"] = false;
  body["kafka"] = "no broker answers";
  body_ = body.dump();
  const auto x = run({url()});
  EXPECT_EQ(x.code, cli::exit_failed);
  EXPECT_TRUE(x.out.starts_with("degraded ")) << x.out;
  EXPECT_NE(x.out.find("threshold exceeded"), x.out.npos) << x.out;
  EXPECT_NE(x.out.find("breaker  open: memory at 83 %"), x.out.npos) << x.out;
  EXPECT_NE(x.out.find("because  the breaker is open: memory at 83 %"), x.out.npos) << x.out;
  EXPECT_NE(x.out.find("kafka    not consuming: no broker answers"), x.out.npos) << x.out;
}

TEST_F(Health, SaysWhyTheServiceCannotTell) {
  status_ = 503;
  body_ = R"({"status":"error","error":"the dispatcher does not answer"})";
  const auto x = run({url()});
  EXPECT_EQ(x.code, cli::exit_failed);
  EXPECT_NE(x.out.find("error    the dispatcher does not answer"), x.out.npos) << x.out;
}

TEST_F(Health, PrintsTheAnswerItselfWithJson) {
  const auto x = run({url(), "--json"});
  EXPECT_EQ(x.code, cli::exit_ok);
  EXPECT_EQ(json::parse(x.out), healthy_answer());
}

TEST_F(Health, AsksWhetherItIsReadyAndWhyNot) {
  status_ = 503;
  body_ = R"({"ready":false,"reasons":["kafka: no broker yet","no worker is up"]})";
  const auto x = run({url(), "--ready"});
  EXPECT_EQ(x.code, cli::exit_failed);
  EXPECT_EQ(x.out, "not ready  http://" + url()
                     + "\n"
                       "because  kafka: no broker yet\n"
                       "because  no worker is up\n");
  status_ = 200;
  body_ = R"({"ready":true,"reasons":[]})";
  EXPECT_EQ(run({url(), "--ready"}).code, cli::exit_ok);
}

TEST_F(Health, AsksOnlyWhetherItLives) {
  body_ = R"({"status":"ok"})";
  const auto x = run({url(), "--live"});
  EXPECT_EQ(x.code, cli::exit_ok);
  EXPECT_EQ(x.out, "alive  http://" + url() + "\n");
  status_ = 503;
  body_ = R"({"status":"error","error":"timeout: the dispatcher does not answer"})";
  EXPECT_EQ(run({url(), "--live"}).code, cli::exit_failed);
  EXPECT_EQ(run({url(), "--live", "--ready"}).code, cli::exit_wrong_usage);
}

TEST_F(Health, WaitsUntilTheServiceIsHealthy) {
  before_ = R"({"status":"starting"})";
  before_count_ = 2;
  const auto x = run({url(), "--wait", "60"});
  EXPECT_EQ(x.code, cli::exit_ok);
  EXPECT_EQ(asked_, 3);
  EXPECT_TRUE(x.out.starts_with("healthy ")) << x.out;
}

TEST_F(Health, DoesNotTakeAnotherServerForZiyu) {
  body_ = "<html>hello</html>";
  const auto x = run({url()});
  EXPECT_EQ(x.code, cli::exit_failed);
  EXPECT_NE(x.err.find("does not answer as ziyu does"), x.err.npos) << x.err;
}

TEST_F(Health, DoesNotPassControlCharactersToTheTerminal) {
  body_ = R"({"status":"\u001b[31mhealthy"})";
  const auto x = run({url()});
  EXPECT_EQ(x.code, cli::exit_failed);
  EXPECT_EQ(x.out.find('\x1b'), x.out.npos) << x.out;
}

TEST(HealthUsage, SaysThatNobodyAnswers) {
  // A port that was free a moment ago.
  httplib::Server probe;
  const auto port = probe.bind_to_any_port("127.0.0.1");
  probe.stop();
  const auto x = run({"127.0.0.1:" + std::to_string(port), "--timeout", "1"});
  EXPECT_EQ(x.code, cli::exit_unavailable);
  EXPECT_NE(x.err.find("does not answer"), x.err.npos) << x.err;
}

TEST(HealthUsage, RefusesWhatIsNoAddressOfAService) {
  EXPECT_EQ(run({"https://localhost:8080"}).code, cli::exit_wrong_usage);
  EXPECT_EQ(run({"http://localhost:8080/readyz"}).code, cli::exit_wrong_usage);
  const std::string config = test::source_dir() + "/configs/ziyu.json";
  const auto x = run({"--config", config, "--set", "http.port=0"});
  EXPECT_EQ(x.code, cli::exit_wrong_usage);
  EXPECT_NE(x.err.find("http.port is 0"), x.err.npos) << x.err;
}

TEST_F(Health, FindsTheServiceOfAConfiguration) {
  const std::string config = test::source_dir() + "/configs/ziyu.json";
  // A service that listens on all addresses is asked at this machine's own address.
  const auto x = run({"--config", config, "--set", "http.host=0.0.0.0", "--set",
                      "http.port=" + std::to_string(port_)});
  EXPECT_EQ(x.code, cli::exit_ok) << x.err;
  EXPECT_TRUE(x.out.starts_with("healthy  http://127.0.0.1:")) << x.out;
}
