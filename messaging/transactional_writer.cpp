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

using clock = std::chrono::steady_clock;

/// What an abort may take beyond the limit of a write, as readers wait for it.
constexpr std::chrono::seconds abort_limit{10};

/// Transactions that one write may spend on skipped sequence numbers.
constexpr int max_skips = 3;

int remaining_ms(clock::time_point deadline) {
  using std::chrono::milliseconds;
  const auto left = std::chrono::duration_cast<milliseconds>(deadline - clock::now());
  return static_cast<int>(std::max(left, milliseconds{0}).count());
}

/// A record that was refused has spent a sequence number that no broker has seen. The next
/// record for its partition fails by it. The abort of that transaction begins a new epoch,
/// whose numbers begin anew.
bool skipped_numbers(rd_kafka_resp_err_t x) {
  return x == RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER
         || x == RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID;
}

/// What delivery reports have said since the last transaction began.
struct report_book {
  size_t outstanding = 0; ///< Records without a report.
  bool any_failed = false;
  std::optional<size_t> culprit;
  rd_kafka_resp_err_t why = RD_KAFKA_RESP_ERR_NO_ERROR;

  /// Called during a call of the writer.
  static void note(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
    auto& self = *static_cast<report_book*>(opaque);
    --self.outstanding;
    self.any_failed |= message->err != RD_KAFKA_RESP_ERR_NO_ERROR;
    if (self.culprit || refusal_of(message->err) == refusal::none)
      return;
    self.culprit = static_cast<size_t>(reinterpret_cast<uintptr_t>(message->_private));
    self.why = message->err;
  }
};

