#pragma once

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace ziyu::messaging {

/// Wakes the thread that waits for it, from any thread.
class doorbell {
public:
  doorbell() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~doorbell() { ::close(fd_); }
  doorbell(const doorbell&) = delete;
  doorbell& operator=(const doorbell&) = delete;

  void ring() { [[maybe_unused]] auto n = ::write(fd_, &one, sizeof one); }
  /// The queue rings when it is no longer empty.
  void ring_for(rd_kafka_queue_t* queue) {
    rd_kafka_queue_io_event_enable(queue, fd_, &one, sizeof one);
  }
  void wait(std::chrono::milliseconds limit) {
    pollfd entry{fd_, POLLIN, 0};
    ::poll(&entry, 1, static_cast<int>(std::max<int64_t>(limit.count(), 0)));
  }
  void reset() {
    uint64_t count = 0;
    [[maybe_unused]] auto n = ::read(fd_, &count, sizeof count);
  }

private:
  static constexpr uint64_t one = 1;
  int fd_;
};

} // namespace ziyu::messaging
