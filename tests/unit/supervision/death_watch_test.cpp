#include "supervision/death_watch.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <future>
#include <optional>

#include <sys/wait.h>
#include <unistd.h>

namespace ziyu::supervision {

namespace {

constexpr auto patience = std::chrono::minutes{1};

/// A child that holds a life line and then does nothing. It is killed and reaped at the end.
class holder {
public:
  holder() : line_(std::move(*wire::life_line::make())) {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      auto own = wire::life_line::attach(unique_fd{::dup(line_->page())});
      own->hold();
      [[maybe_unused]] auto n = ::write(ready[1], "x", 1);
      for (;;)
        ::pause();
    }
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~holder() {
    end();
    ::waitpid(pid_, nullptr, 0);
  }
  void end() const { ::kill(pid_, SIGKILL); }
  wire::life_line take() { return std::move(*std::exchange(line_, std::nullopt)); }

private:
  std::optional<wire::life_line> line_;
  pid_t pid_ = 0;
};

} // namespace

TEST(DeathWatch, TellsOnceThatAWorkerEnds) {
  if (const auto trouble = death_watch::trouble(); !trouble.empty())
    GTEST_SKIP() << "futex_waitv is refused: " << trouble;
  std::promise<void> first, second;
  std::atomic<int> calls = 0;
  holder a, b;
  death_watch aut;
  aut.watch(1, a.take(), [&] { ++calls, first.set_value(); });
  aut.watch(2, b.take(), [&] { ++calls, second.set_value(); });
  EXPECT_EQ(calls, 0);
  b.end();
  ASSERT_EQ(second.get_future().wait_for(patience), std::future_status::ready);
  EXPECT_EQ(calls, 1) << "the other one lives";
  a.end();
  ASSERT_EQ(first.get_future().wait_for(patience), std::future_status::ready);
  EXPECT_EQ(calls, 2);
}

TEST(DeathWatch, NoticesWhoHoldsItsLineLaterAndWhoHasEndedBefore) {
  if (const auto trouble = death_watch::trouble(); !trouble.empty())
    GTEST_SKIP() << "futex_waitv is refused: " << trouble;
  std::promise<void> late, early;
  death_watch aut;
  holder ended;
  ended.end();
  aut.watch(1, ended.take(), [&] { early.set_value(); });
  auto line = std::move(*wire::life_line::make());
  auto held = std::move(*wire::life_line::attach(unique_fd{::dup(line.page())}));
  aut.watch(2, std::move(line), [&] { late.set_value(); });
  std::thread{[&] { held.hold(); }}.join(); // a thread's end breaks it, too
  ASSERT_EQ(early.get_future().wait_for(patience), std::future_status::ready);
  ASSERT_EQ(late.get_future().wait_for(patience), std::future_status::ready);
}

TEST(DeathWatch, TellsNothingOfAWorkerThatIsForgotten) {
  if (const auto trouble = death_watch::trouble(); !trouble.empty())
    GTEST_SKIP() << "futex_waitv is refused: " << trouble;
  std::atomic<int> calls = 0;
  std::promise<void> last;
  holder a, b;
  death_watch aut;
  aut.watch(1, a.take(), [&] { ++calls; });
  aut.forget(1);
  aut.watch(2, b.take(), [&] { last.set_value(); });
  a.end();
  b.end();
  ASSERT_EQ(last.get_future().wait_for(patience), std::future_status::ready);
  EXPECT_EQ(calls, 0);
}

TEST(DeathWatch, EndsWhileWorkersLive) {
  holder a;
  death_watch aut;
  aut.watch(1, a.take(), [] { ADD_FAILURE() << "it has not ended"; });
  aut.forget(2); // not known
}

} // namespace ziyu::supervision
