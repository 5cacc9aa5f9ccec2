#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ziyu::test {

/// One run of a program: its output is collected, its waits have deadlines, and it does not outlive
/// this object.
class program {
public:
  using clock = std::chrono::steady_clock;
  /// Only bounds the wait for a broken program.
  static constexpr std::chrono::seconds limit{60};

  enum class output { pipes, terminal };

  /// @param arguments The first is the program's path.
  /// @param environment Added to ours; an empty value removes the variable.
  /// @param input Becomes its standard input (of the kind `pipes`).
  /// @param where On a `terminal` (80 columns) all it writes counts as `out`.
  explicit program(std::vector<std::string> arguments, output where = output::pipes,
                   const std::map<std::string, std::string>& environment = {},
                   const std::string& input = {}) {
    std::vector<char*> argv;
    argv.reserve(arguments.size());
    for (auto& x : arguments)
      argv.push_back(x.data());
    argv.push_back(nullptr);
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
    if (where == output::pipes
        && (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0
            || ::pipe2(err, O_CLOEXEC) != 0))
      std::abort();
    winsize size{30, 80, 0, 0};
    int master = -1;
    pid_ = where == output::terminal ? ::forkpty(&master, nullptr, nullptr, &size) : ::fork();
    if (pid_ == 0) {
      ::signal(SIGPIPE, SIG_DFL);
      if (where == output::pipes) {
        ::dup2(in[0], STDIN_FILENO);
        ::dup2(out[1], STDOUT_FILENO);
        ::dup2(err[1], STDERR_FILENO);
      }
      for (const auto& [name, value] : environment)
        value.empty() ? ::unsetenv(name.c_str()) : ::setenv(name.c_str(), value.c_str(), 1);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    if (where == output::terminal) {
      out_fd_ = master;
      return;
    }
    for (const auto fd : {in[0], out[1], err[1]})
      ::close(fd);
    out_fd_ = out[0];
    err_fd_ = err[0];
    // Small enough for the pipe.
    if (::write(in[1], input.data(), input.size()) != static_cast<ssize_t>(input.size()))
      ADD_FAILURE() << "the input does not fit into a pipe";
    ::close(in[1]);
  }

  program(const program&) = delete;
  program& operator=(const program&) = delete;

  ~program() {
    close_output();
    if (pid_ > 0 && !status_) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }

  pid_t pid() const { return pid_; }
  void signal(int number) { ::kill(pid_, number); }
  const std::string& out() const { return out_; }
  const std::string& err() const { return err_; }

  /// Reads until the output or the error output contains `text`; false when the program ended, or
  /// the time was over, before that.
  bool wait_for(const std::string& text) {
    const auto deadline = clock::now() + limit;
    auto found = [&] { return out_.find(text) != out_.npos || err_.find(text) != err_.npos; };
    while (!found())
      if (!read_some(deadline))
        return found();
    return true;
  }

  /// As `wait_for`, for the output from byte `from` on.
  bool wait_for_after(size_t from, const std::string& text) {
    const auto deadline = clock::now() + limit;
    while (out_.find(text, from) == out_.npos)
      if (!read_some(deadline))
        return out_.find(text, from) != out_.npos;
    return true;
  }

  /// Types on its terminal.
  void type(const std::string& keys) {
    EXPECT_EQ(::write(out_fd_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }

  /// Gives its terminal another size.
  void resize(unsigned short rows, unsigned short columns) {
    winsize size{rows, columns, 0, 0};
    EXPECT_EQ(::ioctl(out_fd_, TIOCSWINSZ, &size), 0);
  }

  /// Stops reading its output; the program sees a closed pipe.
  void close_output() {
    for (auto* fd : {&out_fd_, &err_fd_})
      if (*fd >= 0) {
        ::close(*fd);
        *fd = -1;
      }
  }

  /// Only its standard output; its error output is still read.
  void close_standard_output() {
    ::close(out_fd_);
    out_fd_ = -1;
  }

  /// Reads all remaining output and waits for its end. Returns the exit code; 128 + the signal that
  /// ended it; −1 when it did not end in time.
  int finish(std::chrono::seconds within = limit) {
    const auto deadline = clock::now() + within;
    while (read_some(deadline)) {
    }
    while (!status_ && clock::now() < deadline) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_)
        status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      else
        ::poll(nullptr, 0, 5);
    }
    return status_.value_or(-1);
  }

private:
  /// Waits for output and reads it; false when no more will come.
  bool read_some(clock::time_point deadline) {
    pollfd entries[2] = {{out_fd_, POLLIN, 0}, {err_fd_, POLLIN, 0}};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline
                                                                            - clock::now());
    if ((out_fd_ < 0 && err_fd_ < 0) || left.count() <= 0)
      return false;
    if (::poll(entries, 2, static_cast<int>(left.count())) <= 0)
      return errno == EINTR;
    auto take = [](pollfd& entry, int& fd, std::string& to) {
      if (entry.revents == 0)
        return;
      char block[4096];
      const auto n = ::read(fd, block, sizeof block);
      if (n > 0) {
        to.append(block, static_cast<size_t>(n));
      } else { // For a terminal EIO: the other side is closed.
        ::close(fd);
        fd = -1;
      }
    };
    take(entries[0], out_fd_, out_);
    take(entries[1], err_fd_, err_);
    return true;
  }

  pid_t pid_ = -1;
  int out_fd_ = -1, err_fd_ = -1;
  std::string out_, err_;
  std::optional<int> status_;
};

} // namespace ziyu::test
