#pragma once

#include "actors/http_request.hpp"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace ziyu::actors {

/// A thread that answers requests. All requests that are waiting share one round of questions to
/// the actors: each waits for two rounds at most.
class http_desk {
public:
  using batch = std::vector<std::pair<uint64_t, http_request>>;

  explicit http_desk(std::function<void(const batch&)> serve)
    : serve_(std::move(serve)), thread_([this] { run(); }) {
    // nop
  }

  ~http_desk() { stop(); }

  /// At most as many wait here as the front has connections.
  void put(uint64_t id, http_request x) {
    std::lock_guard guard{mutex_};
    waiting_.emplace_back(id, std::move(x));
    changed_.notify_one();
  }

  void stop() {
    {
      std::lock_guard guard{mutex_};
      stopping_ = true;
      changed_.notify_one();
    }
    if (thread_.joinable())
      thread_.join();
  }

private:
  void run() {
    for (;;) {
      batch next;
      {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        if (stopping_)
          return;
        next.swap(waiting_);
      }
      serve_(next);
    }
  }

  std::function<void(const batch&)> serve_;
  std::mutex mutex_;
  std::condition_variable changed_;
  batch waiting_;
  bool stopping_ = false;
  std::thread thread_;
};

} // namespace ziyu::actors
