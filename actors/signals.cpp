#include "actors/signals.hpp"

#include "base/log.hpp"
#include "base/signal.hpp"

#include <algorithm>
#include <csignal>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace ziyu::actors {

namespace {

/// The exit code of a stop that a second signal forces.
constexpr int forced_exit_code = 1;

bool is_stop(int number) { return number == SIGTERM || number == SIGINT || number == SIGHUP; }

} // namespace

wakeups::wakeups() {
  sigset_t set;
  sigemptyset(&set);
  for (auto x : {SIGINT, SIGTERM, SIGUSR1, SIGUSR2})
    sigaddset(&set, x);
  if (!is_ignored(SIGHUP)) // by nohup
    sigaddset(&set, SIGHUP);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  signals_ = unique_fd{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
  wake_ = unique_fd{::eventfd(0, EFD_CLOEXEC)};
}

void wakeups::fail_with(error x) {
  {
    std::lock_guard guard{mutex_};
    if (!fatal_)
      fatal_ = std::move(x);
  }
  const uint64_t one = 1;
  [[maybe_unused]] auto n = ::write(wake_.get(), &one, sizeof one);
}

wakeups::kind wakeups::wait() {
  for (;;) {
    auto number = next_unheard();
    if (number == 0) {
      pollfd entries[] = {{signals_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
      if (::poll(entries, 2, -1) < 0)
        continue;
      if (entries[1].revents != 0)
        return kind::fatal;
      number = read_signal();
    }
    switch (number) {
    case 0: break;
    case SIGUSR1: return kind::drain;
    case SIGUSR2: return kind::resume;
    default: return kind::stop;
    }
  }
}

int wakeups::next_unheard() {
  std::lock_guard guard{mutex_};
  if (unheard_.empty())
    return 0;
  const auto number = unheard_.front();
  unheard_.pop_front();
  return number;
}

bool wakeups::stop_is_due() {
  if (fatal())
    return true;
  std::lock_guard guard{mutex_};
  auto due = std::any_of(unheard_.begin(), unheard_.end(), is_stop);
  // Leaves later signals: a second one means more than the first.
  while (!due) {
    const auto number = read_signal();
    if (number == 0)
      return false;
    unheard_.push_back(number);
    due = is_stop(number);
  }
  return true;
}

bool wakeups::stopped_again(int done, int expected) {
  for (;;) {
    pollfd entries[] = {{signals_.get(), POLLIN, 0}, {done, POLLIN, 0}};
    if (::poll(entries, 2, -1) < 0)
      continue;
    if (entries[1].revents != 0)
      return false;
    const auto number = read_signal();
    if (is_stop(number)) {
      if (expected-- == 0)
        return true;
      spdlog::info("signal {}: stopping when the drain is over; a second signal stops at once",
                   number);
    }
    std::lock_guard guard{mutex_};
    if (number != 0)
      unheard_.push_back(number);
  }
}

std::optional<error> wakeups::fatal() const {
  std::lock_guard guard{mutex_};
  return fatal_;
}

int wakeups::read_signal() {
  signalfd_siginfo info;
  if (::read(signals_.get(), &info, sizeof info) != sizeof info)
    return 0;
  return signal_ = static_cast<int>(info.ssi_signo);
}

impatience::impatience(wakeups& signals, int expected)
  : done_(::eventfd(0, EFD_CLOEXEC)), thread_([this, &signals, expected] {
      if (!signals.stopped_again(done_.get(), expected))
        return;
      spdlog::critical("signal {} again: stopping at once; unfinished jobs are not committed and "
                       "will be done again",
                       signals.signal());
      spdlog::default_logger()->flush();
      ::_exit(forced_exit_code);
    }) {
  // nop
}

impatience::~impatience() {
  const uint64_t one = 1;
  [[maybe_unused]] auto n = ::write(done_.get(), &one, sizeof one);
  thread_.join();
}

} // namespace ziyu::actors
