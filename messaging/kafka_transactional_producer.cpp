#include "messaging/kafka_transactional_producer.hpp"

#include "base/log.hpp"
#include "messaging/committed_offsets.hpp"
#include "messaging/kafka_defaults.hpp"
#include "messaging/kafka_membership.hpp"
#include "messaging/offset_map.hpp"
#include "messaging/offsets_caller.hpp"
#include "messaging/topic_check.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

namespace ziyu::messaging {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// How long a stop waits for one answer.
constexpr auto stop_limit = 1s;

/// The length of one call into librdkafka. Calls are repeated, so that a stop is noticed.
constexpr auto slice = 500ms;

/// How long a topic may be silent while others take their records.
constexpr auto topic_patience = 5s;

/// Bound for clients whose call did not return at its timeout, since the group's coordinator is
/// away.
constexpr int max_stuck_calls = 8;

/// True for a group coordinator's answers that it does not know us any more.
bool is_fencing(rd_kafka_resp_err_t x) {
  return x == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION || x == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID
         || x == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID
         || x == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
}

/// How a step failed.
struct step_failure {
  enum class severity : uint8_t {
    none,       ///< The transaction was not begun.
    abort,      ///< The transaction must be, and can be, aborted.
    indefinite, ///< Its end is not known: only a new producer can find out.
    stuck,      ///< Aborted, but the client is unusable: the next one ends it.
  } how;
  error reason;
  bool fenced = false;
  std::optional<size_t> culprit{}; ///< The record that can never be delivered.
  refusal refused = refusal::none; ///< As in the report.
  bool map_refused = false;        ///< The broker takes less metadata than a map needs.
};

/// Distinguishes this producer's transactions from all others, also from those of earlier
/// processes.
std::string random_mark() {
  std::random_device device;
  char text[17];
  std::snprintf(text, sizeof text, "%08x%08x", device(), device());
  return text;
}

using step_result = std::optional<step_failure>; ///< Empty: success.

class kafka_transactional_producer : public transactional_producer {
public:
  kafka_transactional_producer(kafka_properties properties, transaction_settings settings,
                               report_handler on_report)
    : properties_(std::move(properties)), settings_(std::move(settings)),
      on_report_(std::move(on_report)), thread_([this] { run(); }) {
    // nop
  }

  ~kafka_transactional_producer() override {
    {
      std::lock_guard guard{mutex_};
      stopping_ = true;
      stopped_at_ = clock::now();
    }
    changed_.notify_all();
    thread_.join();
  }

  expected<void> submit(transaction x) override {
    std::lock_guard guard{mutex_};
    if (next_ || busy_)
      return fail(errc::queue_full, "a transaction is under way");
    next_ = std::move(x);
    changed_.notify_all();
    return {};
  }

private:
  void run() {
    prepare();
    for (;;) {
      transaction work;
      {
        std::unique_lock guard{mutex_};
        changed_.wait(guard, [this] { return stopping_ || next_; });
        if (!next_)
          break;
        work = std::move(*next_);
        next_.reset();
        busy_ = true;
      }
      const auto was_ready = client_ != nullptr;
      auto report = process(work);
      {
        std::lock_guard guard{mutex_};
        busy_ = false;
      }
      on_report_(std::move(report));
      if (was_ready && !client_ && !stopping())
        prepare();
    }
    close();
  }

  /// Makes a client at once, not with the next transaction. A new client ends the transaction that
  /// an earlier client of this id left open, which nobody can read past.
  void prepare() {
    if (auto ok = ensure_client(); !ok)
      spdlog::warn("{}; trying again with the next transaction", ok.error().describe());
  }

  bool stopping() {
    std::lock_guard guard{mutex_};
    return stopping_;
  }

  /// `deadline`, but earlier for a stop.
  clock::time_point cut(clock::time_point deadline) {
    std::lock_guard guard{mutex_};
    return stopping_ ? std::min(deadline, stopped_at_ + stop_limit) : deadline;
  }

  // -- one transaction --------------------------------------------------------------

