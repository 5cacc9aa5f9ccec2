// scripts/stack: Kafka, service, feeder and console as in compose.yaml, without docker.

#include "base/file.hpp"
#include "base/text.hpp"
#include "cli/common/capture.hpp"
#include "e2e/support/processes.hpp"
#include "e2e/support/service.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <csignal>
#include <cstdlib>
#include <sstream>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace ziyu;
using namespace std::chrono_literals;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

const std::string script = test::source_dir() + "/scripts/stack";
const std::string program = test::program_dir() + "/ziyu";

struct outcome {
  int code = -1;
  std::string out;
};

outcome run(std::vector<std::string> arguments, std::chrono::milliseconds limit = 240s) {
  auto said = cli::capture(std::move(arguments), limit, cli::capture_errors::yes);
  if (!said)
    return {-1, said.error().message};
  return {said->how.signal != 0 ? 128 + said->how.signal : said->how.exit_code, said->output};
}

/// A stack in a folder of its own; it ends at the latest with this object.
class Stack : public ::testing::Test {
protected:
  Stack() { ::setenv("ZIYU_BIN", test::program_dir().c_str(), 1); }
  ~Stack() override { run({script, "down", "--dir", dir()}); }

  std::string dir() const { return folder_.path() / "stack"; }

  outcome up(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{script, "up", "--dir", dir(), "--rate", "50"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }

  outcome down() { return run({script, "down", "--dir", dir()}); }

  /// The pid of a part.
  pid_t pid(const std::string& part) const {
    const auto text = read_file(dir() + "/run/" + part);
    return text ? std::atoi(text->c_str()) : 0;
  }

  std::string address(const std::string& name) const {
    const auto text = read_file(dir() + "/run/addresses").value_or("");
    const auto at = text.find(name + "=");
    if (at == text.npos)
      return {};
    const auto begin = at + name.size() + 1;
    return text.substr(begin, text.find(' ', begin) - begin);
  }

  /// All processes of the stack, which have its mark in their environment.
  std::vector<pid_t> alive() const {
    const auto mark = "ZIYU_STACK=" + fs::weakly_canonical(dir()).string();
    std::vector<pid_t> result;
    for (const auto& entry : fs::directory_iterator{"/proc"}) {
      const auto number = std::atoi(entry.path().filename().c_str());
      if (number == 0)
        continue;
      const auto environment = read_file(entry.path() / "environ").value_or("");
      std::istringstream variables{environment};
      for (std::string x; std::getline(variables, x, '\0');)
        if (x == mark)
          result.push_back(number);
    }
    return result;
  }

  /// `count` results from the beginning of the topic.
  std::vector<json> results(uint64_t count) const {
    const auto x = run({program, "results", "-b", address("kafka"), "--from", "beginning", "--json",
                        "--count", std::to_string(count), "--timeout", "60"});
    std::vector<json> result;
    std::istringstream lines{x.out};
    for (std::string line; std::getline(lines, line);)
      if (auto parsed = json::parse(line, nullptr, false); parsed.is_object())
        result.push_back(std::move(parsed));
    return result;
  }

  /// The exit code of compose.yaml's health check of Kafka, run against the broker at `port`.
  static int kafka_health(const std::string& port) {
    const auto x = run(
      {"/bin/sh", "-c",
       "docker-compose -f '" + test::source_dir()
         + "/compose/compose.yaml' config | /usr/bin/python3 -c '"
           "import subprocess, sys, yaml\n"
           "test = yaml.safe_load(sys.stdin)[\"services\"][\"kafka\"][\"healthcheck\"][\"test\"]\n"
           "command = [x.replace(\"$$\", \"$\").replace(\"9092\", sys.argv[1]) for x in test[1:]]\n"
           "sys.exit(subprocess.run(command).returncode)' "
         + port});
    return x.code;
  }

  temp_dir folder_{"ziyu-stack-test"};
};

} // namespace

