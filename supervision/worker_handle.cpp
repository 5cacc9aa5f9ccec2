#include "supervision/worker_handle.hpp"

#include "base/file.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <sstream>

#include <sys/wait.h>
#include <unistd.h>

namespace ziyu::supervision {

namespace {

/// Fields of `/proc/<pid>/stat`.
struct process_stat {
  char state = '?';
  uint64_t started = 0; ///< Clock ticks since the boot.
};

std::optional<process_stat> read_stat(int32_t pid) {
  const auto text = read_file("/proc/" + std::to_string(pid) + "/stat");
  if (!text)
    return std::nullopt;
  // The name, in brackets, may hold anything; the state is the third field, the start the 22nd.
  const auto name_end = text->rfind(')');
  if (name_end == std::string::npos)
    return std::nullopt;
  std::istringstream words{text->substr(name_end + 1)};
  process_stat x;
  std::string skipped;
  words >> x.state;
  for (auto field = 4; field < 22; ++field)
    words >> skipped;
  words >> x.started;
  return words ? std::optional{x} : std::nullopt;
}

bool exists(int32_t pid) { return pid > 0 && (::kill(pid, 0) == 0 || errno != ESRCH); }

} // namespace

expected<worker_handle> worker_handle::open(int32_t pid) {
  auto exact = process_handle::open(pid);
  if (!exact)
    return open_without_pidfd(pid);
  worker_handle result;
  result.pid_ = pid;
  result.exact_ = std::move(*exact);
  return result;
}

expected<worker_handle> worker_handle::open_without_pidfd(int32_t pid) {
  if (!exists(pid))
    return fail(errc::unavailable, "process " + std::to_string(pid) + ": " + std::strerror(ESRCH));
  worker_handle result;
  result.pid_ = pid;
  if (const auto now = read_stat(pid))
    result.started_ = now->started;
  return result;
}

bool worker_handle::signal(int number) const {
  if (exact_)
    return exact_->signal(number);
  return !ended() && ::kill(pid_, number) == 0;
}

bool worker_handle::ended() const {
  if (exact_)
    return exact_->ended();
  if (!exists(pid_))
    return true;
  // A child of ours that has ended keeps its pid until it is reaped.
  siginfo_t news{};
  if (::waitid(P_PID, static_cast<id_t>(pid_), &news, WEXITED | WNOHANG | WNOWAIT) == 0
      && news.si_pid == pid_)
    return true;
  const auto now = read_stat(pid_);
  return now
         && (now->state == 'Z' || now->state == 'X' || (started_ != 0 && now->started != started_));
}

bool worker_handle::stopped() const {
  const auto now = ended() ? std::nullopt : read_stat(pid_);
  return now && (now->state == 'T' || now->state == 't');
}

std::string pidfd_trouble() {
  const auto own = process_handle::open(::getpid());
  return own ? std::string{} : own.error().message;
}

} // namespace ziyu::supervision
