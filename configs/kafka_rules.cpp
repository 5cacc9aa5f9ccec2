#include "configs/kafka_rules.hpp"

#include "base/ascii.hpp"
#include "configs/config.hpp"
#include "configs/kafka_bounds.hpp"
#include "configs/kafka_numbers.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

namespace ziyu::configs {

namespace {

using nlohmann::json;

/// A librdkafka property and the only values that Ziyu works with.
struct reserved_property {
  std::string_view name;
  std::string_view allowed[3]; ///< Empty: the property must not be set.
  std::string_view reason;
};

// Boolean texts of librdkafka: "true", "t", "1".
constexpr std::array reserved{
  reserved_property{"enable.auto.offset.store",
                    {"false", "f", "0"},
                    "offsets are stored only when the result has been acknowledged; otherwise a "
                    "crash would lose jobs"},
  reserved_property{"enable.auto.commit",
                    {"false", "f", "0"},
                    "ziyu commits offsets itself, with a map of records finished out of order"},
  reserved_property{"auto.commit.enable", {"false", "f", "0"}, "an old name of enable.auto.commit"},
  reserved_property{
    "offset.store.method", {"broker"}, "offsets in a file are lost with its machine"},
  reserved_property{
    "auto.offset.reset",
    {"earliest", "smallest", "beginning"},
    "in a partition without a committed offset (a new one, or one that was idle for longer than "
    "the broker keeps offsets) ziyu would skip the jobs that are there already"},
  reserved_property{
    "acks", {"all", "-1"}, "a result must be on all in-sync replicas before its job is done"},
  reserved_property{"request.required.acks",
                    {"all", "-1"},
                    "a result must be on all in-sync replicas before its job is done"},
  reserved_property{"enable.idempotence",
                    {"true", "t", "1"},
                    "a retry inside librdkafka would publish a result twice"},
  reserved_property{"queuing.strategy", {"fifo"}, "lifo would break the producer's idempotence"},
  reserved_property{"transactional.id", {}, "ziyu sets it itself, from delivery.transactional_id"},
  reserved_property{"enable.partition.eof", {}, "ziyu sets it itself"},
  reserved_property{"isolation.level",
                    {"read_committed"},
                    "jobs of aborted transactions would be worked on, and `ziyu dlq` would read "
                    "marks that were never committed"},
  reserved_property{"delivery.report.only.error",
                    {"false", "f", "0"},
                    "without delivery reports no job would ever be done"},
  reserved_property{"dr_msg_cb", {}, "ziyu sets it itself"},
  reserved_property{"dr_cb", {}, "ziyu sets it itself"},
  reserved_property{"rebalance_cb", {}, "ziyu sets it itself"},
  reserved_property{"opaque", {}, "ziyu sets it itself"},
  reserved_property{"enabled_events", {}, "ziyu sets it itself"},
  reserved_property{
    "group.protocol",
    {"classic"},
    "ziyu's commits, rebalances and stops are made for, and tested with, the classic protocol"},
  reserved_property{"log.queue",
                    {"false", "f", "0"},
                    "nobody would read the queue: the log would be lost and its memory would grow"},
  reserved_property{"test.mock.num.brokers",
                    {"0"},
                    "each client would get a cluster of its own in its memory, and no job would "
                    "ever come"},
  reserved_property{
    "topic.blacklist", {}, "a topic that it hides would look as if it were missing"},
  reserved_property{"api.version.request",
                    {"true", "t", "1"},
                    "each broker would be taken for an old one, without headers and transactions"},
  reserved_property{"internal.termination.signal",
                    {"0"},
                    "the end of a client would look like an order to stop the service"},
};

void check_properties(const json& map, const std::string& path, std::vector<violation>& found) {
  if (!map.is_object())
    return;
  for (const auto& [key, value] : map.items()) {
    const auto i = std::find_if(reserved.begin(), reserved.end(),
                                [&k = key](const auto& x) { return x.name == k; });
    if (i == reserved.end()
        || std::any_of(std::begin(i->allowed), std::end(i->allowed),
                       [text = property_text(value)](auto x) { return !x.empty() && x == text; }))
      continue;
    const auto full = path + "." + key;
    found.push_back(
      {full, full + "=" + property_text(value) + " is refused: " + std::string{i->reason}});
  }
}

using number = client_numbers::number;

/// Properties that librdkafka knows by two names. When both are given, the alphabetical order of
/// the names decides which one wins.
constexpr std::pair<const char*, const char*> aliases[] = {
  {"message.timeout.ms", "delivery.timeout.ms"},
  {"linger.ms", "queue.buffering.max.ms"},
  {"max.in.flight.requests.per.connection", "max.in.flight"},
  {"message.send.max.retries", "retries"},
  {"acks", "request.required.acks"},
  {"compression.type", "compression.codec"},
  {"bootstrap.servers", "metadata.broker.list"},
  {"max.partition.fetch.bytes", "fetch.message.max.bytes"},
  {"sasl.mechanisms", "sasl.mechanism"},
};

void check_aliases(const json& kafka, const char* client, std::vector<violation>& found) {
  for (const auto& [name, alias] : aliases) {
    // Properties are set in the order of their names, and the later one wins.
    std::string loser{name}, winner{alias};
    if (winner < loser)
      std::swap(loser, winner);
    const auto lost = find_property(kafka, client, loser.c_str()),
               won = find_property(kafka, client, winner.c_str());
    if (!lost || !won || lost->text == won->text)
      continue;
    const auto& path = lost->path;
    const auto said = std::any_of(found.begin(), found.end(),
                                  [&path](const auto& x) { return x.path == path; });
    if (!said)
      found.push_back({path, path + "=" + lost->text + " is refused: " + loser
                               + " is another name of " + winner + ", and " + won->path + "="
                               + won->text + " would win. Give one of them only"});
  }
}

/// Whether it is host, host:port or protocol://host:port, the host perhaps in brackets.
bool is_address(std::string_view text) {
  if (const auto scheme = text.find("://"); scheme != std::string_view::npos)
    text.remove_prefix(scheme + 3);
  std::string_view port;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos || end == 1)
      return false;
    port = text.substr(end + 1);
  } else {
    const auto colon = text.find(':');
    if (colon == 0 || text.empty())
      return false;
    port = colon == std::string_view::npos ? std::string_view{} : text.substr(colon);
  }
  if (port.empty())
    return true;
  return is_port(port.substr(1));
}

