#pragma once

#include "messaging/producer.hpp"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace ziyu::test {

/// Collects the delivery reports of a producer. Thread-safe.
class report_book {
public:
  messaging::producer::report_handler handler() {
    return [this](const std::vector<messaging::delivery_report>& x) {
      std::lock_guard guard{mutex_};
      reports_.insert(reports_.end(), x.begin(), x.end());
      changed_.notify_all();
    };
  }

  /// Waits for `count` reports, up to a generous limit; returns all so far.
  std::vector<messaging::delivery_report> wait_for(size_t count) {
    std::unique_lock guard{mutex_};
    changed_.wait_for(guard, std::chrono::seconds{60}, [&] { return reports_.size() >= count; });
    return reports_;
  }

  std::vector<messaging::delivery_report> all() { return wait_for(0); }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<messaging::delivery_report> reports_;
};

} // namespace ziyu::test
