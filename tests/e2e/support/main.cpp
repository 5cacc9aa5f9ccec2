// main() of the end-to-end tests: a broker that the tests share, and a check after each test that
// it has left no process behind.

#include "base/file.hpp"
#include "e2e/support/processes.hpp"
#include "e2e/support/service.hpp"
#include "e2e/support/shared_broker.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <optional>

#include <sys/wait.h>
#include <unistd.h>

namespace ziyu::e2e {

namespace {

struct running_broker {
  temp_dir folder{"ziyu-e2e"};
  broker::embedded_broker broker;
  std::vector<process_info> processes;
};

std::optional<running_broker>& broker_slot() {
  static std::optional<running_broker> slot;
  return slot;
}

/// Reaps ended orphans.
void reap_orphans() {
  const auto kept = broker_slot() ? broker_slot()->broker.pid() : 0;
  siginfo_t info{};
  // Looks first: the broker's guard has an owner who needs its exit status.
  while (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0
         && info.si_pid != kept) {
    ::waitpid(info.si_pid, nullptr, WNOHANG);
    info.si_pid = 0;
  }
}

std::vector<process_info> strangers() {
  reap_orphans();
  auto found = descendants(::getpid());
  std::erase_if(found, [](const process_info& x) {
    const auto& slot = broker_slot();
    return slot
           && std::find(slot->processes.begin(), slot->processes.end(), x) != slot->processes.end();
  });
  return found;
}

/// Fails a test that leaves processes behind, and ends them.
class leftover_listener : public ::testing::EmptyTestEventListener {
  void OnTestEnd(const ::testing::TestInfo&) override {
    if (eventually([] { return strangers().empty(); }, std::chrono::seconds{10}))
      return;
    const auto left = strangers();
    ADD_FAILURE() << "left running:\n" << to_string(left);
    for (const auto& x : left)
      ::kill(x.pid, SIGKILL);
  }
};

class broker_environment : public ::testing::Environment {
  void TearDown() override { broker_slot().reset(); }
};

} // namespace

const std::string& shared_broker() {
  auto& slot = broker_slot();
  if (!slot) {
    auto& x = slot.emplace();
    broker::broker_settings settings;
    settings.folder = x.folder.path();
    x.broker = must(broker::embedded_broker::start(std::move(settings)));
    x.processes = descendants(::getpid());
    std::erase_if(x.processes, [&](const process_info& p) {
      return p.pid != x.broker.pid() && p.parent != x.broker.pid();
    });
  }
  return slot->broker.bootstrap();
}

} // namespace ziyu::e2e

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  // Orphans become children of this process, so that they are found.
  ziyu::supervision::become_subreaper();
  ::testing::AddGlobalTestEnvironment(new ziyu::e2e::broker_environment);
  ::testing::UnitTest::GetInstance()->listeners().Append(new ziyu::e2e::leftover_listener);
  return RUN_ALL_TESTS();
}
