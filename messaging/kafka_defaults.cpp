#include "messaging/kafka_defaults.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <string_view>

namespace ziyu::messaging {

namespace {

/// Gives `x` a default for `name`, unless that, or `alias`, which is the same, is given.
void set_default(kafka_properties& x, const char* name, const char* alias, std::string value) {
  if (!x.contains(alias))
    x.emplace(name, std::move(value));
}

/// Our default of `reconnect.backoff.max.ms`: the longest pause until a broker that is back is
/// contacted. librdkafka demands that it is not shorter than the first pause.
std::string default_reconnect_ms(const kafka_properties& x) {
  constexpr int64_t usual = 2'000;
  const auto first = x.find("reconnect.backoff.ms");
  return std::to_string(
    first == x.end() ? usual : std::max<int64_t>(usual, std::atoll(first->second.c_str())));
}

/// The value of a property in `conf`, as librdkafka shows it.
std::string value_in(const rd_kafka_conf_t* conf, const std::string& name) {
  char text[512] = "";
  size_t size = sizeof text;
  return rd_kafka_conf_get(conf, name.c_str(), text, &size) == RD_KAFKA_CONF_OK ? text : "";
}

bool is_number(std::string_view x) {
  return !x.empty() && x.find_first_of("0123456789") != x.npos
         && x.find_first_not_of("+-.0123456789e") == x.npos;
}

/// Whether `given` is a plain decimal fraction ("0.50") and the number that librdkafka shows with
/// six digits.
bool is_same_fraction(std::string_view given, const std::string& taken) {
  const auto point = given.find('.');
  const auto digits = [](std::string_view x) {
    return !x.empty() && x.find_first_not_of("0123456789") == x.npos;
  };
  if (point == given.npos || !digits(given.substr(0, point)) || !digits(given.substr(point + 1))
      || (given[0] == '0' && point > 1))
    return false;
  const auto a = std::strtod(std::string{given}.c_str(), nullptr),
             b = std::strtod(taken.c_str(), nullptr);
  return std::abs(a - b) <= 1e-5 * a;
}

/// librdkafka reads "010" as 8, "0x10" as 16, "5 s" as 5 and "4294967296" as 0. Ziyu's rules and
/// clients read such texts otherwise, so a number must be written as librdkafka writes it.
expected<void> check_numbers(const rd_kafka_conf_t* conf, const kafka_properties& properties) {
  for (const auto& [name, given] : properties) {
    const auto first = given.find_first_not_of(" \t\n\r\f\v+-");
    const auto like_a_number =
      first != given.npos && (given[first] == '.' || (given[first] >= '0' && given[first] <= '9'));
    const auto taken = value_in(conf, name);
    if (like_a_number && is_number(taken) && taken != given && !is_same_fraction(given, taken))
      return fail(errc::invalid_config, "kafka." + name + "=" + given
                                          + " is refused: librdkafka takes it for " + taken
                                          + "; write that if it is meant");
  }
  return {};
}

kafka_properties with_common_producer_defaults(kafka_properties x, const char* linger_ms) {
  x["enable.idempotence"] = "true";
  x["acks"] = "all";
  set_default_linger(x, linger_ms);
  x.insert({
    {"reconnect.backoff.max.ms", default_reconnect_ms(x)},
    {"client.id", "ziyu"},
    {"queue.buffering.max.kbytes", default_queue_kbytes(x)},
    {"batch.size", std::to_string(default_batch_bytes)},
    {"topic.metadata.propagation.max.ms", default_propagation_ms},
  });
  return x;
}

expected<void> try_client(const char* name, rd_kafka_type_t type,
                          const kafka_properties& properties) {
  auto conf = make_conf(properties);
  if (!conf) {
    // librdkafka ends some of its texts with a line break.
    auto why = conf.error().message;
    why.erase(why.find_last_not_of(" \n") + 1);
    return fail(conf.error().code, why + " (" + name + ")");
  }
  if (auto ok = check_numbers(conf->get(), properties); !ok)
    return fail(ok.error().code, ok.error().message + " (" + name + ")");
  char text[512];
  const kafka_ptr client{rd_kafka_new(type, conf->get(), text, sizeof text)};
  if (!client)
    return fail(errc::invalid_config, std::string{"kafka, "} + name + ": " + text);
  conf->release();
  return {};
}

} // namespace

kafka_properties with_consumer_defaults(kafka_properties x) {
  x["enable.auto.offset.store"] = "false";
  x["enable.auto.commit"] = "false"; // librdkafka's own commits cannot carry the map
  x["enable.partition.eof"] = "true";
  x.insert({
    {"auto.commit.interval.ms", "1000"},
    {"fetch.wait.max.ms", "500"},
    {"auto.offset.reset", "earliest"},
    {"client.id", "ziyu"},
    // Bounds the prefetched encoded images of each partition, since each partition has its own
    // queue. The credit bounds the rest.
    {"queued.max.messages.kbytes", "4096"},
    // A partition whose queue was full is fetched from again within this. After the usual 1,000 ms,
    // a service that does 4 MiB in less has nothing to do for the rest.
    {"fetch.queue.backoff.ms", "20"},
    // A broker that is back is contacted within this, not after 10 s and more. A broker that takes
    // requests and does not answer is given up within `socket.timeout.ms`, not after 60 s: the
    // group would have no coordinator meanwhile.
    {"reconnect.backoff.max.ms", default_reconnect_ms(x)},
    {"socket.timeout.ms", "10000"},
    // A topic that is created later is found within this.
    {"topic.metadata.refresh.interval.ms", "5000"},
    // Statistics tell whether a broker is up.
    {"statistics.interval.ms", "1000"},
  });
  return x;
}

void set_default_linger(kafka_properties& x, const char* ms) {
  set_default(x, "linger.ms", "queue.buffering.max.ms", ms);
}

kafka_properties with_producer_defaults(kafka_properties x) {
  x = with_common_producer_defaults(std::move(x), "0");
  set_default(x, "message.timeout.ms", "delivery.timeout.ms", "120000");
  // See decision 0027: with more, librdkafka's thread polls without a pause under load.
  set_default(x, "max.in.flight.requests.per.connection", "max.in.flight", "2");
  return x;
}

kafka_properties with_transactional_defaults(kafka_properties x, std::chrono::milliseconds limit) {
  x = with_common_producer_defaults(std::move(x), "5");
  x.emplace("transaction.timeout.ms", std::to_string(2 * limit.count()));
  set_default(x, "message.timeout.ms", "delivery.timeout.ms", std::to_string(limit.count()));
  return x;
}

expected<void> check_clients(const client_properties& x) {
  if (auto ok = try_client("consumer", RD_KAFKA_CONSUMER, with_consumer_defaults(x.consumer)); !ok)
    return ok;
  if (auto ok = try_client("producer", RD_KAFKA_PRODUCER, with_producer_defaults(x.producer)); !ok)
    return ok;
  if (!x.transactional)
    return {};
  return try_client("transactional producer", RD_KAFKA_PRODUCER,
                    with_transactional_defaults(*x.transactional, x.transaction_limit));
}

} // namespace ziyu::messaging
