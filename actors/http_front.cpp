#include "actors/http_front.hpp"

#include "wire/socket.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ziyu::actors {

namespace {

using clock = std::chrono::steady_clock;
using wire::unique_fd;
using namespace std::chrono_literals;

/// How long a refused client may go on sending before its connection ends. Otherwise a client that
/// is still sending would lose the answer to a connection reset.
constexpr auto linger_limit = 1s;
constexpr size_t linger_bytes = 16u << 20;

constexpr auto stop_limit = 500ms;

/// The pause when there is no descriptor for another connection.
constexpr auto accept_pause = 100ms;

constexpr size_t read_size = 16 * 1024;

/// Reads per turn, so that one fast client leaves time for the others.
constexpr int reads_per_turn = 8;

const char* phrase_of(int status) {
  switch (status) {
  case 200: return "OK";
  case 400: return "Bad Request";
  case 403: return "Forbidden";
  case 404: return "Not Found";
  case 405: return "Method Not Allowed";
  case 408: return "Request Timeout";
  case 411: return "Length Required";
  case 413: return "Content Too Large";
  case 414: return "URI Too Long";
  case 431: return "Request Header Fields Too Large";
  case 501: return "Not Implemented";
  case 503: return "Service Unavailable";
  case 505: return "HTTP Version Not Supported";
  default: return "Error";
  }
}

std::string encode(const http_reply& x, bool with_body) {
  auto result = "HTTP/1.1 " + std::to_string(x.status) + " " + phrase_of(x.status)
                + "\r\nContent-Type: " + x.type
                + "\r\nContent-Length: " + std::to_string(x.body.size())
                + "\r\nCache-Control: no-store\r\nConnection: close\r\n";
  if (!x.allow.empty())
    result += "Allow: " + x.allow + "\r\n";
  result += "\r\n";
  return with_body ? result + x.body : result;
}

http_reply refusal(int status, const std::string& reason) {
  // The reasons are our own texts: nothing in them needs escaping.
  return {status, R"({"status":"error","error":")" + reason + "\"}\n"};
}

std::string address_of(const sockaddr_storage& x, socklen_t size) {
  char text[NI_MAXHOST] = "";
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&x), size, text, sizeof text, nullptr, 0,
                    NI_NUMERICHOST)
      != 0)
    return "an unknown address";
  return text;
}

tl::unexpected<error> cannot_listen(errc code, const std::string& host, uint16_t port,
                                    const std::string& why) {
  const auto advice = code == errc::invalid_config
                        ? "; http.host must be an address of this machine (0.0.0.0: all of them), "
                          "and http.port one that this user may take"
                        : "; choose another with --set http.port=N (0: any free one)";
  return fail(code, "cannot listen on http.host:port " + host + ":" + std::to_string(port) + ": "
                      + why + advice);
}

/// Whether another try, with the same configuration, may succeed.
bool may_pass(int reason) {
  return reason == EADDRINUSE || reason == EMFILE || reason == ENFILE || reason == ENOBUFS
         || reason == ENOMEM;
}

expected<unique_fd> listen_on(const std::string& host, uint16_t port) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const auto status = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted,
                                        &found);
      status != 0) {
    const auto passing = status == EAI_AGAIN || status == EAI_MEMORY || status == EAI_SYSTEM;
    return cannot_listen(passing ? errc::io : errc::invalid_config, host, port,
                         ::gai_strerror(status));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner{found, &::freeaddrinfo};
  auto reason = ENOENT;
  for (auto i = found; i != nullptr; i = i->ai_next) {
    unique_fd fd{::socket(i->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    const int yes = 1;
    if (fd) // not SO_REUSEPORT: a port that is taken must be an error
      ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (fd && ::bind(fd.get(), i->ai_addr, i->ai_addrlen) == 0
        && ::listen(fd.get(), SOMAXCONN) == 0)
      return fd;
    // A name may stand for several addresses: a taken port must not look like a wrong address.
    if (const auto now = errno; !may_pass(reason))
      reason = now;
  }
  return cannot_listen(may_pass(reason) ? errc::io : errc::invalid_config, host, port,
                       std::strerror(reason));
}

uint16_t port_of(int fd) {
  sockaddr_storage x{};
  socklen_t size = sizeof x;
  char port[NI_MAXSERV] = "0";
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&x), &size) != 0
      || ::getnameinfo(reinterpret_cast<const sockaddr*>(&x), size, nullptr, 0, port, sizeof port,
                       NI_NUMERICSERV)
           != 0)
    return 0;
  return static_cast<uint16_t>(std::atoi(port));
}

} // namespace

