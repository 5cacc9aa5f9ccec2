#pragma once

#include "messaging/consumer.hpp"
#include "messaging/kafka_client.hpp"

#include <atomic>
#include <chrono>
#include <memory>

namespace ziyu::messaging {

/// True (after a short pause) for an error that may pass if the same call is made again before
/// `deadline`.
bool may_retry(const rd_kafka_error_t& failed, std::chrono::steady_clock::time_point deadline);

/// What is left until `deadline` for one call into librdkafka, in ms: at least 1.
int remaining(std::chrono::steady_clock::time_point deadline,
              std::chrono::milliseconds most = std::chrono::milliseconds::max());

/// Makes calls of `rd_kafka_send_offsets_to_transaction`, one after the other, on a thread of its
/// own. Up to librdkafka 2.14.2 such a call may ignore its timeout and block for as long as the
/// group's coordinator is away (its issue #5456). So the caller may stop waiting; the thread then
/// ends when the call returns. For one calling thread.
class offsets_caller {
public:
  struct call {
    std::shared_ptr<rd_kafka_t> client; ///< Released last.
    partition_list_ptr list;
    std::shared_ptr<const group_membership> member;
    std::chrono::steady_clock::time_point deadline;
  };

  /// @param stuck Counts the calls that were abandoned and have not returned.
  explicit offsets_caller(std::shared_ptr<std::atomic<int>> stuck);
  /// Does not wait for a call under way.
  ~offsets_caller();
  offsets_caller(const offsets_caller&) = delete;
  offsets_caller& operator=(const offsets_caller&) = delete;

  /// @pre No call is under way.
  void begin(call x);
  /// True when the call has returned.
  bool wait_for(std::chrono::milliseconds limit);
  /// The result of the call; null for success. @pre The call has returned.
  error_ptr take_answer();

private:
  struct state;
  std::shared_ptr<state> state_;
};

} // namespace ziyu::messaging
