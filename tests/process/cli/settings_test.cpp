// `ziyu check` and `ziyu serve` agree, with the real programs. The table of what is accepted is
// in tests/unit/cli/settings_test.cpp.

#include "support/places.hpp"
#include "support/program.hpp"

#include <gtest/gtest.h>

using namespace ziyu::test;

namespace {

struct settings_case {
  std::vector<std::string> overrides;
  std::string mistake; ///< Reported by both; empty: accepted by both.
};

std::ostream& operator<<(std::ostream& out, const settings_case& x) {
  for (const auto& o : x.overrides)
    out << o << ' ';
  return out;
}

class Settings : public testing::TestWithParam<settings_case> {
protected:
  static std::vector<std::string> with(std::vector<std::string> command) {
    command.insert(command.begin(), program_dir() + "/ziyu");
    // There is no broker, and none is needed.
    for (const auto* x : {"kafka.bootstrap.servers=127.0.0.1:1", "http.port=0",
                          "memory.container_limit_bytes=8GiB"})
      command.insert(command.end(), {"--set", x});
    for (const auto& x : GetParam().overrides)
      command.insert(command.end(), {"--set", x});
    return command;
  }
};

const std::string file = source_dir() + "/configs/ziyu.json";

} // namespace

TEST_P(Settings, AreAcceptedByCheckAndServeOrRefusedByBoth) {
  const auto& mistake = GetParam().mistake;
  program check{with({"check", file, "--offline"})};
  EXPECT_EQ(check.finish(), mistake.empty() ? 0 : 2) << check.out() << check.err();
  EXPECT_NE(check.out().find(mistake), std::string::npos) << check.out();

  program serve{with({"serve", "--config", file})};
  if (mistake.empty()) {
    // Everything is decided only when the first worker is ready.
    ASSERT_TRUE(serve.wait_for("worker ready")) << serve.out() << serve.err();
    serve.signal(SIGTERM);
    EXPECT_EQ(serve.finish(), 0) << serve.err();
  } else {
    EXPECT_EQ(serve.finish(), 2) << serve.out() << serve.err();
    EXPECT_NE(serve.err().find(mistake), std::string::npos) << serve.err();
  }
}

INSTANTIATE_TEST_SUITE_P(
  Some, Settings,
  testing::Values(
    settings_case{{}, ""},
    settings_case{{"memory.worker_budget_bytes=42MiB", "memory.worker_hard_limit_bytes=63MiB"}, ""},
    settings_case{{"memory.worker_budget_bytes=42MiB", "memory.worker_hard_limit_bytes=63MiB",
                   "jobs.max_pixels=24000000"},
                  "jobs.max_pixels"},
    settings_case{{"memory.worker_budget_bytes=2MiB"}, "a fresh worker already has"},
    settings_case{{"memory.worker_hard_limit_bytes=256MiB"}, "memory.worker_hard_limit_bytes"},
    settings_case{{"memory.worker_hard_limit_bytes=257MiB"}, "no job would have room"},
    settings_case{{"jobs.max_pixels=1"}, "no job would have room"},
    settings_case{{"kafka.bootstrap.servers=127.0.0.1:70000"}, "127.0.0.1:70000"},
    settings_case{{"kafka.producer.bootstrap.servers=127.0.0.1:2"}, "one cluster"},
    settings_case{{"topics.jobs=.."}, "topics.jobs"},
    settings_case{{"workers.executable=/tmp"}, "workers.executable"},
    settings_case{{"faults.allowed=true", R"(faults.slots={"0": "nonsense"})"}, "faults.slots.0"},
    settings_case{{"workers.executable=/nonexistent/ziyu-worker"}, "workers.executable"}));
