#include "supervision/process.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace ziyu::supervision {

namespace {

using clock = std::chrono::steady_clock;

exit_status from_wait(int status) {
  return WIFSIGNALED(status) ? exit_status{0, WTERMSIG(status)}
                             : exit_status{WEXITSTATUS(status), 0};
}

/// Runs in the child between fork and exec. Makes async-signal-safe calls only, as other threads of
/// the parent may have held any lock.
[[noreturn]] void become(const child_specification& x, char* const* arguments,
                         char* const* environment, int report_fd) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (auto number : {SIGINT, SIGTERM, SIGPIPE, SIGHUP, SIGCHLD, SIGUSR1, SIGUSR2})
    ::signal(number, SIG_DFL);
  if (x.new_session)
    ::setsid();
  if (x.no_stdin)
    if (const auto null = ::open("/dev/null", O_RDONLY); null > 0) {
      ::dup2(null, 0);
      ::close(null);
    }
  if (x.stdout_fd)
    ::dup2(*x.stdout_fd, 1);
  if (x.stderr_fd)
    ::dup2(*x.stderr_fd, 2);
  // dup2 onto itself would keep close-on-exec.
  if (x.control_fd
      && (*x.control_fd == 3 ? ::fcntl(3, F_SETFD, 0) : ::dup2(*x.control_fd, 3)) < 0) {
    auto code = errno;
    [[maybe_unused]] auto n = ::write(report_fd, &code, sizeof code);
    ::_exit(127);
  }
  ::execve(arguments[0], arguments, environment);
  auto code = errno;
  [[maybe_unused]] auto n = ::write(report_fd, &code, sizeof code);
  ::_exit(127);
}

} // namespace

std::string exit_status::describe() const {
  if (signal == 0)
    return "exit code " + std::to_string(exit_code);
  const auto name = ::sigabbrev_np(signal);
  return "signal " + std::to_string(signal) + (name ? " (SIG" + std::string{name} + ")" : "");
}

std::vector<std::string> worker_environment() {
  return {
    "LD_LIBRARY_PATH",      // for libraries that are not installed
    "LANG",                 // for names of files in error texts
    "CUDA_VISIBLE_DEVICES", // which GPU to use
    "CUDA_DEVICE_ORDER",
    "ATEN_CPU_CAPABILITY", // which instructions libtorch and oneDNN use
    "ONEDNN_MAX_CPU_ISA",
    "MALLOC_CONF",  // for jemalloc
    "ASAN_OPTIONS", // how a sanitised build reports
    "LSAN_OPTIONS",
    "UBSAN_OPTIONS",
  };
}

expected<child_process> child_process::start(const child_specification& x) {
  std::vector<std::string> settings;
  for (auto entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text{*entry};
    const std::string name{text.substr(0, text.find('='))};
    const auto inherits = !x.inherit
                          || std::find(x.inherit->begin(), x.inherit->end(), name)
                               != x.inherit->end();
    if (inherits && !x.environment.contains(name))
      settings.emplace_back(text);
  }
  for (const auto& [key, value] : x.environment)
    settings.push_back(key + "=" + value);
  auto pointers = [](const std::vector<std::string>& from) {
    std::vector<char*> result;
    for (const auto& item : from)
      result.push_back(const_cast<char*>(item.c_str()));
    result.push_back(nullptr);
    return result;
  };
  const auto arguments = pointers(x.arguments);
  const auto environment = pointers(settings);
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0)
    return fail(errc::io, std::string{"pipe: "} + std::strerror(errno));
  // The pipe must not be where the control socket will go.
  unique_fd from{report[0]}, to{::fcntl(report[1], F_DUPFD_CLOEXEC, 10)};
  ::close(report[1]);
  const auto pid = ::fork();
  if (pid < 0)
    return fail(errc::io, std::string{"fork: "} + std::strerror(errno));
  if (pid == 0)
    become(x, arguments.data(), environment.data(), to.get());
  to.reset();
  auto code = 0;
  ssize_t n = 0;
  do
    n = ::read(from.get(), &code, sizeof code);
  while (n < 0 && errno == EINTR);
  child_process result;
  result.pid_ = pid;
  if (n == sizeof code) {
    result.wait(std::chrono::seconds{5});
    return fail(errc::io, "cannot start " + x.arguments.front() + ": " + std::strerror(code));
  }
  return result;
}

child_process::child_process(child_process&& other) noexcept
  : pid_(std::exchange(other.pid_, 0)), status_(std::exchange(other.status_, {})) {
  // nop
}

child_process& child_process::operator=(child_process&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(status_, other.status_);
  return *this;
}

child_process::~child_process() {
  if (pid_ != 0)
    end(std::chrono::seconds{2});
}

bool child_process::running() { return pid_ != 0 && !wait(std::chrono::milliseconds{0}); }

void child_process::signal(int number) {
  if (running())
    ::kill(pid_, number);
}

std::optional<exit_status> child_process::wait(std::chrono::milliseconds limit) {
  if (pid_ == 0)
    return exit_status{};
  const auto deadline = clock::now() + limit;
  while (!status_) {
    auto status = 0;
    const auto n = ::waitpid(pid_, &status, WNOHANG);
    if (n == pid_)
      status_ = from_wait(status);
    else if (n < 0 && errno == ECHILD)
      status_ = exit_status{}; // another caller reaped it
    else if (clock::now() >= deadline)
      return std::nullopt;
    else
      std::this_thread::sleep_for(std::chrono::milliseconds{2});
  }
  return status_;
}

exit_status child_process::end(std::chrono::milliseconds grace) {
  signal(SIGTERM);
  if (auto status = wait(grace))
    return *status;
  signal(SIGKILL);
  // A killed process ends unless it hangs in the kernel.
  return wait(std::chrono::seconds{30}).value_or(exit_status{0, SIGKILL});
}

expected<process_handle> process_handle::open(int32_t pid) {
  process_handle result;
  result.pid_ = pid;
  result.fd_ = unique_fd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  if (!result.fd_)
    return fail(errc::unavailable, "process " + std::to_string(pid) + ": " + std::strerror(errno));
  return result;
}

bool process_handle::signal(int number) const {
  return fd_ && ::syscall(SYS_pidfd_send_signal, fd_.get(), number, nullptr, 0) == 0;
}

bool process_handle::ended() const {
  pollfd entry{fd_.get(), POLLIN, 0};
  return !fd_ || ::poll(&entry, 1, 0) > 0;
}

void become_subreaper() { ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

std::optional<exit_status> reap(int32_t pid) {
  auto status = 0;
  if (::waitpid(pid, &status, WNOHANG) != pid)
    return std::nullopt;
  return from_wait(status);
}

} // namespace ziyu::supervision
