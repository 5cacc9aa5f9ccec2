#include "messaging/offsets_caller.hpp"

#include "messaging/kafka_membership.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace ziyu::messaging {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

error_ptr make(const offsets_caller::call& x) {
  const auto& who = dynamic_cast<const kafka_membership&>(*x.member);
  error_ptr failed;
  do
    failed.reset(rd_kafka_send_offsets_to_transaction(x.client.get(), x.list.get(), who.what,
                                                      remaining(x.deadline)));
  while (failed && may_retry(*failed, x.deadline));
  return failed;
}

} // namespace

bool may_retry(const rd_kafka_error_t& failed, clock::time_point deadline) {
  if (rd_kafka_error_is_retriable(&failed) == 0 || clock::now() + 50ms > deadline)
    return false;
  std::this_thread::sleep_for(50ms);
  return true;
}

int remaining(clock::time_point deadline, std::chrono::milliseconds most) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock::now());
  return static_cast<int>(std::clamp(left, 1ms, most).count());
}

struct offsets_caller::state {
  explicit state(std::shared_ptr<std::atomic<int>> counter) : stuck(std::move(counter)) {}

  void run() {
    std::unique_lock guard{mutex};
    for (;;) {
      changed.wait(guard, [this] { return ending || next; });
      if (!next)
        return;
      auto work = std::move(*next);
      next.reset();
      guard.unlock();
      auto failed = make(work);
      // Before the answer: its receiver may end the client.
      work.list.reset();
      work.client.reset();
      guard.lock();
      under_way = false;
      answer = std::move(failed);
      changed.notify_all();
      if (left) {
        --*stuck;
        return;
      }
    }
  }

  const std::shared_ptr<std::atomic<int>> stuck;
  std::mutex mutex; ///< Guards the rest.
  std::condition_variable changed;
  std::optional<call> next;
  error_ptr answer;
  bool under_way = false, ending = false, left = false;
};

offsets_caller::offsets_caller(std::shared_ptr<std::atomic<int>> stuck)
  : state_(std::make_shared<state>(std::move(stuck))) {
  std::thread{[state = state_] { state->run(); }}.detach();
}

offsets_caller::~offsets_caller() {
  std::lock_guard guard{state_->mutex};
  state_->ending = true;
  if (state_->under_way) {
    state_->left = true;
    ++*state_->stuck;
  }
  state_->changed.notify_all();
}

void offsets_caller::begin(call x) {
  std::lock_guard guard{state_->mutex};
  state_->next = std::move(x);
  state_->under_way = true;
  state_->changed.notify_all();
}

bool offsets_caller::wait_for(std::chrono::milliseconds limit) {
  std::unique_lock guard{state_->mutex};
  return state_->changed.wait_for(guard, limit, [this] { return !state_->under_way; });
}

error_ptr offsets_caller::take_answer() {
  std::lock_guard guard{state_->mutex};
  return std::move(state_->answer);
}

} // namespace ziyu::messaging
