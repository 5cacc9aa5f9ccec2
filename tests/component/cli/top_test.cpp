// `ziyu top` against a service that the test simulates.

#include "cli/command.hpp"
#include "support/command_line.hpp"
#include "support/mock_cluster.hpp"
#include "support/service_answers.hpp"

#include <httplib.h>

#include <atomic>
#include <thread>

using namespace ziyu;
using namespace ziyu::test;
using nlohmann::json;

namespace {

outcome run(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "top");
  return run_ziyu(arguments);
}

class Top : public ::testing::Test {
protected:
  Top() {
    for (const auto& [path, body] : {std::pair{"/health", healthy_answer()},
                                     {"/workers", workers_answer()},
                                     {"/ledger", ledger_answer()}}) {
      bodies_[path] = body.dump();
      server_.Get(path, [this](const httplib::Request& req, httplib::Response& res) {
        res.status = status_;
        res.set_content(bodies_.at(req.path), "application/json");
      });
    }
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread{[this] { server_.listen_after_bind(); }};
    while (!server_.is_running())
      std::this_thread::yield();
  }

  ~Top() override {
    server_.stop();
    thread_.join();
  }

  std::string url() const { return "127.0.0.1:" + std::to_string(port_); }

  httplib::Server server_;
  std::thread thread_;
  std::map<std::string, std::string> bodies_;
  int port_ = 0, status_ = 200;
};

} // namespace

TEST_F(Top, OncePrintsTheServiceAndItsWorkers) {
  const auto x = run({url(), "--once"});
  EXPECT_EQ(x.code, cli::exit_ok) << x.err;
  for (const auto* part :
       {"Ziyu 自愈  http://127.0.0.1:", "breaker  closed", "\n0.3        4711 serving",
        "\n1.1        4710 serving", "9 jobs left (≥8)", "\nfork server   2952"})
    EXPECT_NE(x.out.find(part), std::string::npos) << part << " in\n" << x.out;
  EXPECT_EQ(x.out.find('\x1b'), std::string::npos) << "no terminal";
  EXPECT_EQ(x.out.find("/s  "), std::string::npos) << "no rate of one reading";
}

TEST_F(Top, OncePrintsWhatTheServiceSaysWithJson) {
  const auto x = run({url(), "--once", "--json"});
  EXPECT_EQ(x.code, cli::exit_ok) << x.err;
  EXPECT_EQ(std::count(x.out.begin(), x.out.end(), '\n'), 1);
  const auto document = json::parse(x.out);
  EXPECT_EQ(document["workers"], workers_answer());
  EXPECT_EQ(document["ledger"], ledger_answer());
  EXPECT_EQ(document["health"], healthy_answer());
  EXPECT_TRUE(document["jobs_per_second"].is_null());
}

TEST_F(Top, SaysWhyTheServiceCannotTell) {
  status_ = 503;
  bodies_["/health"] = R"({"status":"error","error":"the dispatcher does not answer"})";
  const auto x = run({url(), "--once"});
  EXPECT_EQ(x.code, cli::exit_unavailable);
  EXPECT_NE(x.err.find("HTTP 503: the dispatcher does not answer"), std::string::npos) << x.err;
}

TEST_F(Top, DoesNotTakeAnotherServerForZiyu) {
  bodies_["/workers"] = "<html>hello</html>";
  const auto x = run({url(), "--once"});
  EXPECT_EQ(x.code, cli::exit_failed);
  EXPECT_NE(x.err.find("does not answer as ziyu does"), std::string::npos) << x.err;
}

TEST(TopUsage, SaysThatNobodyAnswers) {
  closed_port nobody;
  const auto x = run({nobody.bootstrap(), "--once"});
  EXPECT_EQ(x.code, cli::exit_unavailable);
  EXPECT_NE(x.err.find("does not answer"), std::string::npos) << x.err;
  EXPECT_EQ(x.out, "");
}