/// All clients of a service belong to one cluster, and an address that can be none is a mistake,
/// not a broker that is waited for.
void check_brokers(const json& kafka, std::vector<violation>& found) {
  for (const auto* name : {"bootstrap.servers", "metadata.broker.list"}) {
    for (const auto* client : {"consumer", "producer"})
      if (const auto own = kafka.find(client);
          own != kafka.end() && own->is_object() && own->contains(name)) {
        const auto full = std::string{"kafka."} + client + "." + name;
        found.push_back({full, full
                                 + " is refused: all clients belong to one cluster, that of "
                                   "kafka.bootstrap.servers"});
      }
    const auto given = kafka.find(name);
    if (given == kafka.end() || !given->is_string())
      continue;
    std::string_view list = given->get_ref<const std::string&>();
    while (!list.empty()) {
      const auto comma = list.find(',');
      auto one = list.substr(0, comma);
      list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
      while (!one.empty() && one.front() == ' ')
        one.remove_prefix(1);
      while (!one.empty() && one.back() == ' ')
        one.remove_suffix(1);
      if (is_address(one))
        continue;
      const auto full = std::string{"kafka."} + name;
      found.push_back({full, full + ": \"" + std::string{one}
                               + "\" is no address of a broker: expected host:port, with a port of "
                                 "1 to 65535"});
    }
  }
}

