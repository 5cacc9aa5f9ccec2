// The HTTP server against clients that are slow, large, wrong or rude, over real sockets.

#include "actors/http.hpp"

#include "base/descriptor.hpp"
#include "tests/support/fake_actors.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scoped_actor.hpp>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ziyu::actors {

namespace {

using namespace ziyu::test;
using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

/// Far above what anything here takes when it works, and below what it took when it hung.
constexpr auto patience = 60s;

struct one_thread : caf::actor_system_config {
  one_thread() { set("scheduler.max-threads", size_t{1}); }
};

uint64_t resident_bytes() {
  std::ifstream in{"/proc/self/statm"};
  uint64_t pages = 0, resident = 0;
  in >> pages >> resident;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

/// More than the sockets of a connection take that nobody reads from: the largest send buffer
/// (tcp(7), tcp_wmem), twice, as a `client` receives little in advance.
size_t more_than_sockets_take() {
  std::ifstream in{"/proc/sys/net/ipv4/tcp_wmem"};
  size_t least = 0, usual = 0, most = 4 << 20;
  in >> least >> usual >> most;
  return 2 * most;
}

/// A plain connection.
class client {
public:
  explicit client(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const auto in_advance = 64 << 10;
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &in_advance, sizeof in_advance);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  }

  bool connected() const { return connected_; }

  /// Writes as much as the server takes; false when it takes no more.
  bool send(std::string_view bytes) const {
    while (!bytes.empty()) {
      pollfd entry{fd_.get(), POLLOUT, 0};
      if (::poll(&entry, 1, 10'000) <= 0)
        return false;
      const auto n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n <= 0)
        return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }

  void half_close() const { ::shutdown(fd_.get(), SHUT_WR); }

  /// Everything that comes until the server ends the connection.
  std::string receive(clock::duration limit = patience) const {
    std::string all;
    const auto until = clock::now() + limit;
    for (char buffer[4096];;) {
      pollfd entry{fd_.get(), POLLIN, 0};
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now());
      if (left <= 0ms || ::poll(&entry, 1, static_cast<int>(left.count())) <= 0)
        return all + " (and no end)";
      const auto n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (n <= 0)
        return all;
      all.append(buffer, static_cast<size_t>(n));
    }
  }

  /// Everything up to the first empty line.
  std::string receive_head() const {
    std::string head;
    for (char c = 0; !head.ends_with("\r\n\r\n") && ends_in(patience) && take(c);)
      head += c;
    return head;
  }

  /// Whether the server has answered or ended the connection.
  bool was_answered() const { return ends_in(0ms); }

  static int status_in(const std::string& answer) {
    return answer.starts_with("HTTP/1.1 ") ? std::atoi(answer.c_str() + 9) : 0;
  }
  int status() const { return status_in(receive()); }

private:
  bool ends_in(std::chrono::milliseconds limit) const {
    pollfd entry{fd_.get(), POLLIN, 0};
    return ::poll(&entry, 1, static_cast<int>(limit.count())) > 0;
  }
  bool take(char& c) const { return ::recv(fd_.get(), &c, 1, 0) == 1; }

  unique_fd fd_;
  bool connected_ = false;
};

class HttpBounds : public ::testing::Test {
protected:
  /// `GET /ledger` answers more than sockets take.
  void fill_ledger() {
    auto& row = to_dispatcher->status.ledger.partitions.emplace_back();
    row.now.emplace().map_ignored = std::string(more_than_sockets_take(), 'x');
  }

  HttpBounds() {
    to_dispatcher->status.consuming = true;
    to_dispatcher->status.slots_up = 1;
    to_supervisor->status.model_ready = true;
    http_settings x;
    x.dispatcher = dispatcher_ = sys.spawn(fake_dispatcher, to_dispatcher);
    x.supervisor = supervisor_ = sys.spawn(fake_supervisor, to_supervisor);
    x.stats = std::make_shared<metrics>();
    server = std::move(http_server::start(sys, std::move(x)).value());
  }

  ~HttpBounds() override {
    server.reset();
    caf::scoped_actor self{sys};
    self->send_exit(dispatcher_, caf::exit_reason::kill);
    self->send_exit(supervisor_, caf::exit_reason::kill);
    self->wait_for(dispatcher_, supervisor_);
    to_dispatcher->unanswered.clear();
    to_supervisor->unanswered.clear();
  }

  std::string ask(const std::string& text) const {
    const client x{server->port()};
    x.send(text);
    return x.receive();
  }
  int status_of(const std::string& text) const { return client::status_in(ask(text)); }
  int probe() const { return status_of("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); }

  std::shared_ptr<dispatcher_log> to_dispatcher = std::make_shared<dispatcher_log>();
  std::shared_ptr<supervisor_log> to_supervisor = std::make_shared<supervisor_log>();
  one_thread cfg;
  caf::actor_system sys{cfg};
  std::unique_ptr<http_server> server;

private:
  dispatcher_actor dispatcher_;
  supervisor_actor supervisor_;
};

} // namespace

TEST_F(HttpBounds, ReadsNoBodyOfAClientThatMayNotAsk) {
  const auto before = resident_bytes();
  const std::string megabyte(1 << 20, 'x');
  std::vector<std::thread> clients;
  std::atomic<int> refused{0};
  for (auto i = 0; i < 3; ++i)
    clients.emplace_back([&, i] {
      const client x{server->port()};
      x.send("POST /breaker HTTP/1.1\r\nHost: x\r\nContent-Length: 314572800\r\n"
             + std::string{i == 0 ? "Origin: http://evil\r\n" : ""} + "\r\n");
      // Like a rude client: writes on and on without reading the answer.
      for (auto sent = 0; sent < 300 && x.send(megabyte); ++sent) {
      }
      const auto status = x.status(); // 0: the answer was lost to a reset
      refused += status == 0 || status == (i == 0 ? 403 : 413);
    });
  for (auto& x : clients)
    x.join();
  EXPECT_EQ(refused, 3);
  EXPECT_LT(resident_bytes(), before + (64u << 20));
  EXPECT_TRUE(to_dispatcher->commands.empty());
  EXPECT_EQ(probe(), 200);
}

TEST_F(HttpBounds, TellsTheReasonToAClientThatWaitsForIt) {
  const std::string begin = "POST /breaker HTTP/1.1\r\nHost: x\r\nContent-Length: ";
  EXPECT_EQ(status_of(begin + "314572800\r\nOrigin: http://evil\r\n\r\n"), 403);
  EXPECT_EQ(status_of(begin + "314572800\r\nExpect: 100-continue\r\n\r\n"), 413);
  EXPECT_EQ(status_of("POST /breaker HTTP/1.1\r\nHost: x\r\n\r\n"), 411);
  EXPECT_EQ(status_of("GET /" + std::string(100'000, 'a')), 414);
  EXPECT_EQ(status_of("GET /livez HTTP/1.1\r\nA: " + std::string(1 << 20, 'a')), 431);
  std::string many = "GET /livez HTTP/1.1\r\nHost: x\r\n";
  for (auto i = 0; i < 100'000; ++i)
    many += "A: b\r\n";
  EXPECT_EQ(status_of(many + "\r\n"), 431);
}

TEST_F(HttpBounds, GoesOnWithABodyThatIsExpected) {
  const client x{server->port()};
  x.send("POST /breaker HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(x.receive_head(), "HTTP/1.1 100 Continue\r\n\r\n");
  x.send(R"({"mode": "open"})");
  EXPECT_EQ(x.status(), 200);
  ASSERT_EQ(to_dispatcher->commands.size(), 1u);
}

TEST_F(HttpBounds, RefusesMethodsThatAPathDoesNotHave) {
  for (const auto* path : {"/health", "/livez", "/readyz", "/metrics", "/workers", "/ledger"}) {
    const auto answer = ask("POST " + std::string{path}
                            + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    EXPECT_EQ(client::status_in(answer), 405) << path;
    EXPECT_NE(answer.find("\r\nAllow: GET, HEAD\r\n"), std::string::npos) << answer;
  }
  const auto answer = ask("DELETE /breaker HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client::status_in(answer), 405);
  EXPECT_NE(answer.find("\r\nAllow: GET, HEAD, POST\r\n"), std::string::npos) << answer;
  EXPECT_EQ(status_of("POST /nothing HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
  const auto head = ask("HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client::status_in(head), 200);
  EXPECT_TRUE(head.ends_with("\r\n\r\n")) << "without a body: " << head;
}

TEST_F(HttpBounds, SlowClientsDelayNoProbe) {
  std::vector<std::unique_ptr<client>> slow;
  for (auto i = 0; i < 20; ++i)
    slow.push_back(std::make_unique<client>(server->port()));
  // Sends a byte from time to time until the time for a request is over; probes are asked
  // meanwhile.
  const std::string request = "GET /livez HTTP/1.1\r\nHost: " + std::string(1'000, 'a');
  auto probes = 0;
  const auto all_answered = [&slow] {
    return std::all_of(slow.begin(), slow.end(), [](const auto& x) { return x->was_answered(); });
  };
  const auto none_answered = [&slow] {
    return std::none_of(slow.begin(), slow.end(), [](const auto& x) { return x->was_answered(); });
  };
  const auto until = clock::now() + patience;
  for (size_t i = 0; !all_answered() && clock::now() < until; ++i) {
    for (const auto& x : slow)
      x->send(request.substr(i % request.size(), 1));
    ASSERT_EQ(probe(), 200);
    probes += none_answered();
    ::poll(nullptr, 0, 50);
  }
  EXPECT_GE(probes, 1) << "answered while all of the slow ones were still at it";
  for (const auto& x : slow) {
    const auto answer = x->receive();
    EXPECT_TRUE(answer.empty() || client::status_in(answer) == 408) << answer;
  }
}

TEST_F(HttpBounds, ManyConnectionsThatSayNothingDelayNoProbe) {
  std::vector<std::unique_ptr<client>> silent;
  for (auto i = 0; i < 300; ++i) {
    silent.push_back(std::make_unique<client>(server->port()));
    if (i % 50 == 49) {
      ASSERT_EQ(probe(), 200) << i;
    }
  }
  EXPECT_EQ(probe(), 200);
}

TEST_F(HttpBounds, AClientThatDoesNotReadItsAnswerDelaysNobody) {
  fill_ledger();
  const client x{server->port()};
  ASSERT_TRUE(x.send("GET /ledger HTTP/1.1\r\nHost: x\r\n\r\n"));
  for (auto i = 0; i < 20; ++i)
    ASSERT_EQ(status_of("GET /workers HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
  EXPECT_GT(x.receive().size(), more_than_sockets_take());
}

TEST_F(HttpBounds, AnswersAHalfClosedClientAndIgnoresPipelinedJunk) {
  const client x{server->port()};
  x.send("GET /livez HTTP/1.0\r\n\r\n");
  x.half_close();
  EXPECT_EQ(x.status(), 200);
  const auto all = ask("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n\x01\x02GET /junk HTTP/9\r\n\r\n"
                       + std::string(100'000, 'x'));
  EXPECT_TRUE(all.empty() || client::status_in(all) == 200) << all.substr(0, 200);
  EXPECT_EQ(all.find("HTTP/1.1", 1), std::string::npos) << "one answer only";
  const client y{server->port()};
  y.send("GET /live");
  y.half_close();
  EXPECT_EQ(y.status(), 400);
}

TEST_F(HttpBounds, ProbesAreAnsweredWhileOthersWaitForAnActorThatHangs) {
  to_dispatcher->silent = true;
  std::vector<std::unique_ptr<client>> others;
  for (auto i = 0; i < 20; ++i) {
    others.push_back(std::make_unique<client>(server->port()));
    others.back()->send("GET /ledger HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  // One round of questions serves all requests that are waiting.
  std::vector<std::unique_ptr<client>> probes;
  for (auto i = 0; i < 20; ++i) {
    probes.push_back(std::make_unique<client>(server->port()));
    probes.back()->send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  for (const auto& x : probes)
    EXPECT_EQ(x->status(), 503);
  for (const auto& x : others)
    EXPECT_EQ(x->status(), 503);
  EXPECT_LE(to_dispatcher->unanswered.size(), 20u) << "40, were it asked for each";
}

TEST_F(HttpBounds, StopsAtOnceWhateverItsClientsDo) {
  const client silent{server->port()}, slow{server->port()}, deaf{server->port()};
  slow.send("GET /livez HTTP/1.1\r\nHo");
  fill_ledger();
  deaf.send("GET /ledger HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(probe(), 200);
  std::atomic<bool> stopped{false};
  std::thread stopper{[&] {
    server->stop();
    stopped = true;
  }};
  for (const auto until = clock::now() + patience; !stopped && clock::now() < until;)
    slow.send("x"), ::poll(nullptr, 0, 20);
  EXPECT_TRUE(stopped);
  stopper.join();
  EXPECT_FALSE(client{server->port()}.connected());
}

} // namespace ziyu::actors
