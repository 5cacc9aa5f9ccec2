#pragma once

#include "messaging/consumer.hpp"
#include "messaging/producer.hpp"

#include <functional>
#include <memory>
#include <vector>

namespace ziyu::messaging {

/// The offset to commit for a partition together with a transaction's records.
struct offset_commit {
  topic_partition where;
  int64_t next = 0; ///< The first offset that is not done.
  /// A map, or nothing; the transaction's mark is added (offset_map.hpp).
  std::string metadata;
  int32_t leader_epoch = -1; ///< As in `commit_point`.
};

/// Records and offsets that readers see all at once or not at all.
struct transaction {
  uint64_t id = 0; ///< Named in the report.
  std::vector<outgoing> records;
  /// Their metadata carries the transaction's mark. After a failure that leaves the end unknown,
  /// the committed offsets tell how the transaction ended.
  std::vector<offset_commit> offsets;
  std::shared_ptr<const group_membership> member;
};

enum class transaction_end : uint8_t {
  committed,
  aborted, ///< Nothing of it is visible to read-committed readers; it may be tried again.
  fenced,  ///< Aborted, and our group membership is no longer valid: its work is not ours any more.
};
std::string_view to_string(transaction_end x) noexcept;

struct transaction_report {
  uint64_t id = 0;
  transaction_end end = transaction_end::aborted;
  error reason; ///< Unless committed.
  /// Index of the record that can never be delivered as it is.
  std::optional<size_t> culprit;
  /// `topic`: the topic of the culprit, or, without a culprit, one of the topics takes no records.
  refusal refused = refusal::none;
  /// The broker refused the maps (`offset.metadata.max.bytes`): offsets were committed without.
  bool without_maps = false;
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

} // namespace ziyu::messaging
