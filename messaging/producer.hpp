#pragma once

#include "base/error.hpp"
#include "messaging/record.hpp"

#include <chrono>
#include <functional>

namespace ziyu::messaging {

/// A record to produce. `token` names it in the delivery report.
struct outgoing {
  std::string topic;
  std::optional<std::string> key;
  std::optional<std::string> value; ///< Nothing for a tombstone.
  header_list headers;
  uint64_t token = 0;
  std::optional<int32_t> partition; ///< Nothing: by the key.

  size_t bytes() const;
};

/// How far it reaches that a broker did not take a record.
enum class refusal : uint8_t {
  none,   ///< No refusal, or the surroundings are to blame: a retry may mend it.
  record, ///< This record: others of its topic may be taken.
  topic,  ///< Its topic takes none at present: it is missing, forbidden or has no leader.
};

/// What became of an `outgoing`: acknowledged by all in-sync replicas, or not.
struct delivery_report {
  uint64_t token = 0;
  std::optional<error> failure;
  record_id where; ///< Only on success.
  refusal refused = refusal::none;
};

/// The port to an idempotent `acks=all` producer. Thread-safe.
class producer {
public:
  using report_handler = std::function<void(delivery_report)>;

  /// May take seconds: each record that is pending gets its report before.
  virtual ~producer() = default;

  /// Queues `x` without blocking. `errc::queue_full`: nothing was queued, try
  /// again after some reports; `kafka_fatal`: re-create the producer; `kafka`:
  /// this record cannot be produced. Exactly one report follows a success.
  virtual expected<void> produce(const outgoing& x) = 0;

  /// Waits until every report has been handed out, up to `limit`.
  virtual expected<void> flush(std::chrono::milliseconds limit) = 0;
};

} // namespace ziyu::messaging
