// The faults that no other test injects, in a real worker.

#include "support/real_worker.hpp"

#include "supervision/memory_probe.hpp"

#include <gmock/gmock.h>

#include <csignal>
#include <fstream>

namespace ziyu {
namespace {

using test::real_worker;
using ::testing::AnyOf;
using ::testing::HasSubstr;

uint64_t private_bytes(const real_worker& x) {
  return supervision::read_process_memory(x.pid()).value().private_bytes;
}

TEST(Fault, FragmentGrowsPrivateMemoryWithoutALiveByteUntilItIsTrimmed) {
  real_worker worker;
  const auto image = test::digit();
  worker.run(image, 10);
  const auto before = private_bytes(worker);
  worker.assign("fragment:1MiB");
  EXPECT_EQ(worker.run(image, 20), 0);
  const auto hoarded = private_bytes(worker);
  EXPECT_GE(hoarded, before + 20 * (1 << 20));
  ASSERT_TRUE(wire::send_frame(worker.socket().get(), wire::trim{}));
  worker.expect<wire::trimmed>(worker.socket());
  EXPECT_LT(private_bytes(worker), before + (hoarded - before) / 4);
}

TEST(Fault, SlowLeakHitsEveryKthJob) {
  real_worker worker{"slow_leak:1MiB:3"};
  const auto image = test::digit();
  for (auto i = 1; i <= 9; ++i) {
    const auto delta = worker.run(image).delta_live;
    if (i % 3 == 0)
      EXPECT_GE(delta, 1 << 20) << i;
    else
      EXPECT_LT(delta, 1 << 20) << i;
  }
}

TEST(Fault, GarbageIsNoFrame) {
  real_worker worker{"garbage"};
  const auto x = wire::batch_of_one(1, 1, "", test::digit());
  ASSERT_TRUE(wire::send_frame(worker.socket().get(), x));
  const auto answer = wire::receive_frame(worker.socket().get(), real_worker::patience);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, errc::bad_frame);
}

TEST(Fault, GpuCacheIsRefusedWithoutAGpu) {
  if (std::filesystem::exists("/dev/nvidia0")) {
    // Where there is a GPU the cache grows, and the job succeeds.
    real_worker worker{"gpu_cache:1MiB"};
    EXPECT_THAT(worker.run(test::digit()).error_code, AnyOf("", "unavailable"));
    return;
  }
  real_worker worker{"gpu_cache:1MiB"};
  const auto answer = worker.run(test::digit());
  EXPECT_EQ(answer.error_code, "unavailable");
  EXPECT_THAT(answer.error_message, HasSubstr("no GPU"));
  worker.assign("");
  EXPECT_EQ(worker.run(test::digit()).error_code, "");
}

/// A memory cgroup (v1) below our own with a limit of 64 MiB; removed at the end.
class small_cgroup {
public:
  small_cgroup() {
    std::ifstream in{"/proc/self/cgroup"};
    for (std::string line; std::getline(in, line);)
      if (const auto at = line.find(":memory:"); at != std::string::npos) {
        path_ = "/sys/fs/cgroup/memory" + line.substr(at + 8) + "/ziyu-test-"
                + std::to_string(::getpid());
        std::error_code failed;
        usable_ = std::filesystem::create_directory(path_, failed)
                  && put("memory.limit_in_bytes", 64u << 20);
      }
  }
  ~small_cgroup() {
    if (!path_.empty())
      ::rmdir(path_.c_str());
  }
  small_cgroup(const small_cgroup&) = delete;

  bool adopt(int32_t pid) const { return usable_ && put("cgroup.procs", pid); }

private:
  bool put(const char* name, int64_t value) const {
    std::ofstream out{path_ / name};
    out << value << std::flush;
    return out.good();
  }
  std::filesystem::path path_;
  bool usable_ = false;
};

TEST(Fault, OomEndsThisWorkerAloneOrIsRefused) {
  small_cgroup group; // outlives the worker
  real_worker worker;
  const auto limited = group.adopt(worker.pid());
  worker.assign("oom");
  const auto x = wire::batch_of_one(1, 1, "", test::digit());
  ASSERT_TRUE(wire::send_frame(worker.socket().get(), x));
  const auto answer = wire::receive_frame(worker.socket().get(), real_worker::patience);
  if (answer) {
    // Nothing stands between the worker and the machine's memory.
    EXPECT_FALSE(limited);
    EXPECT_THAT(std::get<wire::result>(answer->content).answers.at(0).error_message,
                HasSubstr("refused"));
    return;
  }
  EXPECT_EQ(answer.error().code, errc::unavailable) << answer.error().describe();
  const auto news = worker.expect<wire::exited>(worker.control());
  EXPECT_EQ(news.pid, worker.pid());
  EXPECT_EQ(news.signal, SIGKILL);
}

} // namespace
} // namespace ziyu