class http_front::loop {
public:
  loop(settings x, gatekeeper gate, receiver receive, unique_fd listener, unique_fd bell)
    : settings_(std::move(x)), gate_(std::move(gate)), receive_(std::move(receive)),
      listener_(std::move(listener)), bell_(std::move(bell)), port_(port_of(listener_.get())),
      thread_([this] { run(); }) {
    // nop
  }

  ~loop() { stop(); }

  uint16_t port() const { return port_; }

  void reply(uint64_t id, http_reply x) {
    {
      std::lock_guard guard{mutex_};
      replies_.emplace_back(id, std::move(x));
    }
    ring();
  }

  void stop() {
    stopping_ = true;
    ring();
    if (thread_.joinable())
      thread_.join();
  }

private:
  enum class phase : uint8_t { reading, answering, writing, lingering };

  struct connection {
    unique_fd fd;
    phase at = phase::reading;
    clock::time_point deadline, since; ///< Deadline of this phase; time of accept.
    http_request_reader reader;
    std::string from, out;
    size_t sent = 0, discarded = 0;
    bool interim = false;    ///< `out` is "100 Continue".
    bool with_body = true;   ///< Not for HEAD.
    bool peer_ended = false; ///< The client sends no more.
  };
  using connections = std::map<uint64_t, connection>;

  void ring() const {
    const uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(bell_.get(), &one, sizeof one);
  }

  void run() {
    while (!over()) {
      std::vector<pollfd> entries{{bell_.get(), POLLIN, 0}};
      std::vector<uint64_t> ids{0};
      const auto accepts = !stopping_ && clock::now() >= accept_again_ && has_room();
      entries.push_back({accepts ? listener_.get() : -1, POLLIN, 0});
      ids.push_back(0);
      for (const auto& [id, x] : all_) {
        const auto out = x.at == phase::writing || x.interim;
        const auto in = (x.at == phase::reading || x.at == phase::lingering) && !x.peer_ended;
        entries.push_back(
          {x.fd.get(), static_cast<short>((out ? POLLOUT : 0) | (in ? POLLIN : 0)), 0});
        ids.push_back(id);
      }
      ::poll(entries.data(), entries.size(), wait_ms());
      uint64_t count = 0;
      while (::read(bell_.get(), &count, sizeof count) > 0) {
        // emptied
      }
      take_replies();
      for (size_t i = 2; i < entries.size(); ++i)
        if (entries[i].revents != 0)
          if (auto x = all_.find(ids[i]); x != all_.end())
            serve(x, entries[i].revents);
      expire();
      if (entries[1].revents != 0)
        accept_some();
    }
    all_.clear();
  }

  /// Stopped, and no answer is being written any more or its time is over.
  bool over() {
    if (!stopping_)
      return false;
    const auto now = clock::now();
    if (stop_by_ == clock::time_point{}) {
      stop_by_ = now + stop_limit;
      listener_.reset();
      std::erase_if(all_, [](const auto& x) {
        return x.second.at == phase::reading || x.second.at == phase::lingering;
      });
    }
    return now >= stop_by_ || std::none_of(all_.begin(), all_.end(), [](const auto& x) {
             return x.second.at != phase::lingering;
           });
  }

