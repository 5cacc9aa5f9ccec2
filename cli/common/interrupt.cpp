#include "cli/common/interrupt.hpp"

#include "base/signal.hpp"

#include <cerrno>
#include <csignal>
#include <initializer_list>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace ziyu::cli {

namespace {

volatile std::sig_atomic_t signalled = 0;
volatile std::sig_atomic_t leave_with = interrupted_exit_code;

void on_interrupts(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  for (const auto number : {SIGINT, SIGTERM, SIGHUP}) {
    if (number != SIGHUP || !is_ignored(number)) // by nohup
      ::sigaction(number, &action, nullptr);
  }
}

} // namespace

void leave_on_interrupts(int exit_code) {
  leave_with = exit_code;
  on_interrupts([](int) { ::_exit(leave_with); });
}

void catch_interrupts() {
  on_interrupts([](int) {
    if (signalled != 0)
      ::_exit(interrupted_exit_code);
    signalled = 1;
  });
}

bool interrupted() { return signalled != 0; }

void survive_closed_output() {
  struct sigaction action {};
  action.sa_handler = SIG_IGN;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGPIPE, &action, nullptr);
}

bool output_closed() {
  // A pipe without a reader reports an error even before anything is written to it.
  pollfd entry{STDOUT_FILENO, 0, 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLERR | POLLNVAL)) != 0;
}

void open_standard_streams() {
  // The lowest free descriptor is the closed one. Children inherit it, as they need it as well.
  for (const auto fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF)
      ::open("/dev/null", O_RDONLY);
}

} // namespace ziyu::cli
