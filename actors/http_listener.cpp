#include "actors/http_listener.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <netdb.h>

namespace ziyu::actors {

namespace {

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

} // namespace

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

std::string address_of(const sockaddr_storage& x, socklen_t size) {
  char text[NI_MAXHOST] = "";
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&x), size, text, sizeof text, nullptr, 0,
                    NI_NUMERICHOST)
      != 0)
    return "an unknown address";
  return text;
}

} // namespace ziyu::actors