/// Another writer with the same id has taken over.
bool is_fenced(rd_kafka_resp_err_t x) {
  return x == RD_KAFKA_RESP_ERR__FENCED || x == RD_KAFKA_RESP_ERR_PRODUCER_FENCED
         || x == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

class kafka_transactional_writer : public transactional_writer {
public:
  /// @param properties All of the client's.
  kafka_transactional_writer(kafka_properties properties, std::string id)
    : properties_(std::move(properties)), id_(std::move(id)) {}

  ~kafka_transactional_writer() override { close(); }

  /// Makes the client. It ends the transaction that an earlier one with this id has left open.
  expected<void> open(std::chrono::milliseconds limit) {
    auto conf = make_conf(properties_);
    if (!conf)
      return tl::unexpected(conf.error());
    rd_kafka_conf_set_opaque(conf->get(), &reports_);
    rd_kafka_conf_set_dr_msg_cb(conf->get(), report_book::note);
    char text[512];
    kafka_ptr client{rd_kafka_new(RD_KAFKA_PRODUCER, conf->get(), text, sizeof text)};
    if (!client)
      return fail(errc::invalid_config, std::string{"kafka producer: "} + text);
    conf->release();
    if (error_ptr refused{
          rd_kafka_init_transactions(client.get(), static_cast<int>(limit.count()))})
      return tl::unexpected(not_opened(*refused));
    client_ = std::move(client);
    return {};
  }

  tl::expected<void, failure> write(const std::vector<outgoing>& records,
                                    std::chrono::milliseconds limit) override {
    if (!is_open())
      return tl::unexpected(failure{{errc::kafka_fatal, "the writer was closed by a failure"}, {}});
    const auto deadline = clock::now() + limit;
    for (int skips = 0;;) {
      auto failed = attempt(records, deadline);
      if (!failed) {
        one_by_one_ = false;
        return {};
      }
      const auto& why = failed->told;
      if (failed->skipped && ++skips <= max_skips)
        continue;
      // A batch that is too large is refused as if each of its records were.
      if (why.culprit && why.reason.code == errc::job_too_large
          && !std::exchange(one_by_one_, true))
        continue;
      return tl::unexpected(std::move(failed->told));
    }
  }

  bool is_open() const override { return client_ != nullptr; }

private:
  error not_opened(const rd_kafka_error_t& why) const {
    auto result = to_error(why, "transactions with the id " + id_);
    switch (rd_kafka_error_code(&why)) {
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
      result.code = errc::kafka;
      result.message += "; allow Describe and Write on it (kafka-acls --add --operation Describe "
                        "--operation Write --transactional-id "
                        + id_ + ")";
      break;
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
      result.code = errc::kafka;
      result.message += "; allow IdempotentWrite on the cluster (kafka-acls --add --operation "
                        "IdempotentWrite --cluster)";
      break;
    default: break;
    }
    return result;
  }

  /// Without waiting for records that are still queued: they must not be written any more.
  void close() {
    if (client_)
      rd_kafka_purge(client_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    client_.reset();
  }

  struct attempt_failure {
    failure told;
    bool skipped = false; ///< By sequence numbers only: it may go well the next time.
  };

  /// Nothing: all records are committed.
  std::optional<attempt_failure> attempt(const std::vector<outgoing>& records,
                                         clock::time_point deadline) {
    reports_ = {};
    if (error_ptr broken{rd_kafka_begin_transaction(client_.get())})
      return attempt_failure{{to_error(*broken, "begin of a transaction"), {}}};
    for (size_t i = 0; i < records.size(); ++i) {
      const auto status = try_produce(client_.get(), records[i], i);
      if (status == RD_KAFKA_RESP_ERR__STATE) // a record before it has failed the transaction
        return not_delivered(records);
      if (status != RD_KAFKA_RESP_ERR_NO_ERROR)
        return not_produced(status, records[i].topic, i);
      ++reports_.outstanding;
      if (one_by_one_ && !await_reports(deadline))
        return not_delivered(records);
    }
    // A commit would wait for records that no broker takes any more, behind a refused one.
    if (!await_reports(deadline))
      return not_delivered(records);
    error_ptr broken{rd_kafka_commit_transaction(client_.get(), remaining_ms(deadline))};
    if (!broken)
      return std::nullopt;
    attempt_failure result{{to_error(*broken, "commit of a transaction"), {}}};
    if (rd_kafka_error_txn_requires_abort(broken.get()) != 0)
      abort();
    return result;
  }

  /// Until each record has its report. False: one is not delivered, the transaction cannot be
  /// committed any more, or the time is up.
  bool await_reports(clock::time_point deadline) {
    while (reports_.outstanding > 0 && !reports_.culprit && clock::now() < deadline)
      if (rd_kafka_poll(client_.get(), 100) == 0 && why_broken())
        return false;
    return reports_.outstanding == 0 && !reports_.any_failed;
  }

  /// Why the transaction under way cannot be committed any more. The client tells that only in
  /// its answer to a call. Null: it still may be committed.
  error_ptr why_broken() {
    error_ptr answer{rd_kafka_begin_transaction(client_.get())};
    if (answer && rd_kafka_error_txn_requires_abort(answer.get()) == 0
        && rd_kafka_error_is_fatal(answer.get()) == 0)
      answer.reset(); // "not now", as one is under way
    return answer;
  }

  attempt_failure not_delivered(const std::vector<outgoing>& records) {
    const auto why = why_broken();
    const auto aborted = abort(); // serves the reports that are still to come
    if (reports_.culprit)
      return {
        {messaging::to_error(reports_.why, records.at(*reports_.culprit).topic), reports_.culprit}};
    if (!why)
      return {{{errc::unavailable, "the records of a transaction were not delivered in time"}, {}}};
    return {{to_error(*why, "a transaction"), {}},
            aborted && skipped_numbers(rd_kafka_error_code(why.get()))};
  }

  attempt_failure not_produced(rd_kafka_resp_err_t status, const std::string& topic, size_t which) {
    abort();
    attempt_failure result{{messaging::to_error(status, "produce to " + topic), {}}};
    if (refusal_of(status) != refusal::none)
      result.told.culprit = which;
    return result;
  }

  /// True when the transaction was aborted in good order. Otherwise the client is of no use any
  /// more: an abort is fatal to it if the broker knows of no transaction, since it refused the
  /// first partition.
  bool abort() {
    const auto deadline = clock::now() + abort_limit;
    rd_kafka_purge(client_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    while (reports_.outstanding > 0 && clock::now() < deadline)
      rd_kafka_poll(client_.get(), 100);
    const error_ptr broken{rd_kafka_abort_transaction(client_.get(), remaining_ms(deadline))};
    if (!broken)
      return true;
    char text[512];
    if (!is_fenced(rd_kafka_error_code(broken.get()))
        && !is_fenced(rd_kafka_fatal_error(client_.get(), text, sizeof text)))
      close();
    return false;
  }

  kafka_properties properties_;
  std::string id_;
  report_book reports_; ///< Outlives the client, which writes to it.
  kafka_ptr client_;    ///< Null: of no use any more.
  /// A batch was refused for its size, and nothing was committed since.
  bool one_by_one_ = false;
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
  auto writer = std::make_unique<kafka_transactional_writer>(std::move(properties), id);
  if (auto opened = writer->open(limit); !opened)
    return tl::unexpected(opened.error());
  return writer;
}

} // namespace ziyu::messaging
