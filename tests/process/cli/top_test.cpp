// `ziyu top` as it runs on a terminal and into a pipe.

#include "support/places.hpp"
#include "support/program.hpp"
#include "support/service_answers.hpp"

#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <map>
#include <memory>
#include <thread>

using namespace ziyu::test;

namespace {

/// A service that answers like ziyu; each answer has 100 more finished jobs.
class fake_service {
public:
  /// @param port 0: any.
  explicit fake_service(int port = 0) {
    auto answer = [](auto make) {
      return [make](const httplib::Request&, httplib::Response& res) {
        res.set_content(make().dump(), "application/json");
      };
    };
    server_.Get("/health", answer(healthy_answer));
    server_.Get("/workers", answer(workers_answer));
    server_.Get("/ledger", answer([this] { return ledger_answer(done_ += 100); }));
    port_ = port == 0 ? server_.bind_to_any_port("127.0.0.1") : port;
    const auto bound = port == 0 || server_.bind_to_port("127.0.0.1", port);
    EXPECT_TRUE(bound);
    thread_ = std::thread{[this] { server_.listen_after_bind(); }};
    while (!server_.is_running())
      std::this_thread::yield();
  }

  ~fake_service() {
    server_.stop();
    thread_.join();
  }

  int port() const { return port_; }
  std::string url() const { return "127.0.0.1:" + std::to_string(port_); }

private:
  httplib::Server server_;
  std::thread thread_;
  std::atomic<uint64_t> done_ = 0;
  int port_ = 0;
};

std::vector<std::string> top(const std::string& url) {
  return {program_dir() + "/ziyu", "top", url, "--interval", "0.1"};
}

const std::map<std::string, std::string> environment{
  {"ZIYU_CONFIG", ""}, {"NO_COLOR", ""}, {"TERM", "xterm"}};

} // namespace

TEST(Top, DrawsOnATerminalUntilQIsPressed) {
  fake_service service;
  program x{top(service.url()), program::output::terminal, environment};
  ASSERT_TRUE(x.wait_for("/s  ")) << "the second reading has a rate: " << x.out();
  x.type("q");
  EXPECT_EQ(x.finish(), 0);
  EXPECT_NE(x.out().find("\x1b[?1049h"), std::string::npos);
  const auto left = x.out().find("\x1b[?1049l");
  ASSERT_NE(left, std::string::npos) << "the terminal is as it was";
  EXPECT_NE(x.out().find("fork server", left), std::string::npos) << "the last view stays";
}

TEST(Top, EndsByASignalAndGivesTheTerminalBack) {
  fake_service service;
  program x{top(service.url()), program::output::terminal, environment};
  ASSERT_TRUE(x.wait_for("fork server")) << x.out();
  x.signal(SIGINT);
  EXPECT_EQ(x.finish(), 0);
  EXPECT_NE(x.out().find("\x1b[?1049l"), std::string::npos);
}

TEST(Top, FollowsTheSizeOfTheTerminal) {
  fake_service service;
  program x{top(service.url()), program::output::terminal, environment};
  ASSERT_TRUE(x.wait_for("fork server")) << x.out();
  EXPECT_EQ(x.out().find("FORECAST"), std::string::npos);
  x.resize(40, 160);
  EXPECT_TRUE(x.wait_for("FORECAST")) << x.out();
}

TEST(Top, PrintsBlocksIntoAPipeUntilItsReaderHasSeenEnough) {
  fake_service service;
  program x{top(service.url()), program::output::pipes, environment};
  ASSERT_TRUE(x.wait_for("\n\nZiyu 自愈")) << "a second block: " << x.out();
  EXPECT_EQ(x.out().find('\x1b'), std::string::npos);
  x.close_standard_output();
  EXPECT_EQ(x.finish(), 0);
}

TEST(Top, AsksAgainUntilTheServiceIsBack) {
  auto service = std::make_unique<fake_service>();
  const auto port = service->port();
  program x{top(service->url()), program::output::pipes, environment};
  ASSERT_TRUE(x.wait_for("fork server")) << x.err();
  service.reset();
  ASSERT_TRUE(x.wait_for("does not answer")) << x.out();
  EXPECT_NE(x.err().find("; the next try is in "), std::string::npos) << x.err();
  const auto before = x.out().size();
  service = std::make_unique<fake_service>(port);
  ASSERT_TRUE(x.wait_for_after(before, "fork server")) << x.err();
  x.signal(SIGTERM);
  EXPECT_EQ(x.finish(), 0);
}
