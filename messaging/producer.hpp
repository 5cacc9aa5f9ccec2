#pragma once

#include "base/error.hpp"
#include "messaging/record.hpp"

#include <chrono>
#include <functional>
#include <vector>

namespace ziyu::messaging {

/// A record to produce. `token` names it in the delivery report.
struct outgoing {
  std::string topic;
  std::optional<std::string> key;
  std::optional<std::string> value; ///< Nothing for a tombstone.
  header_list headers;
  uint64_t token = 0;
  std::optional<int32_t> partition; ///< Nothing: chosen by the key.

  size_t bytes() const;
};

/// What a broker's refusal of a record applies to.
enum class refusal : uint8_t {
  none,   ///< No refusal, or another failure that a retry may mend.
  record, ///< This record; the topic may take others.
  topic,  ///< The whole topic at present: it is missing, forbidden or has no leader.
};

/// The outcome of an `outgoing`: acknowledged by all in-sync replicas, or not.
struct delivery_report {
  uint64_t token = 0;
  std::optional<error> failure;
  record_id where; ///< Only on success.
  refusal refused = refusal::none;
};

/// The port to an idempotent `acks=all` producer. Thread-safe.
class producer {
public:
  /// Gets the reports that have come together, in any order.
  using report_handler = std::function<void(std::vector<delivery_report>)>;

  /// May take seconds: each pending record gets its report before.
  virtual ~producer() = default;

  /// Queues `x` without blocking. Errors: `queue_full`: nothing was queued, try again after some
  /// reports; `kafka_fatal`: make a new producer; `kafka`: this record cannot be produced. Exactly
  /// one report follows a success.
  virtual expected<void> produce(const outgoing& x) = 0;
};

} // namespace ziyu::messaging