  int wait_ms() const {
    auto until = clock::now() + 60s;
    if (stopping_)
      until = std::min(until, stop_by_);
    if (accept_again_ > clock::now())
      until = std::min(until, accept_again_);
    for (const auto& [id, x] : all_)
      until = std::min(until, x.deadline);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now());
    return static_cast<int>(std::max<int64_t>(left.count(), 0));
  }

  // -- connections come and go ----------------------------------------------------------

  /// The connection that has waited longest for its client.
  connections::iterator slowest() {
    auto result = all_.end();
    for (auto i = all_.begin(); i != all_.end(); ++i)
      if (i->second.at != phase::answering
          && (result == all_.end() || i->second.since < result->second.since))
        result = i;
    return result;
  }

  bool has_room() { return all_.size() < settings_.connections || slowest() != all_.end(); }

  void accept_some() {
    constexpr auto per_turn = 16;
    for (auto i = 0; i < per_turn && has_room(); ++i) {
      sockaddr_storage from{};
      socklen_t size = sizeof from;
      unique_fd fd{::accept4(listener_.get(), reinterpret_cast<sockaddr*>(&from), &size,
                             SOCK_CLOEXEC | SOCK_NONBLOCK)};
      if (!fd) {
        const auto none_left = errno == EMFILE || errno == ENFILE || errno == ENOBUFS
                               || errno == ENOMEM;
        if (none_left) {
          accept_again_ = clock::now() + accept_pause;
          if (auto x = slowest(); x != all_.end())
            all_.erase(x);
        }
        return;
      }
      if (all_.size() >= settings_.connections)
        all_.erase(slowest());
      connection x;
      x.fd = std::move(fd);
      x.since = clock::now();
      x.deadline = x.since + settings_.request_limit;
      x.reader = http_request_reader{settings_.limits};
      x.from = address_of(from, size);
      all_.emplace(next_id_++, std::move(x));
    }
  }

  void expire() {
    const auto now = clock::now();
    for (auto i = all_.begin(); i != all_.end();) {
      auto x = i++;
      if (now < x->second.deadline)
        continue;
      if (x->second.at == phase::reading)
        answer(x, refusal(408, "the request did not arrive in time"));
      else if (x->second.at == phase::answering)
        answer(x, refusal(503, "no answer was ready in time"));
      else
        all_.erase(x);
    }
  }

  // -- one connection's turn --------------------------------------------------------------

  void serve(connections::iterator i, short events) {
    auto& x = i->second;
    const auto id = i->first;
    if ((events & (POLLERR | POLLNVAL)) != 0 || (x.at == phase::answering && events & POLLHUP)) {
      all_.erase(i);
      return;
    }
    if ((events & POLLOUT) != 0 || x.at == phase::writing)
      write(i);
    if (auto again = all_.find(id); again != all_.end() && (events & (POLLIN | POLLHUP)) != 0)
      read(again);
  }

  void read(connections::iterator i) {
    auto& x = i->second;
    char buffer[read_size];
    for (auto turn = 0; turn < reads_per_turn; ++turn) {
      if (x.at != phase::reading && x.at != phase::lingering)
        return;
      const auto n = ::recv(x.fd.get(), buffer, sizeof buffer, 0);
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return;
      if (n < 0) {
        all_.erase(i);
        return;
      }
      x.peer_ended = n == 0;
      if (x.at == phase::lingering) {
        x.discarded += static_cast<size_t>(n);
        if (n == 0 || x.discarded > linger_bytes) {
          all_.erase(i);
          return;
        }
      } else if (n == 0) {
        answer(i, refusal(400, "the connection ended before the request was complete"));
        return;
      } else if (!advance(i, {buffer, static_cast<size_t>(n)})) {
        return;
      }
    }
  }

  /// False when the connection is not read any more, or gone.
  bool advance(connections::iterator i, std::string_view bytes) {
    auto& x = i->second;
    using step = http_request_reader::step;
    auto next = x.reader.feed(bytes);
    if (next == step::head) {
      auto& request = x.reader.request();
      request.from = x.from;
      x.with_body = request.method != "HEAD";
      if (auto refused = gate_(request)) {
        answer(i, *refused);
        return false;
      }
      const auto expect = request.header("expect");
      next = x.reader.feed({});
      if (next == step::more && expect != nullptr && !request.http_1_0) {
        x.out = "HTTP/1.1 100 Continue\r\n\r\n";
        x.interim = true;
      }
    }
    if (next == step::failed) {
      answer(i, refusal(x.reader.status(), x.reader.reason()));
      return false;
    }
    if (next == step::more)
      return true;
    x.at = phase::answering;
    x.deadline = clock::now() + settings_.answer_limit;
    receive_(i->first, std::move(x.reader.request()));
    return false;
  }

  void answer(connections::iterator i, const http_reply& reply) {
    auto& x = i->second;
    // What is left of "100 Continue" comes first.
    x.out = x.out.substr(std::min(x.sent, x.out.size())) + encode(reply, x.with_body);
    x.sent = 0;
    x.interim = false;
    x.at = phase::writing;
    x.deadline = clock::now() + settings_.write_limit;
    write(i);
  }

  void write(connections::iterator i) {
    auto& x = i->second;
    while (x.sent < x.out.size()) {
      const auto n = ::send(x.fd.get(), x.out.data() + x.sent, x.out.size() - x.sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return;
      if (n < 0) {
        all_.erase(i);
        return;
      }
      x.sent += static_cast<size_t>(n);
    }
    x.out = {};
    x.sent = 0;
    if (std::exchange(x.interim, false) || x.at != phase::writing)
      return;
    ::shutdown(x.fd.get(), SHUT_WR);
    x.at = phase::lingering;
    x.deadline = clock::now() + linger_limit;
    if (x.peer_ended)
      all_.erase(i);
  }

  void take_replies() {
    std::vector<std::pair<uint64_t, http_reply>> replies;
    {
      std::lock_guard guard{mutex_};
      replies.swap(replies_);
    }
    for (const auto& [id, reply] : replies)
      if (auto i = all_.find(id); i != all_.end() && i->second.at == phase::answering)
        answer(i, reply);
  }

  const settings settings_;
  gatekeeper gate_;
  receiver receive_;
  unique_fd listener_, bell_;
  const uint16_t port_;
  connections all_;
  uint64_t next_id_ = 1;
  clock::time_point accept_again_{}, stop_by_{};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_; ///< Guards `replies_`.
  std::vector<std::pair<uint64_t, http_reply>> replies_;
  std::thread thread_; ///< Uses all of the above.
};

http_front::http_front() = default;
http_front::~http_front() = default;

expected<std::unique_ptr<http_front>> http_front::start(settings x, gatekeeper gate,
                                                        receiver receive) {
  auto listener = listen_on(x.host, x.port);
  if (!listener)
    return tl::unexpected(listener.error());
  unique_fd bell{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!bell)
    return fail(errc::io, std::string{"eventfd: "} + std::strerror(errno));
  std::unique_ptr<http_front> result{new http_front};
  result->loop_ = std::make_unique<loop>(std::move(x), std::move(gate), std::move(receive),
                                         std::move(*listener), std::move(bell));
  return result;
}

expected<void> http_front::try_listen(const std::string& host, uint16_t port) {
  auto listener = listen_on(host, port);
  return listener ? expected<void>{} : tl::unexpected(std::move(listener.error()));
}

uint16_t http_front::port() const { return loop_->port(); }

void http_front::reply(uint64_t id, http_reply x) { loop_->reply(id, std::move(x)); }

void http_front::stop() { loop_->stop(); }

} // namespace ziyu::actors
