// The programs that we start for other processes end in any case.

#include "base/file.hpp"
#include "messaging/broker/guarded_process.hpp"
#include "supervision/wire/socket.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <csignal>
#include <fstream>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

using namespace ziyu;
using namespace ziyu::broker;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds patience{60'000};

const std::string ziyu_program = test::program_dir() + "/ziyu";

bool is_gone(int32_t pid) {
  if (::kill(pid, 0) != 0 && errno == ESRCH)
    return true;
  // Ended, but its new parent has not reaped it yet.
  auto stat = read_file("/proc/" + std::to_string(pid) + "/stat");
  return !stat || stat->find(") Z ") != std::string::npos;
}

template <class Condition>
bool eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline)
      return false;
    ::poll(nullptr, 0, 5);
  }
  return true;
}

/// A shell that runs `before`, writes its pid to a file and becomes a program that waits
/// for ever; ended with the test in any case.
class waiting_program {
public:
  explicit waiting_program(const std::string& before = ":")
    : command{"/bin/sh", "-c",
              before + "; echo $$ > " + file() + ".new && mv " + file() + ".new " + file()
                + "; exec tail -f /dev/null"} {}

  ~waiting_program() {
    if (pid_ > 0 && !is_gone(pid_))
      ::kill(pid_, SIGKILL);
  }

  /// The pid of the process, when it has reached the waiting.
  int32_t pid() {
    EXPECT_TRUE(eventually([&] {
      std::ifstream in{file()};
      return static_cast<bool>(in >> pid_);
    }));
    return pid_;
  }

  std::string file() const { return (dir_.path() / "pid").string(); }
  std::filesystem::path log() const { return dir_.path() / "log"; }

private:
  temp_dir dir_;
  int32_t pid_ = 0;

public:
  const std::vector<std::string> command;
};

guarded_process start(const std::vector<std::string>& command, const std::filesystem::path& log) {
  auto x = guarded_process::start(command, log);
  EXPECT_TRUE(x) << x.error().describe();
  return x ? std::move(*x) : guarded_process{};
}

} // namespace

TEST(GuardedProcess, HandsOutTheExitCodeAndTheOutput) {
  temp_dir dir;
  const auto log = dir.path() / "log";
  auto x = start({"/bin/sh", "-c", "echo 出; echo err >&2; exit 5"}, log);
  const auto how = x.wait(patience);
  ASSERT_TRUE(how);
  EXPECT_EQ(how->exit_code, 5);
  const auto text = read_file(log).value_or("");
  EXPECT_NE(text.find("出\n"), std::string::npos) << text;
  EXPECT_NE(text.find("err\n"), std::string::npos) << text;
}

TEST(GuardedProcess, ASignalsEndIsAnExitCodeAbove128) {
  temp_dir dir;
  auto x = start({"/bin/sh", "-c", "kill -KILL $$"}, dir.path() / "log");
  const auto how = x.wait(patience);
  ASSERT_TRUE(how);
  EXPECT_EQ(how->exit_code, 128 + SIGKILL);
}

TEST(GuardedProcess, AProgramThatIsMissingSaysSoInTheLog) {
  temp_dir dir;
  auto x = start({"/no/such/program"}, dir.path() / "log");
  const auto how = x.wait(patience);
  ASSERT_TRUE(how);
  EXPECT_EQ(how->exit_code, 127);
  EXPECT_NE(read_file(dir.path() / "log").value_or("").find("/no/such/program"), std::string::npos);
}

TEST(GuardedProcess, EndsItsProgramByRequest) {
  waiting_program program;
  auto x = start(program.command, program.log());
  const auto pid = program.pid();
  ASSERT_TRUE(x.running());
  EXPECT_NE(pid, x.pid()) << "the guard is between";
  x.end(patience);
  EXPECT_FALSE(x.running());
  EXPECT_TRUE(is_gone(pid));
}

TEST(GuardedProcess, EndsItsProgramWithItsObject) {
  waiting_program program;
  int32_t pid = 0;
  {
    auto x = start(program.command, program.log());
    pid = program.pid();
  }
  EXPECT_TRUE(eventually([&] { return is_gone(pid); }));
}

TEST(Guard, EndsItsProgramWhenTheLifelineCloses) {
  waiting_program program;
  auto pair = wire::socket_pair();
  ASSERT_TRUE(pair);
  supervision::child_specification spec;
  spec.arguments = {ziyu_program, "__guard", "3"};
  spec.arguments.insert(spec.arguments.end(), program.command.begin(), program.command.end());
  spec.control_fd = pair->second.get();
  auto guard = supervision::child_process::start(spec);
  ASSERT_TRUE(guard) << guard.error().describe();
  pair->second.reset();
  const auto pid = program.pid();
  EXPECT_FALSE(is_gone(pid));
  pair->first.reset(); // as when this process dies, in any way
  const auto how = guard->wait(patience);
  ASSERT_TRUE(how);
  EXPECT_EQ(how->exit_code, 128 + SIGTERM);
  EXPECT_TRUE(is_gone(pid));
}

TEST(Guard, PassesSignalsOn) {
  for (auto number : {SIGTERM, SIGINT}) {
    waiting_program program;
    auto x = start(program.command, program.log());
    const auto pid = program.pid();
    ASSERT_EQ(::kill(x.pid(), number), 0);
    const auto how = x.wait(patience);
    ASSERT_TRUE(how);
    EXPECT_EQ(how->exit_code, 128 + number);
    EXPECT_TRUE(is_gone(pid));
  }
}

TEST(Guard, KillsAProgramThatIgnoresTheRequest) {
  waiting_program program{"trap '' TERM"}; // ignored beyond exec
  int32_t pid = 0;
  {
    auto x = start(program.command, program.log());
    pid = program.pid();
    x.end(milliseconds{10}); // then the guard's own grace
  }
  EXPECT_TRUE(is_gone(pid));
}
