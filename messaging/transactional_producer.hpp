#pragma once

#include "messaging/kafka_client.hpp"
#include "messaging/producer.hpp"

#include <functional>
#include <memory>
#include <vector>

namespace ziyu::messaging {

/// Who a consumer is in its group at one moment (group, generation, member): fences the
/// transaction of a member that is none any more (KIP-447). Opaque; may outlive its consumer.
class group_membership {
public:
  virtual ~group_membership() = default;
};

/// What a partition's committed offset becomes together with a transaction's records.
struct offset_commit {
  topic_partition where;
  int64_t next = 0;     ///< The first offset that is not done.
  std::string metadata; ///< Goes with it as it is; at most 4096 bytes.
};

/// Records and offsets that readers see all at once or not at all.
struct transaction {
  uint64_t id = 0; ///< Named in the report.
  std::vector<outgoing> records;
  /// At least one of them must differ from what is committed: after a failure that
  /// leaves the end open, the committed offsets tell how it ended.
  std::vector<offset_commit> offsets;
  std::shared_ptr<const group_membership> member;
};

enum class transaction_end : uint8_t {
  committed,
  aborted, ///< Nothing of it is visible to read-committed readers; it may be tried again.
  fenced,  ///< Aborted, and we are no longer who we were in the group: its work is not ours.
};
std::string_view to_string(transaction_end x) noexcept;

struct transaction_report {
  uint64_t id = 0;
  transaction_end end = transaction_end::aborted;
  error reason; ///< Unless committed.
  /// The record that can never be delivered as it is (`reason` is `job_too_large`).
  std::optional<size_t> culprit;
};

/// The port to a producer of one transaction at a time. Thread-safe.
class transactional_producer {
public:
  using report_handler = std::function<void(transaction_report)>;

  virtual ~transactional_producer() = default;

  /// Begins `x` without blocking. `queue_full`: one is under way. Exactly one report
  /// follows a success.
  virtual expected<void> submit(transaction x) = 0;
};

/// The steps of a transaction, each named before it is taken.
enum class transaction_step : uint8_t { begin, produce, send_offsets, commit, end };

struct transaction_settings {
  std::string group; ///< The consumer group whose offsets are committed.
  /// For each of: becoming a producer, delivery of all records, sending the offsets, the
  /// commit. Must be below the broker's `transaction.timeout.ms`, which ours is twice of.
  std::chrono::milliseconds limit{15'000};
  /// Called on the producer's thread before each step; for tests and traces.
  std::function<void(transaction_step)> on_step;
};

/// A producer that survives: after a fatal error, and after one that leaves open how a
/// commit ended (KIP-890 tells of both), it makes itself anew under the same
/// `transactional.id`, which ends the old transaction one way or the other, and then asks the
/// group's committed offsets which. `properties` need `transactional.id`. The report handler
/// is called on the producer's own thread, at the latest from the destructor (`aborted`).
expected<std::unique_ptr<transactional_producer>> make_transactional_producer(
  kafka_properties properties, transaction_settings settings,
  transactional_producer::report_handler on_report);

/// The membership of `consumer`, which must be a consumer in a group, right now.
std::shared_ptr<const group_membership> membership_of(rd_kafka_t* consumer);

} // namespace ziyu::messaging
