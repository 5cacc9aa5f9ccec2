#include "messaging/transactional_writer.hpp"

namespace ziyu::messaging {

namespace {

error to_error(const rd_kafka_error_t& x, const std::string& what) {
  auto result = messaging::to_error(rd_kafka_error_code(&x), what);
  result.message = what + ": " + rd_kafka_error_string(&x);
  if (rd_kafka_error_is_fatal(&x) != 0)
    result.code = errc::kafka_fatal;
  return result;
}

class kafka_transactional_writer : public transactional_writer {
public:
  explicit kafka_transactional_writer(kafka_ptr client) : client_(std::move(client)) {}

  ~kafka_transactional_writer() override {
    // What is still queued is not to be written any more.
    rd_kafka_purge(client_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  }

  expected<void> write(const std::vector<outgoing>& records,
                       std::chrono::milliseconds limit) override {
    if (error_ptr failure{rd_kafka_begin_transaction(client_.get())})
      return tl::unexpected(to_error(*failure, "begin of a transaction"));
    for (const auto& x : records)
      if (auto ok = produce_record(client_.get(), x, 0); !ok) {
        abort(limit);
        return ok;
      }
    error_ptr failure{rd_kafka_commit_transaction(client_.get(), static_cast<int>(limit.count()))};
    if (!failure)
      return {};
    auto result = to_error(*failure, "commit of a transaction");
    if (rd_kafka_error_txn_requires_abort(failure.get()) != 0)
      abort(limit);
    return tl::unexpected(std::move(result));
  }

private:
  void abort(std::chrono::milliseconds limit) {
    error_ptr{rd_kafka_abort_transaction(client_.get(), static_cast<int>(limit.count()))};
  }

  kafka_ptr client_;
};

} // namespace

expected<std::unique_ptr<transactional_writer>> open_transactional_writer(
  kafka_properties properties, const std::string& id, std::chrono::milliseconds limit) {
  properties["enable.idempotence"] = "true";
  properties["acks"] = "all";
  properties["transactional.id"] = id;
  // If we die in the middle, readers of committed records wait so long.
  properties["transaction.timeout.ms"] = "30000";
  properties["message.timeout.ms"] = "30000";
  properties.erase("delivery.timeout.ms");
  properties.insert({{"linger.ms", "5"}, {"client.id", "ziyu-dlq"}});
  auto conf = make_conf(properties);
  if (!conf)
    return tl::unexpected(conf.error());
  char text[512];
  kafka_ptr client{rd_kafka_new(RD_KAFKA_PRODUCER, conf->get(), text, sizeof text)};
  if (!client)
    return fail(errc::invalid_config, std::string{"kafka producer: "} + text);
  conf->release();
  if (error_ptr failure{rd_kafka_init_transactions(client.get(), static_cast<int>(limit.count()))})
    return tl::unexpected(to_error(*failure, "transactions with the id " + id));
  return std::make_unique<kafka_transactional_writer>(std::move(client));
}

} // namespace ziyu::messaging
