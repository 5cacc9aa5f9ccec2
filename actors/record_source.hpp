#pragma once

#include "messaging/consumer.hpp"

#include <functional>

namespace ziyu::actors {

/// Where a service's records come from, as its actors see it: what takes over their progress, and
/// leaves the consumer group in the end. Thread-safe.
class record_source {
public:
  virtual ~record_source() = default;

  /// Takes over what is to be committed; `errc::revoked` without a consumer. An
  /// `offsets_committed` to the dispatcher answers each commit.
  virtual expected<void> store(const messaging::topic_partition& where,
                               messaging::commit_point point) = 0;

  /// As `consumer::membership`; null without a consumer.
  virtual std::shared_ptr<const messaging::group_membership> membership(
    const std::map<messaging::topic_partition, uint64_t>& epochs) = 0;

  /// Commits what has been stored, within about `limit`. Does not block. `done` is called once, by
  /// any thread or before this returns: `errc::revoked` without a consumer.
  virtual void commit(std::chrono::milliseconds limit,
                      std::function<void(expected<void>)> done) = 0;

  /// Commits and leaves the group for good, within about `limit`. Does not block. `done` is called
  /// once, by any thread or before this returns: whether the limit was kept.
  virtual void close(std::chrono::milliseconds limit, std::function<void(bool)> done) = 0;
};

} // namespace ziyu::actors
