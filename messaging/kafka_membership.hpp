#pragma once

#include "messaging/consumer.hpp"

#include <librdkafka/rdkafka.h>

namespace ziyu::messaging {

/// A membership as librdkafka passes it on.
struct kafka_membership : group_membership {
  explicit kafka_membership(rd_kafka_consumer_group_metadata_t* x) : what(x) {}
  ~kafka_membership() override {
    if (what != nullptr)
      rd_kafka_consumer_group_metadata_destroy(what);
  }
  kafka_membership(const kafka_membership&) = delete;
  kafka_membership& operator=(const kafka_membership&) = delete;

  rd_kafka_consumer_group_metadata_t* what;
};

/// The member id that the coordinator has given to `consumer`; empty while it has none.
/// Thread-safe.
std::string member_name(rd_kafka_t* consumer);

/// The membership of `consumer` right now; null while it is no member of a group.
/// Thread-safe.
std::shared_ptr<const group_membership> membership_of(rd_kafka_t* consumer);

} // namespace ziyu::messaging
