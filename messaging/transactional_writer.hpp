#pragma once

#include "messaging/kafka_client.hpp"
#include "messaging/producer.hpp"

namespace ziyu::messaging {

/// Writes records in transactions: all records of a call or none, also when the process dies in the
/// middle. Opening a second writer with the same id ends the first one. Not thread-safe.
class transactional_writer {
public:
  virtual ~transactional_writer() = default;

  struct failure {
    error reason;
    /// Index of the record that its topic does not take. The others may be written without it.
    std::optional<size_t> culprit;
  };

  /// Waits until all records are committed. Errors: `kafka_fatal`: another writer with this id took
  /// over, or the client is unusable; `timeout`: it is not known whether they were committed; any
  /// other: nothing was committed. Then, as long as the writer `is_open`, the next call may
  /// succeed.
  virtual tl::expected<void, failure> write(const std::vector<outgoing>& records,
                                            std::chrono::milliseconds limit) = 0;

  /// False after a failure that leaves the client unusable though no other writer has taken over: a
  /// topic may not be written to, say. Another writer with this id may have come and gone since, so
  /// read what is committed before you write with a new one.
  virtual bool is_open() const = 0;
};

/// Opens a writer and ends the transaction that an earlier writer with this id has left open.
/// `unavailable` when no broker answers within `limit`, `kafka` when the id is forbidden.
expected<std::unique_ptr<transactional_writer>> open_transactional_writer(
  kafka_properties properties, const std::string& id, std::chrono::milliseconds limit);

} // namespace ziyu::messaging
