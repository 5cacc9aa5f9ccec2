// `ziyu serve` as who runs it meets it: its log, its signals, its streams. The broker is a mock
// cluster.

#include "support/mock_kafka.hpp"
#include "support/program.hpp"
#include "support/refused_call.hpp"

#include "base/file.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <sstream>
#include <thread>
#include <utility>

using namespace ziyu;
using namespace ziyu::test;
using nlohmann::json;

namespace {

const std::string binary = test::program_dir() + "/ziyu";
const std::string sources = test::source_dir();

class Serve : public ::testing::Test {
protected:
  void SetUp() override {
    kafka->make_topic("image.jobs", 2);
    for (const auto* name : {"image.results", "image.jobs-dlt", "ziyu.events"})
      kafka->make_topic(name);
  }

  std::vector<std::string> command(const std::vector<std::string>& overrides = {}) const {
    std::vector<std::string> result{binary, "serve", "--config", sources + "/configs/ziyu.json"};
    for (const auto& x :
         {"kafka.bootstrap.servers=" + kafka->bootstrap(), std::string{"http.port=0"},
          std::string{"memory.container_limit_bytes=8GiB"}})
      result.insert(result.end(), {"--set", x});
    for (const auto& x : overrides)
      result.insert(result.end(), {"--set", x});
    return result;
  }

  static messaging::outgoing job(const std::string& id, std::string value,
                                 messaging::header_list headers = {}) {
    messaging::outgoing x;
    x.topic = "image.jobs";
    x.key = id;
    x.value = std::move(value);
    x.headers = std::move(headers);
    return x;
  }