void check_group(const client_numbers& consumer, std::vector<violation>& found) {
  // librdkafka's defaults.
  const auto session = consumer.find_or("session.timeout.ms", 45'000);
  const auto heartbeat = consumer.find_or("heartbeat.interval.ms", 3'000);
  const auto poll = consumer.find_or("max.poll.interval.ms", 300'000);
  if (heartbeat.value * 3 > session.value)
    refuse(found, heartbeat, session,
           "heartbeat.interval.ms " + std::to_string(heartbeat.value)
             + " must be at most a third of session.timeout.ms " + std::to_string(session.value)
             + ", or one lost heartbeat takes all partitions away");
  if (poll.value < session.value)
    refuse(found, poll, session,
           "max.poll.interval.ms " + std::to_string(poll.value)
             + " must be at least session.timeout.ms " + std::to_string(session.value)
             + ", or a short delay looks like a death");
}

/// With each statistics callback a lost resume is repeated, and a broker that is back is noticed.
/// This interval is well below the 30 s after which a silent partition counts as stalled.
constexpr int64_t longest_statistics_interval_ms = 10'000;

void check_statistics(const client_numbers& consumer, std::vector<violation>& found) {
  const auto interval = consumer.find({"statistics.interval.ms"});
  if (interval && (interval->value < 1 || interval->value > longest_statistics_interval_ms))
    refuse(found, *interval, {},
           "it must be 1 to " + std::to_string(longest_statistics_interval_ms)
             + ": with each statistics callback the consumer learns whether a broker is up and "
               "what is prefetched, and repeats a lost resume");
}

/// The bound of a frame between processes, and what a frame holds beside a job's image
/// (`wire::max_body_size`).
constexpr int64_t frame_limit = int64_t{256} << 20, frame_overhead = int64_t{1} << 20;

void check_job_size(const client_numbers& consumer, const json& document,
                    std::vector<violation>& found) {
  const number job{"jobs.max_bytes", number_at(document, "jobs", "max_bytes")};
  if (job.value > frame_limit - frame_overhead) {
    refuse(found, job, {},
           "an image goes to its worker in a frame of 256 MiB at most, so it may have "
             + std::to_string(frame_limit - frame_overhead) + " bytes");
    return;
  }
  config sized;
  sized.jobs.max_bytes = static_cast<uint64_t>(std::max<int64_t>(job.value, 0));
  const auto least = static_cast<int64_t>(least_receive_bytes(sized));
  const auto receive = consumer.find({"receive.message.max.bytes"});
  if (receive && receive->value < least)
    refuse(found, *receive, job,
           "a record with a job of jobs.max_bytes " + std::to_string(job.value)
             + " (base64 in JSON) could never be fetched, and its partition would stall. Set it to "
               "at least "
             + std::to_string(least) + ", or leave it out: then it follows jobs.max_bytes");
}

/// Results and events are smaller than this, whatever their labels and series are.
constexpr int64_t least_message_bytes = 65'536;

void check_message_size(const client_numbers& producer, std::vector<violation>& found) {
  const auto limit = producer.find({"message.max.bytes"});
  if (limit && limit->value < least_message_bytes)
    refuse(found, *limit, {},
           "results and events need up to " + std::to_string(least_message_bytes)
             + " bytes: a result larger than message.max.bytes is never sent and its job becomes a "
               "dead letter; a larger event is dropped");
}

/// With a shorter timeout, an election of a leader or a broker's restart makes deliveries fail that
/// would have succeeded. Each such result is then produced again, perhaps twice.
constexpr int64_t least_message_timeout_ms = 10'000;

/// The time of a stop, from its drain to its commit, which a transaction may have to last.
struct stop_time {
  int64_t total_ms = 0;
  number longest; ///< The stage that exceeds its default most.
};

stop_time read_stop_time(const json& document) {
  stop_time result;
  const auto shutdown = document.find("shutdown");
  if (shutdown == document.end() || !shutdown->is_object())
    return result;
  const auto usual = config{}.shutdown;
  auto excess = std::numeric_limits<int64_t>::min();
  for (const auto& [stage, usual_ms] :
       {std::pair{"drain_ms", usual.drain_ms}, std::pair{"flush_ms", usual.flush_ms},
        std::pair{"commit_ms", usual.commit_ms}}) {
    const auto i = shutdown->find(stage);
    if (i == shutdown->end() || !i->is_number_integer())
      continue; // the schema reports it
    const auto ms = i->get<int64_t>();
    result.total_ms += ms;
    if (const auto more = ms - static_cast<int64_t>(usual_ms); more > excess) {
      excess = more;
      result.longest = {std::string{"shutdown."} + stage, ms};
    }
  }
  return result;
}

/// The largest record, in bytes, that the producers are configured for.
int64_t message_limit(const client_numbers& producer, const json& document) {
  if (const auto given = producer.find({"message.max.bytes"}))
    return given->value;
  config usual;
  if (const auto jobs = document.find("jobs"); jobs != document.end() && jobs->is_object())
    if (const auto i = jobs->find("max_bytes"); i != jobs->end() && i->is_number_unsigned())
      usual.jobs.max_bytes = i->get<uint64_t>();
  return std::stoll(producer_properties(usual).at("message.max.bytes"));
}

void check_queue(const client_numbers& producer, const json& document,
                 std::vector<violation>& found) {
  const auto queue = producer.find({"queue.buffering.max.kbytes"});
  if (!queue)
    return;
  const auto limit = message_limit(producer, document);
  const auto least = (limit + 1023) / 1024;
  if (queue->value < least)
    refuse(found, *queue, {},
           "the producer's queue must hold one record of message.max.bytes " + std::to_string(limit)
             + ", which follows jobs.max_bytes unless set: such a record would be refused for ever "
               "and block all records behind it. Set it to at least "
             + std::to_string(least));
}

void check_producer(const client_numbers& producer, const json& document,
                    std::vector<violation>& found) {
  const auto message = producer.find({"message.timeout.ms", "delivery.timeout.ms"});
  if (message && message->value != 0 && message->value < least_message_timeout_ms)
    refuse(found, *message, {},
           "a result must be given " + std::to_string(least_message_timeout_ms)
             + " ms at least; otherwise an election of a leader makes a delivery fail that would "
               "have succeeded, and the result is published twice");
  const auto in_flight = producer.find({"max.in.flight.requests.per.connection", "max.in.flight"});
  if (in_flight && in_flight->value > 5)
    refuse(found, *in_flight, {}, "an idempotent producer keeps at most 5 requests in flight");
  auto transaction = producer.find({"transaction.timeout.ms"});
  if (const auto delivery = document.find("delivery");
      !transaction && delivery != document.end() && delivery->is_object()
      && delivery->value("guarantee", json{}) == "exactly_once")
    transaction = number{{}, default_transaction_timeout_ms};
  if (!transaction)
    return;
  const auto socket = producer.find({"socket.timeout.ms"});
  if (socket && socket->value > transaction->value + 100)
    refuse(found, *socket, {},
           "socket.timeout.ms must be at most transaction.timeout.ms + 100, which is "
             + std::to_string(transaction->value + 100)
             + ", or librdkafka makes no transactional producer");
  if (message && message->value > transaction->value)
    refuse(found, *message, {},
           "message.timeout.ms must be at most transaction.timeout.ms "
             + std::to_string(transaction->value)
             + ", or a transaction is aborted while its results are being sent");
  const auto stop = read_stop_time(document);
  if (transaction->value >= stop.total_ms)
    return;
  const auto total = std::to_string(stop.total_ms);
  const auto key = transaction->path.empty() ? "kafka.producer.transaction.timeout.ms"
                                             : transaction->path;
  refuse(found, *transaction, stop.longest,
         "transaction.timeout.ms " + std::to_string(transaction->value)
           + " must be at least shutdown.drain_ms + flush_ms + commit_ms, together " + total
           + " ms, or the broker aborts the results of a stop before they are committed: set " + key
           + " to " + total + ", or shorten the stop");
}

} // namespace

std::vector<violation> check_kafka_rules(const json& document) {
  std::vector<violation> found;
  const auto kafka = document.find("kafka");
  if (kafka == document.end() || !kafka->is_object())
    return found;
  check_properties(*kafka, "kafka", found);
  for (const auto* part : {"consumer", "producer"})
    if (kafka->contains(part))
      check_properties((*kafka)[part], std::string{"kafka."} + part, found);
  check_brokers(*kafka, found);
  check_group({*kafka, "consumer"}, found);
  check_statistics({*kafka, "consumer"}, found);
  for (const auto* client : {"consumer", "producer"})
    check_aliases(*kafka, client, found);
  check_job_size({*kafka, "consumer"}, document, found);
  check_message_size({*kafka, "producer"}, found);
  check_queue({*kafka, "producer"}, document, found);
  check_producer({*kafka, "producer"}, document, found);
  check_kafka_bounds(document, found);
  return found;
}

} // namespace ziyu::configs
