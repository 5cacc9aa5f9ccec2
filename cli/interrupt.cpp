#include "cli/interrupt.hpp"

#include <csignal>

namespace ziyu::cli {

namespace {

volatile std::sig_atomic_t signalled = 0;

} // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { signalled = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND); // The next one is deadly.
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return signalled != 0; }

} // namespace ziyu::cli
