#include "supervision/process.hpp"

#include "base/file.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace ziyu;
using namespace ziyu::supervision;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds patience{20'000};

/// A program that does nothing until it is ended.
const std::vector<std::string> waiting{"/usr/bin/tail", "-f", "/dev/null"};

child_specification shell(const std::string& script) {
  child_specification x;
  x.arguments = {"/bin/sh", "-c", script};
  return x;
}

child_process start(const child_specification& x) {
  auto child = child_process::start(x);
  EXPECT_TRUE(child) << child.error().describe();
  return child ? std::move(*child) : child_process{};
}

exit_status end_of(child_process& child) {
  auto how = child.wait(patience);
  EXPECT_TRUE(how) << "it still runs";
  return how.value_or(exit_status{-1, -1});
}

/// A pipe whose writing end goes to a child.
struct pipe_pair {
  pipe_pair() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0)
      throw std::runtime_error{"pipe2"};
    from = unique_fd{fds[0]};
    to = unique_fd{fds[1]};
  }

  /// Reads until the line is whole or the end; gives up after some time.
  std::string line() {
    std::string result;
    for (char c = 0;;) {
      pollfd entry{from.get(), POLLIN, 0};
      if (::poll(&entry, 1, static_cast<int>(patience.count())) <= 0)
        return result + " (and then nothing more)";
      if (::read(from.get(), &c, 1) <= 0 || c == '\n')
        return result;
      result += c;
    }
  }

  unique_fd from, to;
};

/// What a child of `spec` writes as its first line.
std::string first_line(child_specification spec) {
  pipe_pair out;
  spec.stdout_fd = out.to.get();
  auto child = start(spec);
  out.to.reset();
  auto result = out.line();
  end_of(child);
  return result;
}

/// True if the process does not exist any more, not even as a zombie.
bool is_reaped(int32_t pid) { return ::kill(pid, 0) != 0 && errno == ESRCH; }

/// Waits for `condition` to hold.
template <class Condition>
bool eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline)
      return false;
    ::poll(nullptr, 0, 1);
  }
  return true;
}

} // namespace

TEST(ExitStatus, ReadsAsPeopleSayIt) {
  EXPECT_EQ((exit_status{3, 0}).describe(), "exit code 3");
  EXPECT_EQ((exit_status{0, SIGKILL}).describe(), "signal 9 (SIGKILL)");
  EXPECT_EQ((exit_status{0, SIGSEGV}).describe(), "signal 11 (SIGSEGV)");
  EXPECT_EQ((exit_status{0, 250}).describe(), "signal 250");
}

TEST(ChildProcess, ReportsItsExitCodeAndIsReaped) {
  auto child = start(shell("exit 42"));
  const auto pid = child.pid();
  EXPECT_GT(pid, 0);
  const auto how = end_of(child);
  EXPECT_EQ(how.exit_code, 42);
  EXPECT_EQ(how.signal, 0);
  EXPECT_TRUE(is_reaped(pid));
  EXPECT_FALSE(child.running());
  EXPECT_EQ(end_of(child).exit_code, 42) << "asked again";
  child.signal(SIGTERM); // nothing happens, nobody is hit
  EXPECT_EQ(child.end(milliseconds{0}).exit_code, 42);
}

TEST(ChildProcess, ReportsTheSignalThatEndedIt) {
  auto child = start(shell("kill -SEGV $$"));
  const auto how = end_of(child);
  EXPECT_EQ(how.signal, SIGSEGV);
}

TEST(ChildProcess, RunsUntilItIsToldToEnd) {
  child_specification spec;
  spec.arguments = waiting;
  auto child = start(spec);
  EXPECT_TRUE(child.running());
  EXPECT_FALSE(child.wait(milliseconds{0}));
  EXPECT_FALSE(child.wait(milliseconds{5}));
  const auto how = child.end(patience);
  EXPECT_EQ(how.signal, SIGTERM);
  EXPECT_TRUE(is_reaped(child.pid()));
}

TEST(ChildProcess, ThatIgnoresTheRequestIsKilledAfterItsGrace) {
  pipe_pair out;
  auto spec = shell("trap '' TERM; echo ready; exec tail -f /dev/null"); // ignored beyond exec
  spec.stdout_fd = out.to.get();
  auto child = start(spec);
  ASSERT_EQ(out.line(), "ready");
  const auto how = child.end(milliseconds{50});
  EXPECT_EQ(how.signal, SIGKILL);
  EXPECT_TRUE(is_reaped(child.pid()));
}

TEST(ChildProcess, MayCleanUpWithinItsGrace) {
  pipe_pair out, in;
  auto spec = shell("trap 'exit 7' TERM; echo ready; read line <&3");
  spec.stdout_fd = out.to.get();
  spec.control_fd = in.from.get();
  auto child = start(spec);
  ASSERT_EQ(out.line(), "ready");
  const auto how = child.end(patience);
  EXPECT_EQ(how.exit_code, 7);
  EXPECT_EQ(how.signal, 0);
}

