#pragma once

#include "messaging/kafka_client.hpp"

#include <gtest/gtest.h>

namespace ziyu::e2e {

/// An open transaction: the broker has its records, in one partition, and nobody has ended it.
class open_transaction {
public:
  open_transaction(messaging::kafka_properties properties, const std::string& id,
                   const std::vector<messaging::outgoing>& records) {
    properties["transactional.id"] = id;
    auto conf = messaging::make_conf(properties);
    EXPECT_TRUE(conf) << conf.error().describe();
    char text[512];
    client_.reset(rd_kafka_new(RD_KAFKA_PRODUCER, conf->release(), text, sizeof text));
    EXPECT_TRUE(client_) << text;
    need(rd_kafka_init_transactions(client_.get(), limit_ms));
    need(rd_kafka_begin_transaction(client_.get()));
    for (const auto& x : records) {
      const auto taken = messaging::produce_record(client_.get(), x, 0);
      EXPECT_TRUE(taken) << taken.error().describe();
    }
    EXPECT_EQ(rd_kafka_flush(client_.get(), limit_ms), RD_KAFKA_RESP_ERR_NO_ERROR);
  }

  void commit() { need(rd_kafka_commit_transaction(client_.get(), limit_ms)); }
  void abort() { need(rd_kafka_abort_transaction(client_.get(), limit_ms)); }

private:
  static constexpr int limit_ms = 30'000;

  static void need(rd_kafka_error_t* x) {
    const messaging::error_ptr failure{x};
    EXPECT_FALSE(failure) << rd_kafka_error_string(failure.get());
  }

  messaging::kafka_ptr client_;
};

} // namespace ziyu::e2e
