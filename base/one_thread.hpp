#pragma once

#include "base/check.hpp"

#include <atomic>
#include <thread>

namespace ziyu {

/// For an object without locks, whose callers promise to use it from one thread: that of the first
/// `check`. Ends the process if they break the promise, also in release builds.
class one_thread {
public:
  /// @param promise As for `require`.
  void check(const char* promise) {
    std::thread::id owner{};
    const auto here = std::this_thread::get_id();
    require(owner_.compare_exchange_strong(owner, here) || owner == here, promise);
  }

private:
  std::atomic<std::thread::id> owner_{std::thread::id{}};
};

} // namespace ziyu
