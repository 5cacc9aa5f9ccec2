#pragma once

#include "actors/record_source.hpp"

#include <utility>

namespace ziyu::test {

/// A source of records without a consumer: progress goes to a function, and there is nothing to
/// commit or to close.
class progress_source : public actors::record_source {
public:
  using taker = std::function<expected<void>(const messaging::topic_partition& where,
                                             const messaging::commit_point& point)>;

  explicit progress_source(taker take) : take_(std::move(take)) {}

  expected<void> store(const messaging::topic_partition& where,
                       messaging::commit_point point) override {
    return take_(where, point);
  }
  std::shared_ptr<const messaging::group_membership> membership(
    const std::map<messaging::topic_partition, uint64_t>&) override {
    return nullptr;
  }
  void commit(std::chrono::milliseconds, std::function<void(expected<void>)> done) override {
    done({});
  }
  void close(std::chrono::milliseconds, std::function<void(bool)> done) override { done(true); }

private:
  taker take_;
};

} // namespace ziyu::test
