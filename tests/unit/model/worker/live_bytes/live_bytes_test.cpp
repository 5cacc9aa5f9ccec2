#include "model/worker/live_bytes.hpp"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <thread>
#include <vector>

namespace ziyu::worker {
namespace {

constexpr int64_t block = 1 << 20;

/// What `block` bytes more are to the counters; nothing without jemalloc.
const int64_t counted = jemalloc_version().empty() ? 0 : block;

/// Opaque, so that no allocation is optimised away.
char* volatile last;

std::unique_ptr<char[]> take_block() {
  auto result = std::make_unique<char[]>(block);
  last = result.get();
  return result;
}

TEST(MemoryCounters, CountThisThreadToTheByte) {
  const memory_counters counters;
  const auto before = counters.live();
  auto held = take_block();
  EXPECT_EQ(counters.live() - before, counted);
  held.reset();
  EXPECT_EQ(counters.live(), before);
}

TEST(MemoryCounters, ForgetThreadsThatLeaveNothingBehind) {
  const memory_counters counters;
  std::thread{[] { take_block(); }}.join(); // what is cached once
  const auto before = counters.live();
  for (auto i = 0; i < 20; ++i) {
    std::thread{[] {
      thread_local auto cache = take_block(); // freed when the thread ends
      take_block();
    }}.join();
    EXPECT_EQ(counters.live(), before) << i;
  }
}

TEST(MemoryCounters, RememberWhatEndedThreadsLeftBehind) {
  const memory_counters counters;
  std::thread{[] { take_block(); }}.join();
  const auto before = counters.live();
  std::unique_ptr<char[]> left;
  std::thread{[&] { left = take_block(); }}.join();
  EXPECT_EQ(counters.live() - before, counted);
  left.reset(); // freed by another thread than took it
  EXPECT_EQ(counters.live(), before);
}

TEST(MemoryCounters, CountThreadsThatStillRun) {
  const memory_counters counters;
  std::thread{[] { take_block(); }}.join();
  const auto before = counters.live();
  std::promise<void> end;
  std::vector<std::thread> threads;
  auto ended = end.get_future().share();
  for (auto i = 0; i < 5; ++i) {
    std::promise<void> filled;
    auto is_full = filled.get_future();
    threads.emplace_back([&, ended, promise = std::move(filled)]() mutable {
      auto held = take_block();
      promise.set_value();
      ended.wait();
    });
    is_full.wait();
  }
  const auto grown = counters.live() - before;
  EXPECT_GE(grown, 5 * counted);
  EXPECT_LE(grown, 5 * counted + 16 * 1024) << "beside the threads' own state";
  end.set_value();
  for (auto& thread : threads)
    thread.join();
}

} // namespace
} // namespace ziyu::worker
