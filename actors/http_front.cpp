#include "actors/http_front.hpp"

#include "actors/http_connection.hpp"
#include "actors/http_listener.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ziyu::actors {

namespace {

using clock = std::chrono::steady_clock;
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
  using phase = http_connection::phase;
  using connections = std::map<uint64_t, http_connection>;

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
        entries.push_back({x.fd.get(), x.wanted_events(), 0});
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
      http_connection x;
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
        answer(x, http_refusal(408, "the request did not arrive in time"));
      else if (x->second.at == phase::answering)
        answer(x, http_refusal(503, "no answer was ready in time"));
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
        answer(i, http_refusal(400, "the connection ended before the request was complete"));
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
        x.ask_to_go_on();
      }
    }
    if (next == step::failed) {
      answer(i, http_refusal(x.reader.status(), x.reader.reason()));
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
    i->second.answer(reply, clock::now() + settings_.write_limit);
    write(i);
  }

  void write(connections::iterator i) {
    auto& x = i->second;
    const auto how = x.flush();
    if (how == http_connection::flushed::gone)
      all_.erase(i);
    if (how != http_connection::flushed::all || std::exchange(x.interim, false)
        || x.at != phase::writing)
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
