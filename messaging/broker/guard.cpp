#include "messaging/broker/guard.hpp"

#include "supervision/process.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace ziyu::broker {

namespace {

constexpr auto grace = std::chrono::seconds{10};

} // namespace

int run_guard(int watched_fd, const std::vector<std::string>& command) {
  sigset_t set;
  sigemptyset(&set);
  for (auto number : {SIGCHLD, SIGTERM, SIGINT})
    sigaddset(&set, number);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  unique_fd watched{watched_fd};
  unique_fd signals{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
  supervision::child_specification spec;
  spec.arguments = command;
  auto child = supervision::child_process::start(spec);
  if (!child) {
    std::fprintf(stderr, "ziyu: %s\n", child.error().message.c_str());
    return 127;
  }
  for (;;) {
    pollfd entries[] = {{watched.get(), POLLIN, 0}, {signals.get(), POLLIN, 0}};
    if (::poll(entries, 2, -1) < 0 && errno != EINTR)
      break;
    signalfd_siginfo info;
    while (::read(signals.get(), &info, sizeof info) == sizeof info)
      if (info.ssi_signo != SIGCHLD)
        child->signal(static_cast<int>(info.ssi_signo));
    if (auto how = child->wait(std::chrono::milliseconds{0}))
      return how->signal != 0 ? 128 + how->signal : how->exit_code;
    char byte;
    if (entries[0].revents != 0 && ::read(watched.get(), &byte, 1) <= 0)
      break;
  }
  const auto how = child->end(grace);
  return how.signal != 0 ? 128 + how.signal : how.exit_code;
}

} // namespace ziyu::broker
