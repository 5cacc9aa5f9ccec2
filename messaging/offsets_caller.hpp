#pragma once

#include "messaging/consumer.hpp"
#include "messaging/kafka_client.hpp"

#include <atomic>
#include <chrono>
#include <memory>

namespace ziyu::messaging {

/// True (after a moment) for an error that the same call, made again before `deadline`, may not
/// meet.
bool may_retry(const rd_kafka_error_t& failed, std::chrono::steady_clock::time_point deadline);

/// What is left until `deadline` for one call into librdkafka, in ms: at least 1.
int remaining(std::chrono::steady_clock::time_point deadline,
              std::chrono::milliseconds most = std::chrono::milliseconds::max());

/// Calls of `rd_kafka_send_offsets_to_transaction`, one after the other, on a thread of its own.
/// Up to librdkafka 2.14.2 such a call may ignore its timeout and stay for as long as the
/// group's coordinator is away (its issue #5456): who waits may leave, and then the thread ends
/// when its call comes back. For one thread.
class offsets_caller {
public:
  struct call {
    std::shared_ptr<rd_kafka_t> client; ///< Goes last.
    partition_list_ptr list;
    std::shared_ptr<const group_membership> member;
    std::chrono::steady_clock::time_point deadline;
  };

  /// @param stuck Counts the calls that were left and have not come back.
  explicit offsets_caller(std::shared_ptr<std::atomic<int>> stuck);
  /// Waits for nothing.
  ~offsets_caller();
  offsets_caller(const offsets_caller&) = delete;
  offsets_caller& operator=(const offsets_caller&) = delete;

  /// @pre No call is under way.
  void begin(call x);
  /// True when the call has come back.
  bool wait_for(std::chrono::milliseconds limit);
  /// What it came back with; null if all went well. @pre It has.
  error_ptr take_answer();

private:
  struct state;
  std::shared_ptr<state> state_;
};

} // namespace ziyu::messaging
