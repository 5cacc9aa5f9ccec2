#include "messaging/kafka_consumer.hpp"

#include "base/log.hpp"
#include "messaging/doorbell.hpp"
#include "messaging/kafka_defaults.hpp"
#include "messaging/kafka_membership.hpp"
#include "messaging/log_position.hpp"
#include "messaging/offset_commits.hpp"
#include "messaging/offset_reader.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <utility>

namespace ziyu::messaging {

namespace {

using message_ptr = std::unique_ptr<rd_kafka_message_t, destroy_with<rd_kafka_message_destroy>>;

std::vector<topic_partition> to_vector(const rd_kafka_topic_partition_list_t& list) {
  std::vector<topic_partition> result;
  result.reserve(list.cnt);
  for (int i = 0; i < list.cnt; ++i)
    result.push_back({list.elems[i].topic, list.elems[i].partition});
  return result;
}

using clock = std::chrono::steady_clock;

/// How long a revocation waits for its commit; the group waits meanwhile.
constexpr std::chrono::milliseconds farewell_limit{5'000};

/// Time for closing a group that waits for no answer of ours.
constexpr std::chrono::milliseconds closing_grace{50};

/// Time for going back in a log.
constexpr std::chrono::milliseconds seek_limit{1'000};

/// Time for a leader to tell a log's end, besides the fetch that it may have to finish
/// first.
constexpr std::chrono::milliseconds leader_grace{500};

/// Numbers assignments over all consumers. After a fatal error a fresh consumer takes over while
/// jobs that the previous one fetched may still be running.
std::atomic<uint64_t> last_epoch{0};

class kafka_consumer : public consumer {
public:
  kafka_consumer(rd_kafka_t* client, std::chrono::milliseconds commit_interval,
                 std::chrono::milliseconds leader_limit)
    : owner_(client), client_(client), control_(rd_kafka_queue_get_consumer(client)),
      offsets_(client, bell_, commit_interval), reader_(client, bell_, leader_limit) {
    rd_kafka_poll_set_consumer(client);
    if (control_) // null without a group; `subscribe` then fails
      bell_.ring_for(control_.get());
  }

  ~kafka_consumer() override {
    if (!closed_)
      close(std::chrono::milliseconds{1000});
    for (auto& x : owned_)
      rd_kafka_queue_io_event_enable(x.queue.get(), -1, nullptr, 0);
    if (control_)
      rd_kafka_queue_io_event_enable(control_.get(), -1, nullptr, 0);
  }

  rd_kafka_resp_err_t subscribe(const std::vector<std::string>& topics) {
    partition_list_ptr list{rd_kafka_topic_partition_list_new(static_cast<int>(topics.size()))};
    for (const auto& x : topics)
      rd_kafka_topic_partition_list_add(list.get(), x.c_str(), RD_KAFKA_PARTITION_UA);
    return rd_kafka_subscribe(client_, list.get());
  }

  consumer_event poll(std::chrono::milliseconds limit) override {
    const auto deadline = clock::now() + limit;
    for (;;) {
      // While records come nobody waits for the bell: it need not be silenced.
      if (!std::exchange(busy_, false))
        bell_.reset();
      offsets_.send_if_due();
      // Polling this queue is what keeps us in the group (max.poll.interval.ms).
      if (event_ptr event{rd_kafka_queue_poll(control_.get(), 0)})
        return on_event(*event);
      if (auto x = offsets_.next_answer())
        return std::move(*x);
      if (auto x = reader_.next_committed())
        return announce(std::move(*x));
      if (auto x = reader_.next_lost())
        return std::move(*x);
      if (!gated_)
        if (auto x = next_record())
          return busy_ = true, std::move(*x);
      const auto now = clock::now();
      if (now >= deadline || woken_.exchange(false))
        return nothing{};
      bell_.wait(
        std::chrono::ceil<std::chrono::milliseconds>(std::min(deadline, offsets_.due()) - now));
    }
  }

  void wake() override {
    woken_ = true;
    bell_.ring();
  }

  void gate(bool closed) override { gated_ = closed; }

  void hold(const std::set<topic_partition>& partitions) override {
    for (auto& x : owned_)
      x.held = partitions.contains(x.where);
  }

  std::vector<partition_view> view() override {
    std::set<topic_partition> asked;
    for (const auto& x : owned_)
      if (x.announced)
        asked.insert(x.where);
    // The brokers are asked: librdkafka's own values do not change while nothing is fetched. The
    // answer comes with the next view, since polling must go on.
    const auto ends = reader_.ends();
    reader_.ask_ends(std::move(asked));
    look_for_new_topics();
    std::vector<partition_view> result;
    for (const auto& x : owned_) {
      const auto end = ends.find(x.where);
      result.push_back({x.where, x.epoch, x.at.next(), end == ends.end() ? -1 : end->second, x.held,
                        x.announced, x.topic_id});
    }
    return result;
  }

  expected<void> seek(const topic_partition& where, int64_t offset,
                      std::chrono::milliseconds limit) override {
    if (const auto x = find(where))
      refetched_bytes_ += std::exchange(x->prefetched_bytes, 0);
    return seek_to(client_, where, offset, limit);
  }

  void pause(bool on) override {
    paused_ = on;
    if (on)
      for (auto& x : owned_)
        refetched_bytes_ += std::exchange(x.prefetched_bytes, 0);
    apply_pause();
  }

  uint64_t refetched_bytes() const override { return refetched_bytes_; }

  expected<void> store(const topic_partition& where, commit_point point) override {
    return offsets_.store(where, std::move(point));
  }

  std::shared_ptr<const group_membership> membership(
    const std::map<topic_partition, uint64_t>& epochs) const override {
    return offsets_.membership(epochs);
  }

  void finish_revoke() override { give_up_partitions(farewell_limit); }

  expected<void> commit(std::chrono::milliseconds limit) override { return offsets_.commit(limit); }

  void close(std::chrono::milliseconds limit) override {
    const auto deadline = clock::now() + limit;
    closed_ = true;
    offsets_.close();
    reader_.stop();
    if (!control_)
      return;
    // Answers everything that waits for an answer, while the group is open.
    give_up_partitions(limit);
    for (event_ptr event; clock::now() < deadline;) {
      event.reset(rd_kafka_queue_poll(control_.get(), 0));
      if (!event)
        break;
      if (rd_kafka_event_type(event.get()) == RD_KAFKA_EVENT_REBALANCE) {
        on_event(*event);
        give_up_partitions(left_until(deadline));
      }
    }
    if (owned_.empty() && !is_static())
      leave();
    if (auto failure = rd_kafka_consumer_close_queue(client_, control_.get())) {
      rd_kafka_error_destroy(failure);
      return;
    }
    // A closing group takes any answer as the answer to all of its requests, and then closes. It
    // drops a further request, for which librdkafka would wait for ever.
    bool answered = false;
    while (!rd_kafka_consumer_closed(client_) && clock::now() < deadline) {
      event_ptr event{rd_kafka_queue_poll(control_.get(), 20)};
      if (answered || !event || rd_kafka_event_type(event.get()) != RD_KAFKA_EVENT_REBALANCE
          || closes_by_itself())
        continue;
      commit_last(left_until(deadline));
      offsets_.disown_all();
      drop_queues();
      rd_kafka_assign(client_, nullptr);
      answered = true;
    }
    if (!rd_kafka_consumer_closed(client_))
      spdlog::warn("the consumer did not leave its group within {} ms", limit.count());
  }

private:
  /// close() has had its time; calls that have not returned by now are abandoned.
  struct destroy_at_once {
    void operator()(rd_kafka_t* x) const {
      rd_kafka_destroy_flags(x, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
  };
  struct partition {
    topic_partition where;
    uint64_t epoch = 0;
    queue_ptr queue;
    bool announced = false; ///< It is known where to go on.
    bool told = false;      ///< It has been announced, perhaps under an earlier epoch.
    bool held = false;
    log_position at = {};                   ///< Where its next record comes from.
    std::optional<int64_t> cut_off_at = {}; ///< Where its log was cut off.
    uint64_t prefetched_bytes = 0;          ///< By the latest statistics.
    std::string topic_id = {};              ///< Empty: not known yet.
  };
  static std::chrono::milliseconds left_until(clock::time_point deadline) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
      std::max(deadline - clock::now(), clock::duration{}));
  }

  /// Whether the closing group waits for no answer, since its request came just before the order to
  /// close.
  bool closes_by_itself() {
    for (const auto until = clock::now() + closing_grace; clock::now() < until;) {
      if (rd_kafka_consumer_closed(client_))
        return true;
      event_ptr dropped{rd_kafka_queue_poll(control_.get(), 5)};
    }
    return false;
  }

  /// Without partitions a closing group sends no LeaveGroup when it cooperates or is just joining
  /// (librdkafka up to 2.15 at least), and all other members wait for the end of our session.
  /// Unsubscribing sends LeaveGroup, once the coordinator has given us a member id.
  void leave() {
    const auto until = clock::now() + closing_grace;
    while (member_name(client_).empty() && clock::now() < until)
      event_ptr dropped{rd_kafka_queue_poll(control_.get(), 5)};
    rd_kafka_unsubscribe(client_);
  }

  /// A static member keeps its place until its session ends (KIP-345).
  bool is_static() const {
    char text[256];
    size_t size = sizeof text;
    return rd_kafka_conf_get(rd_kafka_conf(client_), "group.instance.id", text, &size)
             == RD_KAFKA_CONF_OK
           && size > 1;
  }

  void commit_last(std::chrono::milliseconds limit) {
    if (rd_kafka_assignment_lost(client_) != 0)
      return;
    if (auto ok = commit(limit); !ok)
      spdlog::warn("the last commit before partitions go failed: {}", ok.error().describe());
  }

  /// Drops the queues of partitions that are not ours any more.
  void drop_queues() {
    std::erase_if(owned_, [this](const partition& x) {
      if (offsets_.owns(x.where))
        return false;
      reader_.forget(x.where);
      rd_kafka_queue_io_event_enable(x.queue.get(), -1, nullptr, 0);
      return true;
    });
  }

  void give_up_partitions(std::chrono::milliseconds limit) {
    if (!revoking_)
      return;
    commit_last(limit);
    if (cooperative_)
      offsets_.disown(to_vector(*revoking_));
    else
      offsets_.disown_all();
    drop_queues();
    if (cooperative_) {
      if (auto failure = rd_kafka_incremental_unassign(client_, revoking_.get())) {
        spdlog::warn("incremental_unassign: {}", rd_kafka_error_string(failure));
        rd_kafka_error_destroy(failure);
      }
    } else {
      rd_kafka_assign(client_, nullptr);
    }
    revoking_.reset();
  }

  consumer_event on_event(rd_kafka_event_t& event) {
    switch (rd_kafka_event_type(&event)) {
    case RD_KAFKA_EVENT_REBALANCE: return on_rebalance(event);
    case RD_KAFKA_EVENT_ERROR: return on_error(event);
    case RD_KAFKA_EVENT_STATS: return on_statistics(rd_kafka_event_stats(&event));
    default: return nothing{};
    }
  }

  consumer_event on_rebalance(rd_kafka_event_t& event) {
    auto list = rd_kafka_event_topic_partition_list(&event);
    const auto status = rd_kafka_event_error(&event);
    cooperative_ = std::string_view{rd_kafka_rebalance_protocol(client_)} == "COOPERATIVE";
    if (status != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
      // An error of a rebalance as well: the API demands that all partitions are given up.
      revoking_.reset(rd_kafka_topic_partition_list_copy(list));
      auto going = to_vector(*list);
      std::erase_if(going, [this](const topic_partition& where) {
        const auto x = find(where);
        // A partition whose log went back is known under its earlier epoch.
        return x != nullptr && !x->told;
      });
      return partitions_revoked{epoch_, std::move(going), rd_kafka_assignment_lost(client_) != 0};
    }
    epoch_ = ++last_epoch;
    const auto coming = to_vector(*list);
    for (const auto& where : coming) {
      // Before the assignment; otherwise records would go into the consumer queue. Gating and
      // holding just do not pop this queue, so that nothing is fetched twice.
      partition x{where, epoch_, {}};
      x.queue.reset(rd_kafka_queue_get_partition(client_, where.topic.c_str(), where.partition));
      rd_kafka_queue_forward(x.queue.get(), nullptr);
      bell_.ring_for(x.queue.get());
      owned_.push_back(std::move(x));
    }
    offsets_.own(coming, epoch_);
    if (cooperative_) {
      if (auto failure = rd_kafka_incremental_assign(client_, list)) {
        spdlog::warn("incremental_assign: {}", rd_kafka_error_string(failure));
        rd_kafka_error_destroy(failure);
      }
    } else {
      rd_kafka_assign(client_, list);
    }
    // A pause of an earlier assignment would persist.
    rd_kafka_resume_partitions(client_, list);
    if (paused_)
      apply_pause();
    if (coming.empty())
      return partitions_assigned{epoch_, {}, {}};
    // Nobody else commits from now on: librdkafka begins at the same committed offsets.
    reader_.ask_committed(coming, epoch_);
    return nothing{};
  }

  /// Records of a partition are brought only when it is known which of them are finished: work that
  /// is done again could not be undone.
  consumer_event announce(offset_reader::answer x) {
    partitions_assigned news{x.epoch, {}, {}};
    for (auto& [where, state] : x.found) {
      const auto item = find(where);
      if (item == nullptr || item->epoch != x.epoch)
        continue;
      if (item->cut_off_at) {
        if (!go_back(*item, state))
          return consumer_failed{{errc::kafka_fatal, "cannot go back in " + where.topic}};
      } else if (state) {
        item->at.begin(state->next, state->leader_epoch);
      }
      item->announced = item->told = true;
      news.partitions.push_back(where);
      if (state)
        news.committed.emplace(where, *state);
    }
    if (news.partitions.empty())
      return nothing{};
    return news;
  }

  partition* find(const topic_partition& where) {
    const auto i = std::find_if(owned_.begin(), owned_.end(),
                                [&where](const partition& x) { return x.where == where; });
    return i == owned_.end() ? nullptr : &*i;
  }

  /// Sets the wanted state of all partitions, whatever became of earlier orders: pauses and resumes
  /// in quick succession can be lost.
  void apply_pause() {
    partition_list_ptr list{rd_kafka_topic_partition_list_new(static_cast<int>(owned_.size()))};
    for (const auto& x : owned_)
      rd_kafka_topic_partition_list_add(list.get(), x.where.topic.c_str(), x.where.partition);
    if (paused_)
      rd_kafka_pause_partitions(client_, list.get());
    else
      rd_kafka_resume_partitions(client_, list.get());
  }

  // -- records ------------------------------------------------------------------------

  /// Takes the partitions in turn, so that none starves.
  std::optional<consumer_event> next_record() {
    for (size_t n = owned_.size(); n > 0; --n) {
      turn_ = (turn_ + 1) % owned_.size();
      auto& x = owned_[turn_];
      if (x.held || !x.announced)
        continue;
      message_ptr message{rd_kafka_consume_queue(x.queue.get(), 0)};
      if (!message)
        continue;
      if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        x.at.see_end(message->offset);
        note_gap(x);
        continue;
      }
      if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return failed_to_fetch(*message);
      switch (x.at.see(message->offset, leader_epoch_of(*message))) {
      case log_position::verdict::went_back: begin_anew(x, message->offset); continue;
      case log_position::verdict::made_anew: begin_anew(x, 0); continue;
      case log_position::verdict::next:
      case log_position::verdict::repeat: break;
      }
      note_gap(x);
      return to_record(*message, x.epoch);
    }
    return std::nullopt;
  }

  /// Asks for the log's beginning, which tells whether retention deleted the missing records.
  void note_gap(partition& x) {
    if (const auto gap = x.at.take_gap())
      reader_.ask_start(x.where, gap->from, gap->past);
  }

  consumer_event failed_to_fetch(const rd_kafka_message_t& message) {
    auto reason = to_error(message.err, rd_kafka_message_errstr(&message));
    // A batch with a wrong checksum (`check.crcs`). librdkafka goes on behind it; a fresh client
    // fetches it again, as often as necessary.
    if (message.err == RD_KAFKA_RESP_ERR__BAD_MSG)
      reason.code = errc::kafka_fatal;
    return consumer_failed{std::move(reason)};
  }

  /// The log was cut off at `offset` or before (by an election of a leader that was not in
  /// sync) or made anew, and librdkafka follows it silently: other records have taken the
  /// offsets of those that it had. As after an assignment, the committed offset decides where
  /// to go on.
  void begin_anew(partition& x, int64_t offset) {
    spdlog::warn(
      "the log of {}-{} went back from offset {} to {}: the records from there on are other ones",
      x.where.topic, x.where.partition, x.at.next(), offset);
    x.epoch = ++last_epoch;
    x.announced = false;
    x.cut_off_at = offset;
    x.topic_id.clear();
    offsets_.own({x.where}, x.epoch);
    reader_.ask_committed({x.where}, x.epoch);
  }

  /// A topic that was deleted, made again and refilled up to our position can be recognised only by
  /// its id (KIP-516). The ids are asked for with each view.
  void look_for_new_topics() {
    std::set<std::string> topics;
    const auto ids = reader_.topic_ids();
    for (auto& x : owned_) {
      topics.insert(x.where.topic);
      const auto i = ids.by_topic.find(x.where.topic);
      // An answer from before the assignment does not count: the topic may have been another one.
      if (i == ids.by_topic.end() || !x.announced || x.epoch > ids.mark)
        continue;
      if (!x.topic_id.empty() && x.topic_id != i->second)
        begin_anew(x, 0);
      x.topic_id = i->second;
    }
    reader_.ask_topic_ids(std::move(topics), last_epoch);
  }

  /// Where such a partition goes on; false: the client is not usable any more.
  bool go_back(partition& x, std::optional<committed_state>& committed) {
    const auto end = *std::exchange(x.cut_off_at, std::nullopt);
    committed = committed ? within(std::move(*committed), end) : std::nullopt;
    const auto from = committed ? committed->next : end;
    x.at.restart(from);
    const auto ok = seek(x.where, from, seek_limit);
    if (!ok)
      spdlog::error("{}", ok.error().describe());
    return ok.has_value();
  }

  consumer_event on_error(rd_kafka_event_t& event) {
    const auto status = rd_kafka_event_error(&event);
    const std::string text = rd_kafka_event_error_string(&event);
    if (status == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_event_error_is_fatal(&event))
      return consumer_failed{{errc::kafka_fatal, text}};
    if (status == RD_KAFKA_RESP_ERR__TRANSPORT || status == RD_KAFKA_RESP_ERR__RESOLVE) {
      connection_trouble_ = text; // one broker of perhaps many; the statistics tell about all
      return nothing{};
    }
    if (status == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
      down_ = true;
    if (status == RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED)
      spdlog::error("evicted from the consumer group: {}", text);
    return consumer_failed{to_error(status, text)};
  }

  /// Whether any broker can be reached. librdkafka has no event for the end of an outage, and only
  /// some versions have one for its beginning (ALL_BROKERS_DOWN).
  consumer_event on_statistics(const char* text) {
    const auto news = nlohmann::json::parse(text, nullptr, false);
    const auto brokers = news.find("brokers");
    if (brokers == news.end())
      return nothing{};
    note_prefetched(news);
    // In older versions a needless resume restarts from a stale position.
    if (rd_kafka_version() >= 0x02040000)
      apply_pause();
    const auto up = std::any_of(brokers->begin(), brokers->end(), [](const auto& x) {
      const auto state = x.value("state", "");
      return state == "UP" || state == "UPDATE";
    });
    if (up) {
      connection_trouble_.clear();
      if (std::exchange(down_, false))
        return consumer_recovered{};
    } else if (!connection_trouble_.empty()) {
      down_ = true;
      return consumer_failed{{errc::unavailable, "no broker is reachable: " + connection_trouble_}};
    }
    return nothing{};
  }

  void note_prefetched(const nlohmann::json& statistics) {
    const auto topics = statistics.find("topics");
    if (topics == statistics.end())
      return;
    for (auto& x : owned_) {
      const auto topic = topics->find(x.where.topic);
      if (topic == topics->end() || !topic->contains("partitions"))
        continue;
      const auto& partitions = (*topic)["partitions"];
      const auto i = partitions.find(std::to_string(x.where.partition));
      if (i != partitions.end())
        x.prefetched_bytes = i->value("fetchq_size", uint64_t{0});
    }
  }

  // The members below are destroyed before the client, and cannot ring a destroyed bell.
  std::unique_ptr<rd_kafka_t, destroy_at_once> owner_;
  rd_kafka_t* client_;
  doorbell bell_;
  queue_ptr control_;
  offset_commits offsets_;
  offset_reader reader_;
  partition_list_ptr revoking_;
  std::vector<partition> owned_;
  size_t turn_ = 0; ///< Index of the partition that was asked last.
  uint64_t epoch_ = 0;
  bool cooperative_ = false; ///< The protocol of the rebalance under way.
  bool closed_ = false;

  std::string connection_trouble_; ///< The latest since a broker was seen up.
  bool down_ = false;              ///< A `consumer_failed` has said that no broker is up.
  bool gated_ = false;
  std::atomic<bool> woken_ = false;
  bool busy_ = false; ///< The latest poll brought a record.
  bool paused_ = false;
  uint64_t refetched_bytes_ = 0;
};

} // namespace

expected<std::unique_ptr<consumer>> make_kafka_consumer(kafka_properties properties,
                                                        const std::vector<std::string>& topics) {
  properties = with_consumer_defaults(std::move(properties));
  auto conf = make_conf(properties);
  if (!conf)
    return tl::unexpected(conf.error());
  rd_kafka_conf_set_events(conf->get(),
                           RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_STATS);
  char text[512];
  auto client = rd_kafka_new(RD_KAFKA_CONSUMER, conf->get(), text, sizeof text);
  if (client == nullptr)
    return fail(errc::invalid_config, std::string{"kafka consumer: "} + text);
  conf->release();
  auto result = std::make_unique<kafka_consumer>(
    client, std::chrono::milliseconds{std::stoll(properties["auto.commit.interval.ms"])},
    std::chrono::milliseconds{std::stoll(properties["fetch.wait.max.ms"])} + leader_grace);
  if (auto status = result->subscribe(topics); status != RD_KAFKA_RESP_ERR_NO_ERROR)
    return tl::unexpected(to_error(status, "subscribe"));
  return result;
}

} // namespace ziyu::messaging