  transaction_report process(const transaction& x) {
    transaction_report report;
    report.id = x.id;
    if (auto ok = ensure_client(); !ok) {
      report.reason = ok.error();
      return report;
    }
    auto failure = look_at_topics(x);
    if (!failure)
      failure = attempt_or_abort(x);
    if (failure && failure->map_refused && failure->how == step_failure::severity::abort
        && !std::exchange(without_maps_, true))
      failure = attempt_or_abort(x);
    report.without_maps = without_maps_;
    if (!failure) {
      report.end = transaction_end::committed;
      return report;
    }
    report.reason = failure->reason;
    report.culprit = failure->culprit;
    report.refused = failure->refused;
    writable_.clear();
    report.end = failure->fenced ? transaction_end::fenced : transaction_end::aborted;
    if (failure->how == step_failure::severity::stuck)
      close();
    if (failure->how == step_failure::severity::indefinite) {
      spdlog::warn("it is not known how a transaction ended, a new producer will find out: {}",
                   failure->reason.describe());
      close();
      resolve(x, report);
    }
    return report;
  }

  step_result attempt_or_abort(const transaction& x) {
    auto failure = attempt(x);
    if (failure && failure->how == step_failure::severity::abort)
      failure->how = abort();
    return failure;
  }

  step_result attempt(const transaction& x) {
    mark_ = producer_mark_ + '.' + std::to_string(++number_);
    step(transaction_step::begin);
    if (error_ptr failed{rd_kafka_begin_transaction(client_.get())})
      return broken(*failed, "begin a transaction");
    step(transaction_step::produce);
    if (auto failed = produce(x))
      return failed;
    step(transaction_step::send_offsets);
    if (auto failed = send_offsets(x))
      return failed;
    step(transaction_step::commit);
    if (auto failed = commit())
      return failed;
    step(transaction_step::end);
    return {};
  }

  /// Before a topic is written to for the first time, and again after a failure: a record for a
  /// topic that takes none would delay all others of its transaction.
  step_result look_at_topics(const transaction& x) {
    for (size_t i = 0; i < x.records.size(); ++i) {
      const auto& topic = x.records[i].topic;
      if (writable_.contains(topic))
        continue;
      if (auto why = unwritable(client_.get(), topic, cut(clock::now() + settings_.limit / 3)))
        return step_failure{step_failure::severity::none, std::move(*why), false, i,
                            refusal::topic};
      writable_.insert(topic);
    }
    return {};
  }

  /// Hands all records to librdkafka and waits until each is delivered.
  step_result produce(const transaction& x) {
    const auto begun = clock::now();
    const auto deadline = begun + settings_.limit;
    size_t i = 0;
    outstanding_ = 0;
    may_come_late_ = false;
    ++serial_;
    std::vector<bool> delivered(x.records.size());
    while (i < x.records.size() || outstanding_ > 0) {
      while (i < x.records.size()) {
        const auto status = try_produce(client_.get(), x.records[i], tag(i));
        if (status == RD_KAFKA_RESP_ERR_NO_ERROR) {
          ++i;
          ++outstanding_;
        } else if (status == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
          break; // reports make room
        } else {
          return undeliverable(status, x.records[i].topic, i);
        }
      }
      step_result failed;
      serve_reports(100ms, [&](const rd_kafka_message_t& message) {
        if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR)
          delivered[index_of(message)] = true;
        else if (!failed)
          failed = undeliverable(message.err, x.records[index_of(message)].topic,
                                 index_of(message));
      });
      // A record that was purged says nothing of what has failed the transaction.
      if (failed ? failed->refused == refusal::none : outstanding_ > 0)
        if (auto noticed = noticed_by_client())
          failed = std::move(noticed);
      if (!failed && outstanding_ > 0 && clock::now() > begun + topic_patience)
        failed = silent_topic(x, delivered);
      if (failed)
        return failed;
      if (clock::now() > deadline || stopping())
        return step_failure{
          step_failure::severity::abort,
          {errc::timeout, "the records of a transaction were not delivered within "
                            + std::to_string(settings_.limit.count()) + " ms"}};
    }
    return {};
  }

