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

/// The delivery reports since the last transaction began.
struct report_book {
  std::optional<size_t> culprit;
  rd_kafka_resp_err_t why = RD_KAFKA_RESP_ERR_NO_ERROR;

  /// Called during a call of the writer.
  static void note(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
    auto& self = *static_cast<report_book*>(opaque);
    if (self.culprit || refusal_of(message->err) == refusal::none)
      return;
    self.culprit = static_cast<size_t>(reinterpret_cast<uintptr_t>(message->_private));
    self.why = message->err;
  }
};

class kafka_transactional_writer : public transactional_writer {
public:
  kafka_transactional_writer(kafka_ptr client, std::unique_ptr<report_book> reports)
    : reports_(std::move(reports)), client_(std::move(client)) {}

  ~kafka_transactional_writer() override {
    // Queued records must not be written any more.
    rd_kafka_purge(client_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  }

  tl::expected<void, failure> write(const std::vector<outgoing>& records,
                                    std::chrono::milliseconds limit) override {
    auto done = attempt(records, limit, false);
    // A batch that is too large is refused as if each of its records were too large.
    if (!done && done.error().culprit && done.error().reason.code == errc::job_too_large)
      done = attempt(records, limit, true);
    return done;
  }

private:
  tl::expected<void, failure> attempt(const std::vector<outgoing>& records,
                                      std::chrono::milliseconds limit, bool one_by_one) {
    const auto failed = [](error why, std::optional<size_t> which = {}) {
      return tl::unexpected<failure>(failure{std::move(why), which});
    };
    *reports_ = {};
    if (error_ptr broken{rd_kafka_begin_transaction(client_.get())})
      return failed(to_error(*broken, "begin of a transaction"));
    for (size_t i = 0; i < records.size() && !reports_->culprit; ++i) {
      const auto status = try_produce(client_.get(), records[i], i);
      if (status != RD_KAFKA_RESP_ERR_NO_ERROR) {
        // An earlier record may have failed the transaction: its report tells.
        const auto deadline = std::chrono::steady_clock::now() + limit;
        while (status == RD_KAFKA_RESP_ERR__STATE && !reports_->culprit
               && std::chrono::steady_clock::now() < deadline)
          rd_kafka_poll(client_.get(), 100);
        if (reports_->culprit)
          return culprit_of(records, limit);
        abort(limit);
        const auto alone = refusal_of(status) != refusal::none;
        return failed(messaging::to_error(status, "produce to " + records[i].topic),
                      alone ? std::optional{i} : std::nullopt);
      }
      if (one_by_one)
        rd_kafka_flush(client_.get(), static_cast<int>(limit.count()));
    }
    if (reports_->culprit)
      return culprit_of(records, limit);
    error_ptr broken{rd_kafka_commit_transaction(client_.get(), static_cast<int>(limit.count()))};
    if (!broken)
      return {};
    if (reports_->culprit)
      return culprit_of(records, limit);
    auto result = to_error(*broken, "commit of a transaction");
    if (rd_kafka_error_txn_requires_abort(broken.get()) != 0)
      abort(limit);
    return failed(std::move(result));
  }

  tl::expected<void, failure> culprit_of(const std::vector<outgoing>& records,
                                         std::chrono::milliseconds limit) {
    const auto found = *reports_;
    abort(limit);
    return tl::unexpected<failure>(
      failure{messaging::to_error(found.why, records.at(*found.culprit).topic), found.culprit});
  }

  void abort(std::chrono::milliseconds limit) {
    rd_kafka_purge(client_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    error_ptr{rd_kafka_abort_transaction(client_.get(), static_cast<int>(limit.count()))};
  }

  std::unique_ptr<report_book> reports_; ///< Outlives the client, which writes to it.
  kafka_ptr client_;
};

} // namespace

expected<std::unique_ptr<transactional_writer>> open_transactional_writer(
  kafka_properties properties, const std::string& id, std::chrono::milliseconds limit) {
  properties["enable.idempotence"] = "true";
  properties["acks"] = "all";
  properties["transactional.id"] = id;
  // If this process dies in the middle, readers of committed records wait so long.
  properties["transaction.timeout.ms"] = "30000";
  properties["message.timeout.ms"] = "30000";
  properties.erase("delivery.timeout.ms");
  properties.erase("socket.timeout.ms"); // librdkafka derives it from the transaction's timeout
  properties.insert({{"linger.ms", "5"},
                     {"client.id", "ziyu-dlq"},
                     {"batch.size", std::to_string(default_batch_bytes)}});
  auto conf = make_conf(properties);
  if (!conf)
    return tl::unexpected(conf.error());
  auto reports = std::make_unique<report_book>();
  rd_kafka_conf_set_opaque(conf->get(), reports.get());
  rd_kafka_conf_set_dr_msg_cb(conf->get(), report_book::note);
  char text[512];
  kafka_ptr client{rd_kafka_new(RD_KAFKA_PRODUCER, conf->get(), text, sizeof text)};
  if (!client)
    return fail(errc::invalid_config, std::string{"kafka producer: "} + text);
  conf->release();
  if (error_ptr failure{rd_kafka_init_transactions(client.get(), static_cast<int>(limit.count()))})
    return tl::unexpected(to_error(*failure, "transactions with the id " + id));
  return std::make_unique<kafka_transactional_writer>(std::move(client), std::move(reports));
}

} // namespace ziyu::messaging