  std::unique_ptr<mock_kafka> kafka = std::make_unique<mock_kafka>();
};

/// The port in the line that `serve` prints when it listens.
int port_of(const program& x) {
  const auto line = json::parse(x.out().substr(0, x.out().find('\n')));
  const auto address = line.at("http").get<std::string>();
  return std::stoi(address.substr(address.rfind(':') + 1));
}

/// A connection to a port of this machine.
class client {
public:
  explicit client(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  client(client&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_) {}
  client(const client&) = delete;
  client& operator=(const client&) = delete;
  client& operator=(client&&) = delete;
  ~client() {
    if (fd_ >= 0)
      ::close(fd_);
  }

  bool connected() const { return connected_; }
  bool send(const std::string& text) const {
    return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  /// What comes until the other side closes, or for so long as a program is waited for.
  std::string receive() const {
    std::string result;
    char block[4096];
    for (pollfd entry{fd_, POLLIN, 0};
         ::poll(&entry, 1, std::chrono::milliseconds{program::limit}.count()) == 1;) {
      const auto n = ::recv(fd_, block, sizeof block, 0);
      if (n <= 0)
        break;
      result.append(block, static_cast<size_t>(n));
    }
    return result;
  }

private:
  int fd_;
  bool connected_ = false;
};

std::string alive(int port) {
  const client x{port};
  x.send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
  return x.receive();
}

} // namespace

TEST_F(Serve, WritesNothingButJsonWithFieldsToAJsonLog) {
  program x{command({"log.format=json", "faults.allowed=true",
                     R"(faults.slots={"0": "native_malloc:6MiB"})",
                     "memory.worker_budget_bytes=48MiB", "memory.worker_hard_limit_bytes=160MiB",
                     "kafka.consumer.auto.commit.interval.ms=500"})};
  ASSERT_TRUE(x.wait_for("worker_started")) << x.err();

  // A leak, a death, images that the decoders complain about, a job that is none.
  const auto digit = read_file(sources + "/tests/data/digits/0_024.png").value();
  std::vector<messaging::outgoing> jobs;
  for (int i = 0; i < 60; ++i)
    jobs.push_back(job("job-" + std::to_string(i), digit));
  jobs.push_back(job("crash\n\"", digit, {{"ziyu-fault", "crash"}}));
  jobs.push_back(job("garbage", digit, {{"ziyu-fault", "garbage"}}));
  for (const auto at : {60u, 100u, 200u}) {
    auto damaged = digit;
    damaged[std::min<size_t>(at, damaged.size() - 1)] ^= 0x55;
    jobs.push_back(job("damaged-" + std::to_string(at), damaged));
  }
  jobs.push_back(job(std::string("\xff\x00\x1b[31m", 7), "{\"image\": \"\xff\"}"));
  kafka->produce(jobs);
  for (const auto* event : {"worker_died", "worker_replaced", "dead_lettered"})
    EXPECT_TRUE(x.wait_for(event)) << event << " in\n" << x.err();
  kafka.reset();
  EXPECT_TRUE(x.wait_for("broker_unavailable")) << x.err();
  x.signal(SIGTERM);
  EXPECT_EQ(x.finish(), 0) << x.err();

  std::istringstream lines{x.err()};
  auto events = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto document = json::parse(line, nullptr, false);
    ASSERT_TRUE(document.is_object()) << line;
    for (const auto* key : {"time", "level", "message"})
      EXPECT_TRUE(document.contains(key) && document[key].is_string()) << key << " in " << line;
    EXPECT_TRUE(document.contains("pid") && document["pid"].is_number()) << line;
    if (document.contains("event")) {
      ++events;
      EXPECT_TRUE(document.contains("detail") && document["detail"].is_object()) << line;
    }
  }
  EXPECT_GT(events, 5) << x.err();
  EXPECT_NE(x.err().find("\"event\":\"service_stopped\""), std::string::npos) << x.err();
}

class ServeStop : public Serve, public testing::WithParamInterface<int> {};

TEST_P(ServeStop, EndsInGoodOrderWhateverClientsHoldItsConnections) {
  program x{command()};
  ASSERT_TRUE(x.wait_for("worker_started")) << x.err();
  const auto port = port_of(x);
  std::vector<client> held;
  const std::vector<std::string> begun{
    "",
    "G",
    "GET /livez HTTP/1.1\r\nHost: x\r\n",
    "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", // never read
    "POST /breaker HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n{",
    "POST /breaker HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\nExpect: 100-continue\r\n\r\n"};
  for (auto round = 0; round < 6; ++round)
    for (const auto& text : begun) {
      held.emplace_back(port);
      ASSERT_TRUE(held.back().connected());
      EXPECT_TRUE(held.back().send(text));
    }
  EXPECT_TRUE(alive(port).starts_with("HTTP/1.1 200")) << "beside " << held.size() << " clients";
  x.signal(GetParam());
  EXPECT_EQ(x.finish(), 0) << x.err();
  EXPECT_NE(x.err().find("service_stopped"), std::string::npos) << x.err();
  EXPECT_NE(x.err().find("\"balanced\":true"), std::string::npos) << x.err();
}

INSTANTIATE_TEST_SUITE_P(By, ServeStop, testing::Values(SIGTERM, SIGINT, SIGHUP),
                         [](const auto& x) { return std::string{"SIG"} + sigabbrev_np(x.param); });

TEST_F(Serve, GoesOnWhenItsTerminalIsClosedBelowNohup) {
  auto arguments = command();
  arguments.insert(arguments.begin(), {"/bin/sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""});
  program x{arguments};
  ASSERT_TRUE(x.wait_for("worker_started")) << x.err();
  x.signal(SIGHUP);
  EXPECT_TRUE(alive(port_of(x)).starts_with("HTTP/1.1 200"));
  x.signal(SIGTERM);
  EXPECT_EQ(x.finish(), 0) << x.err();
  EXPECT_EQ(x.err().find("signal 1:"), std::string::npos) << x.err();
}

TEST_F(Serve, WorksWherePidfdOpenIsRefusedAndSaysSo) {
  std::optional<program> x;
  // The filter is of one thread, and of the processes that it starts.
  std::thread{[&] {
    if (refuse_call(SYS_pidfd_open))
      x.emplace(command());
  }}.join();
  ASSERT_TRUE(x) << "no seccomp";
  EXPECT_TRUE(x->wait_for("pidfd_open is refused")) << x->err();
  ASSERT_TRUE(x->wait_for("worker_started")) << x->err();
  // Workers without a pidfd live, and are not taken for ones that have ended.
  kafka->produce({job("bad", "no image")});
  EXPECT_TRUE(x->wait_for("dead_lettered")) << x->err();
  x->signal(SIGTERM);
  EXPECT_EQ(x->finish(), 0) << x->err();
  EXPECT_EQ(x->err().find("worker_died"), std::string::npos) << x->err();
}

TEST_F(Serve, NeedsNoStandardStreams) {
  for (const auto* streams : {"<&- >&-", "> /dev/full"}) {
    auto arguments = command();
    arguments.insert(arguments.begin(),
                     {"/bin/sh", "-c", "exec \"$0\" \"$@\" " + std::string{streams}});
    program x{arguments};
    ASSERT_TRUE(x.wait_for("worker_started")) << x.err();
    EXPECT_TRUE(x.wait_for("standard output cannot be written")) << x.err();
    x.signal(SIGTERM);
    EXPECT_EQ(x.finish(), 0) << streams << ": " << x.err();
  }
}