TEST(ChildProcess, IsEndedWithItsObject) {
  child_specification spec;
  spec.arguments = waiting;
  int32_t first = 0, second = 0;
  {
    auto one = start(spec);
    first = one.pid();
    auto other = start(spec);
    second = other.pid();
    child_process moved{std::move(one)};
    EXPECT_EQ(one.pid(), 0); // NOLINT(bugprone-use-after-move): what it is then
    EXPECT_EQ(moved.pid(), first);
    EXPECT_TRUE(moved.running());
    moved = std::move(other);
    EXPECT_EQ(moved.pid(), second);
    EXPECT_TRUE(moved.running());
  }
  EXPECT_TRUE(is_reaped(first));
  EXPECT_TRUE(is_reaped(second));
}

TEST(ChildProcess, ThatWasNeverStartedIsHarmless) {
  child_process nobody;
  EXPECT_FALSE(nobody.running());
  nobody.signal(SIGKILL); // kill(0, …) would hit our whole group
  EXPECT_TRUE(nobody.wait(milliseconds{0}));
  nobody.end(milliseconds{0});
}

TEST(ChildProcess, AProgramThatIsMissingIsAnErrorWithItsName) {
  child_specification spec;
  spec.arguments = {"/no/such/program", "x"};
  const auto child = child_process::start(spec);
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().code, errc::io);
  EXPECT_EQ(child.error().message, "cannot start /no/such/program: No such file or directory");
}

TEST(ChildProcess, AFileThatIsNoProgramIsAnError) {
  temp_dir dir;
  const auto path = dir.path() / "程序";
  ASSERT_TRUE(write_file(path, "text"));
  child_specification spec;
  spec.arguments = {path.string()};
  const auto child = child_process::start(spec);
  ASSERT_FALSE(child);
  EXPECT_NE(child.error().message.find("Permission denied"), std::string::npos);
}

TEST(ChildProcess, GetsItsArgumentsAsTheyAre) {
  child_specification spec;
  spec.arguments = {"/bin/sh", "-c", "printf '%s|' \"$@\"", "name", "a b", "", "*", "图"};
  EXPECT_EQ(first_line(spec), "a b||*|图|");
}

TEST(ChildProcess, GetsOurEnvironmentAndItsOwnOnTop) {
  ::setenv("ZIYU_TEST_KEPT", "kept", 1);
  ::setenv("ZIYU_TEST_CHANGED", "before", 1);
  auto spec = shell("echo \"$ZIYU_TEST_KEPT $ZIYU_TEST_CHANGED $ZIYU_TEST_NEW\"");
  spec.environment = {{"ZIYU_TEST_CHANGED", "after=1"}, {"ZIYU_TEST_NEW", "新"}};
  EXPECT_EQ(first_line(spec), "kept after=1 新");
  EXPECT_STREQ(::getenv("ZIYU_TEST_CHANGED"), "before") << "ours stays as it was";
  ::unsetenv("ZIYU_TEST_KEPT");
  ::unsetenv("ZIYU_TEST_CHANGED");
}

TEST(ChildProcess, GetsOnlyTheVariablesThatAreNamed) {
  ::setenv("ZIYU_TEST_SECRET", "secret", 1);
  ::setenv("ZIYU_TEST_NAMED", "named", 1);
  auto spec = shell("echo \"<$ZIYU_TEST_SECRET><$ZIYU_TEST_NAMED><$ZIYU_TEST_OWN>\"");
  spec.inherit = std::vector<std::string>{"ZIYU_TEST_NAMED"};
  spec.environment = {{"ZIYU_TEST_OWN", "own"}};
  EXPECT_EQ(first_line(spec), "<><named><own>");
  ::unsetenv("ZIYU_TEST_SECRET");
  ::unsetenv("ZIYU_TEST_NAMED");
  for (const auto& name : worker_environment())
    EXPECT_EQ(name.find("ZIYU"), std::string::npos) << name;
}

TEST(ChildProcess, MayHaveNothingToRead) {
  auto spec = shell("read line; echo \"$? <$line>\"");
  spec.no_stdin = true;
  EXPECT_EQ(first_line(spec), "1 <>");
}

TEST(ChildProcess, ItsStandardErrorMayGoElsewhere) {
  pipe_pair out;
  auto spec = shell("echo trouble >&2");
  spec.stderr_fd = out.to.get();
  auto child = start(spec);
  out.to.reset();
  EXPECT_EQ(out.line(), "trouble");
}

TEST(ChildProcess, TalksToUsOnDescriptorThree) {
  pipe_pair in, out;
  auto spec = shell("read line <&3; echo \"got $line\"");
  spec.control_fd = in.from.get();
  spec.stdout_fd = out.to.get();
  auto child = start(spec);
  ASSERT_EQ(::write(in.to.get(), "图\n", 4), 4);
  EXPECT_EQ(out.line(), "got 图");
}