TEST_F(Stack, StartsServesAndLeavesNothing) {
  const auto started = up();
  ASSERT_EQ(started.code, 0) << started.out;
  EXPECT_NE(started.out.find("http://" + address("http") + "/health"), std::string::npos);
  // Kafka with its guard, the service, feeder, console. The fork server and the workers have hardly
  // any environment, so that the mark does not find them.
  EXPECT_GE(alive().size(), 5u);

  const auto got = results(20);
  ASSERT_EQ(got.size(), 20u);
  for (const auto& x : got)
    EXPECT_EQ(x["status"], "ok") << x;

  const auto healthy = run({program, "health", "--wait", "60", address("http"), "--json"});
  EXPECT_EQ(healthy.code, 0) << healthy.out;
  // Where the cgroup may be set the service sees the limit that compose.yaml gives it.
  if (started.out.find("limited to 1024 MiB") != std::string::npos)
    EXPECT_EQ(json::parse(healthy.out)["memory_limit_bytes"], 1 << 30) << healthy.out;
  else
    EXPECT_NE(started.out.find("without a memory limit"), std::string::npos) << started.out;

  const auto kafka = address("kafka");
  const auto port = kafka.substr(kafka.rfind(':') + 1);
  EXPECT_EQ(kafka_health(port), 0) << "compose.yaml's health check";

  // A second start: it runs already.
  const auto service = pid("service");
  const auto again = up();
  EXPECT_EQ(again.code, 0) << again.out;
  EXPECT_NE(again.out.find("It runs already"), std::string::npos) << again.out;
  EXPECT_EQ(pid("service"), service);
  const auto status = run({script, "status", "--dir", dir()});
  EXPECT_EQ(status.code, 0) << status.out;
  EXPECT_NE(status.out.find("healthy"), std::string::npos) << status.out;

  const auto ended = down();
  EXPECT_EQ(ended.code, 0) << ended.out;
  EXPECT_TRUE(alive().empty());
  // The service ended in good order: it drained and reported that.
  const auto log = read_file(dir() + "/log/service.log").value_or("");
  EXPECT_NE(log.find("service_stopped"), std::string::npos) << log;
  EXPECT_FALSE(fs::exists(dir() + "/run/service"));
  EXPECT_FALSE(fs::exists(dir() + "/run/cgroup"));
  EXPECT_EQ(run({script, "status", "--dir", dir()}).code, 3);
  EXPECT_NE(kafka_health(port), 0) << "compose.yaml's health check";
}

TEST_F(Stack, CleansUpAfterACrashAndGoesOnWithItsData) {
  ASSERT_EQ(up({"--rounds", "1"}).code, 0);
  ASSERT_EQ(results(5).size(), 5u);
  const auto service = pid("service");
  ASSERT_EQ(::kill(service, SIGKILL), 0);
  // On a busy machine the process is there for a moment after the kill.
  ASSERT_TRUE(e2e::eventually([&] { return !e2e::is_running(service); }));
  // The console still runs: Kafka is there. The service's workers must not stay.
  const auto again = up({"--rounds", "1"});
  ASSERT_EQ(again.code, 0) << again.out;
  EXPECT_EQ(again.out.find("It runs already"), std::string::npos);
  EXPECT_GE(results(6).size(), 6u);
  const auto ended = down();
  EXPECT_EQ(ended.code, 0) << ended.out;
  EXPECT_TRUE(alive().empty());
}

TEST_F(Stack, SaysWhichLogToReadAndEndsWhatItStarted) {
  // A port that is taken.
  const auto fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(fd, 1), 0);
  ASSERT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const auto x = up({"--port", std::to_string(ntohs(address.sin_port))});
  ::close(fd);
  EXPECT_EQ(x.code, 1) << x.out;
  EXPECT_NE(x.out.find("/log/service.log"), std::string::npos) << x.out;
  EXPECT_TRUE(alive().empty());
}