  /// Waits up to `limit` for delivery reports and hands each to `use`.
  template <class F>
  void serve_reports(milliseconds limit, F use) {
    event_ptr event{rd_kafka_queue_poll(events_.get(), static_cast<int>(limit.count()))};
    if (!event || rd_kafka_event_type(event.get()) != RD_KAFKA_EVENT_DR)
      return;
    while (auto message = rd_kafka_event_message_next(event.get())) {
      // A late report of an earlier transaction.
      if (serial_of(*message) != serial_)
        continue;
      --outstanding_;
      if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR
          && rd_kafka_message_status(message) != RD_KAFKA_MSG_STATUS_NOT_PERSISTED)
        may_come_late_ = true;
      use(*message);
    }
  }

  /// The opaque value of a record: its transaction and its index.
  uint64_t tag(size_t index) const { return uint64_t{serial_} << 32 | index; }
  static uint64_t tag_of(const rd_kafka_message_t& x) {
    return reinterpret_cast<uintptr_t>(x._private);
  }
  static size_t index_of(const rd_kafka_message_t& x) { return static_cast<uint32_t>(tag_of(x)); }
  static uint32_t serial_of(const rd_kafka_message_t& x) {
    return static_cast<uint32_t>(tag_of(x) >> 32);
  }

  static step_failure undeliverable(rd_kafka_resp_err_t why, const std::string& topic,
                                    size_t which) {
    step_failure result{step_failure::severity::abort, to_error(why, topic)};
    result.refused = refusal_of(why);
    if (result.refused != refusal::none)
      result.culprit = which;
    return result;
  }

  /// librdkafka reports that a transaction cannot be committed any more (e.g., for a topic that we
  /// may not write to) only in answer to a call.
  step_result noticed_by_client() {
    error_ptr failed{rd_kafka_begin_transaction(client_.get())};
    if (!failed || rd_kafka_error_txn_requires_abort(failed.get()) == 0)
      return {}; // "not now", as one is under way
    auto result = broken(*failed, "produce in a transaction");
    result.refused = refusal_of(rd_kafka_error_code(failed.get())) == refusal::topic
                       ? refusal::topic
                       : refusal::none;
    return result;
  }

  /// A topic that has taken nothing while another one has taken all of its records.
  static step_result silent_topic(const transaction& x, const std::vector<bool>& delivered) {
    std::map<std::string, std::pair<size_t, size_t>> by_topic; // delivered, and all
    for (size_t i = 0; i < delivered.size(); ++i) {
      auto& [done, all] = by_topic[x.records[i].topic];
      done += delivered[i];
      ++all;
    }
    const auto complete = [](const auto& each) { return each.second.first == each.second.second; };
    if (std::none_of(by_topic.begin(), by_topic.end(), complete))
      return {};
    for (size_t i = 0; i < delivered.size(); ++i)
      if (by_topic.at(x.records[i].topic).first == 0)
        return step_failure{step_failure::severity::abort,
                            {errc::timeout, x.records[i].topic
                                              + ": no delivery report, while other topics have "
                                                "taken all of their records"},
                            false,
                            i,
                            refusal::topic};
    return {};
  }

  step_result send_offsets(const transaction& x) {
    if (x.offsets.empty())
      return {};
    partition_list_ptr list{rd_kafka_topic_partition_list_new(static_cast<int>(x.offsets.size()))};
    for (const auto& o : x.offsets) {
      auto item = rd_kafka_topic_partition_list_add(list.get(), o.where.topic.c_str(),
                                                    o.where.partition);
      item->offset = o.next;
      if (o.leader_epoch >= 0)
        set_leader_epoch(*item, o.leader_epoch);
      const auto metadata = with_transaction_mark(without_maps_ ? "" : o.metadata, mark_);
      // librdkafka frees it with the list, by free().
      item->metadata = ::strdup(metadata.c_str());
      item->metadata_size = metadata.size();
    }
    const auto deadline = clock::now() + settings_.limit;
    if (stuck_->load() >= max_stuck_calls)
      return step_failure{step_failure::severity::abort,
                          {errc::unavailable, "too many clients wait for the group's coordinator: "
                                                + std::to_string(max_stuck_calls)}};
    // The call may block for long. Then client and thread are left behind; a new client of the same
    // id aborts the open transaction and fences the old client.
    if (!caller_)
      caller_ = std::make_unique<offsets_caller>(stuck_);
    caller_->begin({client_, std::move(list), x.member, deadline});
    while (!caller_->wait_for(100ms))
      if (clock::now() > deadline + 1s || stopping()) {
        caller_.reset();
        return step_failure{
          step_failure::severity::stuck,
          {errc::timeout, "send offsets to a transaction: the group's coordinator did not answer"}};
      }
    if (auto failed = caller_->take_answer())
      return broken(*failed, "send offsets to a transaction");
    return {};
  }

  step_result commit() {
    const auto deadline = clock::now() + settings_.limit;
    for (;;) {
      error_ptr failed{rd_kafka_commit_transaction(client_.get(), remaining(deadline, slice))};
      if (!failed)
        return {};
      if (may_retry(*failed, cut(deadline)))
        continue;
      auto result = broken(*failed, "commit a transaction");
      // The broker may have committed although its answer did not arrive.
      if (rd_kafka_error_txn_requires_abort(failed.get()) == 0)
        result.how = step_failure::severity::indefinite;
      return result;
    }
  }

  /// `abort` when the transaction was aborted in good order. A record that was on its way to the
  /// broker may arrive after that, and would become part of this producer's next transaction
  /// (KIP-890). Then the next client aborts: its epoch keeps such records out.
  step_failure::severity abort() {
    const auto deadline = clock::now() + (stopping() ? stop_limit : settings_.limit);
    // librdkafka aborts only after all reports have been served.
    rd_kafka_purge(client_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    while (outstanding_ > 0 && clock::now() < deadline)
      serve_reports(100ms, [](const rd_kafka_message_t&) {});
    if (outstanding_ > 0 || may_come_late_)
      return step_failure::severity::stuck;
    for (;;) {
      error_ptr failed{rd_kafka_abort_transaction(client_.get(), remaining(deadline, slice))};
      if (!failed)
        return step_failure::severity::abort;
      if (!may_retry(*failed, cut(deadline))) {
        spdlog::warn("a transaction could not be aborted: {}", rd_kafka_error_string(failed.get()));
        return step_failure::severity::indefinite;
      }
    }
  }

  static step_failure broken(const rd_kafka_error_t& failed, const std::string& what) {
    const auto code = rd_kafka_error_code(&failed);
    const auto abortable = rd_kafka_error_txn_requires_abort(&failed) != 0
                           || (is_fencing(code) && rd_kafka_error_is_fatal(&failed) == 0);
    auto text = what + ": " + rd_kafka_error_string(&failed);
    if (code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED
        || code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH)
      text += " (it took longer than transaction.timeout.ms, or another instance has the same "
              "delivery.transactional_id)";
    step_failure result{abortable ? step_failure::severity::abort
                                  : step_failure::severity::indefinite,
                        {to_error(code, "").code, std::move(text)},
                        is_fencing(code)};
    result.map_refused = code == RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE;
    return result;
  }

  void step(transaction_step x) const {
    if (settings_.on_step)
      settings_.on_step(x);
  }

  // -- the client -------------------------------------------------------------------

  expected<void> ensure_client() {
    if (client_)
      return {};
    auto conf = make_conf(properties_);
    if (!conf)
      return tl::unexpected(conf.error());
    rd_kafka_conf_set_events(conf->get(), RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    char text[512];
    kafka_ptr made{rd_kafka_new(RD_KAFKA_PRODUCER, conf->get(), text, sizeof text)};
    if (!made)
      return fail(errc::invalid_config, std::string{"kafka transactional producer: "} + text);
    conf->release();
    const auto deadline = clock::now() + settings_.limit;
    for (;;) {
      error_ptr failed{rd_kafka_init_transactions(made.get(), remaining(deadline, slice))};
      if (!failed)
        break;
      if (!may_retry(*failed, cut(deadline)))
        return fail(errc::unavailable, std::string{"no transactional producer: "}
                                         + rd_kafka_error_string(failed.get()));
    }
    events_.reset(rd_kafka_queue_get_main(made.get()));
    client_ = std::shared_ptr<rd_kafka_t>{made.release(), rd_kafka_destroy};
    return {};
  }

  void close() {
    if (!client_)
      return;
    rd_kafka_purge(client_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    events_.reset();
    client_.reset();
  }

  /// Finds out how the transaction of an earlier client ended. The group's offsets were part of it:
  /// they have its mark, or the transaction was not committed. All of them are compared, since
  /// partitions that were taken away may have been committed by other members since. If all were,
  /// nothing of the transaction is ours any more, and it counts as aborted.
  void resolve(const transaction& x, transaction_report& report) {
    if (report.end == transaction_end::fenced || x.offsets.empty())
      return;
    supervise([&] {
      if (auto ok = ensure_client(); !ok) {
        spdlog::warn("{}", ok.error().describe());
        return false;
      }
      std::vector<topic_partition> partitions;
      partitions.reserve(x.offsets.size());
      for (const auto& o : x.offsets)
        partitions.push_back(o.where);
      const auto limit = stopping() ? milliseconds{stop_limit} : settings_.limit;
      const auto found = read_stable(client_.get(), settings_.group, partitions, limit);
      if (!found) {
        spdlog::warn("committed offsets of group {}: {}", settings_.group,
                     found.error().describe());
        return false;
      }
      const auto done = std::any_of(found->begin(), found->end(), [this](const auto& o) {
        return transaction_mark(o.metadata) == mark_;
      });
      report.end = done ? transaction_end::committed : transaction_end::aborted;
      return true;
    });
  }

  /// Repeats `once`, with pauses, until it is true or we stop. While the end of a transaction is
  /// not known, its jobs are neither done nor undone.
  template <class F>
  void supervise(F once) {
    auto pause = 100ms;
    while (!once()) {
      std::unique_lock guard{mutex_};
      if (changed_.wait_for(guard, pause, [this] { return stopping_; }))
        return;
      pause = std::min(pause * 2, milliseconds{5'000});
    }
  }

  const kafka_properties properties_;
  const transaction_settings settings_;
  const report_handler on_report_;
  std::shared_ptr<rd_kafka_t> client_;
  queue_ptr events_; ///< Released before the client.
  /// Calls of `send_offsets` that were abandoned and have not returned.
  std::shared_ptr<std::atomic<int>> stuck_ = std::make_shared<std::atomic<int>>(0);
  std::unique_ptr<offsets_caller> caller_; ///< Made with the first offsets.
  const std::string producer_mark_ = random_mark();
  uint64_t number_ = 0;
  std::string mark_;               ///< Of the transaction under way, in all its offsets.
  bool without_maps_ = false;      ///< The broker has refused them.
  std::set<std::string> writable_; ///< Topics known to be writable since the last failure.
  uint32_t serial_ = 0;            ///< Of the transaction under way.
  size_t outstanding_ = 0;         ///< Its records without a delivery report.
  bool may_come_late_ = false;     ///< A record of it that failed may still reach the broker.
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<transaction> next_;
  bool busy_ = false, stopping_ = false;
  clock::time_point stopped_at_;
  std::thread thread_; ///< Last: it uses all of the others.
};

} // namespace

std::string_view to_string(transaction_end x) noexcept {
  switch (x) {
  case transaction_end::committed: return "committed";
  case transaction_end::aborted: return "aborted";
  case transaction_end::fenced: return "fenced";
  }
  return "unknown";
}

expected<std::unique_ptr<transactional_producer>> make_kafka_transactional_producer(
  kafka_properties properties, transaction_settings settings,
  transactional_producer::report_handler on_report) {
  if (!properties.contains("transactional.id"))
    return fail(errc::invalid_config, "a transactional producer needs kafka.transactional.id");
  properties = with_transactional_defaults(std::move(properties), settings.limit);
  // Reports wrong properties now, not with the first transaction.
  if (auto conf = make_conf(properties); !conf)
    return tl::unexpected(conf.error());
  return std::make_unique<kafka_transactional_producer>(std::move(properties), std::move(settings),
                                                        std::move(on_report));
}

} // namespace ziyu::messaging