TEST(ChildProcess, DescriptorThreeMayBeThreeAlready) {
  unique_fd saved{::fcntl(3, F_DUPFD_CLOEXEC, 20)};
  pipe_pair in, out;
  if (in.from.get() != 3) {
    ASSERT_EQ(::dup3(in.from.get(), 3, O_CLOEXEC), 3);
  } else {
    in.from.release();
  }
  auto spec = shell("read line <&3; echo \"got $line\"");
  spec.control_fd = 3;
  spec.stdout_fd = out.to.get();
  auto child = start(spec);
  ASSERT_EQ(::write(in.to.get(), "x\n", 2), 2);
  EXPECT_EQ(out.line(), "got x");
  if (saved)
    ::dup3(saved.get(), 3, O_CLOEXEC);
  else
    ::close(3);
}

TEST(ChildProcess, NothingElseOfOursLeaksIntoIt) {
  pipe_pair pipe;
  const unique_fd secret{::fcntl(pipe.to.get(), F_DUPFD_CLOEXEC, 100)};
  ASSERT_TRUE(secret);
  const auto path = "/proc/$$/fd/" + std::to_string(secret.get());
  EXPECT_EQ(first_line(shell("if [ -e " + path + " ]; then echo leaked; else echo closed; fi")),
            "closed");
}

TEST(ChildProcess, StartsWithNoSignalBlockedOrIgnored) {
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  const auto old = ::signal(SIGPIPE, SIG_IGN);
  const auto line = first_line(shell("grep SigBlk /proc/self/status; exec >/dev/null"));
  const auto ignored = first_line(shell("grep SigIgn /proc/self/status; exec >/dev/null"));
  ::signal(SIGPIPE, old);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(line, "SigBlk:\t0000000000000000");
  const auto bits = std::stoull(ignored.substr(ignored.find('\t') + 1), nullptr, 16);
  EXPECT_EQ(bits & (1ull << (SIGPIPE - 1)), 0u) << ignored;
}

TEST(ChildProcess, ANewSessionIsItsOwn) {
  child_specification spec;
  spec.arguments = waiting;
  auto with_us = start(spec);
  EXPECT_EQ(::getsid(with_us.pid()), ::getsid(0));
  spec.new_session = true;
  auto apart = start(spec);
  EXPECT_EQ(::getsid(apart.pid()), apart.pid());
}

TEST(ProcessHandle, StaysWithItsProcess) {
  child_specification spec;
  spec.arguments = waiting;
  auto child = start(spec);
  auto handle = process_handle::open(child.pid());
  ASSERT_TRUE(handle) << handle.error().describe();
  EXPECT_EQ(handle->pid(), child.pid());
  EXPECT_FALSE(handle->ended());
  EXPECT_TRUE(handle->signal(SIGTERM));
  EXPECT_TRUE(eventually([&] { return handle->ended(); })) << "before anybody has reaped it";
  EXPECT_EQ(end_of(child).signal, SIGTERM);
  EXPECT_TRUE(handle->ended());
  EXPECT_FALSE(handle->signal(SIGTERM)) << "gone: nobody else is hit";
}

TEST(ProcessHandle, OfAProcessThatIsNotThereIsAnError) {
  auto child = start(shell("exit 0"));
  end_of(child);
  for (auto pid : {child.pid(), 0, -1}) {
    const auto handle = process_handle::open(pid);
    ASSERT_FALSE(handle) << pid;
    EXPECT_EQ(handle.error().code, errc::unavailable);
  }
  EXPECT_TRUE(process_handle{}.ended());
  EXPECT_FALSE(process_handle{}.signal(SIGTERM));
}

TEST(Reaping, TakesOnlyChildrenThatHaveEnded) {
  const auto pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    ::execl(waiting[0].c_str(), waiting[0].c_str(), "-f", "/dev/null", nullptr);
    ::_exit(127);
  }
  EXPECT_FALSE(reap(pid)) << "it runs";
  ::kill(pid, SIGKILL);
  std::optional<exit_status> how;
  EXPECT_TRUE(eventually([&] { return (how = reap(pid)).has_value(); }));
  EXPECT_EQ(how ? how->signal : 0, SIGKILL);
  EXPECT_TRUE(is_reaped(pid));
  EXPECT_FALSE(reap(pid)) << "only once";
  EXPECT_FALSE(reap(::getppid())) << "no child of ours";
}

TEST(Reaping, ASubreaperInheritsOrphans) {
  become_subreaper();
  // The shell leaves a child behind and tells its pid.
  pipe_pair out;
  auto spec = shell("tail -f /dev/null >/dev/null & echo $!");
  spec.stdout_fd = out.to.get();
  auto child = start(spec);
  const auto orphan = std::stoi(out.line());
  end_of(child);
  EXPECT_FALSE(reap(orphan)) << "ours now, and it runs";
  ::kill(orphan, SIGKILL);
  std::optional<exit_status> how;
  EXPECT_TRUE(eventually([&] { return (how = reap(orphan)).has_value(); }));
  EXPECT_EQ(how ? how->signal : 0, SIGKILL);
}
