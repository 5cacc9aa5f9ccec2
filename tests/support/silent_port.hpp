#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ziyu::test {

/// A TCP port of 127.0.0.1 that is taken. A client is refused, or, with `listening`, never
/// answered.
class silent_port {
public:
  explicit silent_port(bool listening) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) != 0
        || ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0
        || (listening && ::listen(fd_, 8) != 0))
      std::abort();
    number_ = ntohs(address.sin_port);
  }
  ~silent_port() {
    ::close(fd_);
    for (const auto x : clients_)
      ::close(x);
  }
  silent_port(const silent_port&) = delete;
  silent_port& operator=(const silent_port&) = delete;

  std::string number() const { return std::to_string(number_); }
  std::string address() const { return "127.0.0.1:" + number(); }

  /// Waits for a client and takes it, so that the next one can be told from it.
  bool accept() {
    if (!wait_for_connection())
      return false;
    clients_.push_back(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC));
    return true;
  }

  bool wait_for_connection() {
    pollfd entry{fd_, POLLIN, 0};
    return ::poll(&entry, 1, 60'000) == 1;
  }

private:
  int fd_;
  std::vector<int> clients_;
  uint16_t number_ = 0;
};

} // namespace ziyu::test
