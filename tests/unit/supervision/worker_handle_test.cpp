#include "supervision/worker_handle.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <functional>

#include <poll.h>
#include <unistd.h>

using namespace ziyu;
using namespace ziyu::supervision;
using namespace std::chrono_literals;

namespace {

child_process sleeper() {
  child_specification x;
  x.arguments = {"/bin/sleep", "600"};
  return std::move(child_process::start(x).value());
}

bool eventually(const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline)
      return false;
    ::poll(nullptr, 0, 2);
  }
  return true;
}

/// As the kernel has it, and as if it refused pidfd_open.
class WorkerHandle : public ::testing::TestWithParam<bool> {
protected:
  static expected<worker_handle> open(int32_t pid) {
    return GetParam() ? worker_handle::open(pid) : worker_handle::open_without_pidfd(pid);
  }
};

} // namespace

TEST_P(WorkerHandle, SeesALiveProcessAliveAndItsEnd) {
  auto child = sleeper();
  const auto handle = open(child.pid());
  ASSERT_TRUE(handle);
  EXPECT_EQ(handle->pid(), child.pid());
  EXPECT_FALSE(handle->ended());
  EXPECT_TRUE(handle->signal(SIGKILL));
  EXPECT_TRUE(eventually([&] { return handle->ended(); })) << "not reaped yet, but ended";
  ASSERT_TRUE(child.wait(30s));
  EXPECT_TRUE(handle->ended());
  EXPECT_FALSE(handle->signal(SIGTERM));
  EXPECT_FALSE(open(child.pid())) << "nobody has this pid";
}

TEST_P(WorkerHandle, SeesThatAProcessIsStopped) {
  auto child = sleeper();
  const auto handle = open(child.pid());
  ASSERT_TRUE(handle);
  EXPECT_FALSE(handle->stopped());
  EXPECT_TRUE(handle->signal(SIGSTOP));
  EXPECT_TRUE(eventually([&] { return handle->stopped(); }));
  EXPECT_FALSE(handle->ended());
  EXPECT_TRUE(handle->signal(SIGCONT));
  EXPECT_TRUE(eventually([&] { return !handle->stopped(); }));
  child.end(1s);
  EXPECT_FALSE(handle->stopped());
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutPidfd, WorkerHandle, ::testing::Bool());

TEST(WorkerHandleOfNothing, HasEnded) {
  EXPECT_TRUE(worker_handle{}.ended());
  EXPECT_FALSE(worker_handle{}.signal(SIGTERM));
  EXPECT_FALSE(worker_handle{}.stopped());
}
