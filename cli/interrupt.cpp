#include "cli/interrupt.hpp"

#include <csignal>

#include <poll.h>
#include <unistd.h>

namespace ziyu::cli {

namespace {

volatile std::sig_atomic_t signalled = 0;

} // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { signalled = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND); // The next signal ends the process.
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
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

} // namespace ziyu::cli
