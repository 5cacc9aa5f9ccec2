#include "configs/kafka_bounds.hpp"

#include "base/ascii.hpp"
#include "configs/kafka_numbers.hpp"

#include <algorithm>
#include <limits>

namespace ziyu::configs {

namespace {

using nlohmann::json;
using number = client_numbers::number;

constexpr auto no_limit = std::numeric_limits<int64_t>::max();

struct bound {
  const char* client;
  const char* name;
  const char* alias; ///< The same property; may be the same name.
  int64_t least, most;
  const char* reason;
};

// Ziyu waits 5 s for a topic that is silent while others take records, and opens the breaker when
// no record is acknowledged for 10 s. What delays each record must stay well below.
constexpr bound bounds[] = {
  {"consumer", "auto.commit.interval.ms", "auto.commit.interval.ms", 1, 60'000,
   "0 would switch commits off, and after a crash all jobs of this time are worked on again"},
  {"consumer", "socket.timeout.ms", "socket.timeout.ms", 1'000, no_limit,
   "a broker that is a little slow would look absent"},
  {"producer", "socket.timeout.ms", "socket.timeout.ms", 1'000, no_limit,
   "a broker that is a little slow would look absent"},
  {"producer", "request.timeout.ms", "request.timeout.ms", 1'000, no_limit,
   "a broker would refuse each result that its replicas have not confirmed within this time"},
  {"producer", "linger.ms", "queue.buffering.max.ms", 0, 2'000,
   "each result waits for so long, and a producer without acknowledgements for 10 s opens the "
   "breaker"},
  {"producer", "topic.metadata.propagation.max.ms", "topic.metadata.propagation.max.ms", 0, 8'000,
   "a topic that does not exist must be noticed before a silent producer opens the breaker, after "
   "10 s"},
  {"producer", "message.send.max.retries", "retries", 10, no_limit,
   "without retries each election of a leader would fail results, and a result that would still "
   "have arrived is published twice"},
  {"producer", "retry.backoff.max.ms", "retry.backoff.max.ms", 0, 8'000,
   "a result would wait for so long after an election of a leader, and a producer without "
   "acknowledgements for 10 s opens the breaker"},
};

std::string range_of(const bound& x) {
  if (x.most == no_limit)
    return "it must be at least " + std::to_string(x.least);
  return "it must be " + std::to_string(x.least) + " to " + std::to_string(x.most);
}

void check_bounds(const json& kafka, std::vector<violation>& found) {
  for (const auto& x : bounds) {
    const auto given = client_numbers{kafka, x.client}.find({x.name, x.alias});
    const auto said = given
                      && std::any_of(found.begin(), found.end(), [&given](const violation& each) {
                           return each.path == given->path;
                         });
    if (given && !said && (given->value < x.least || given->value > x.most))
      refuse(found, *given, {}, std::string{x.reason} + ": " + range_of(x));
  }
}

/// librdkafka only warns: behind a long fetch, other requests to the same broker time out.
void check_fetch_wait(const client_numbers& consumer, std::vector<violation>& found) {
  constexpr int64_t margin = 1'000;
  const auto wait = consumer.find_or("fetch.wait.max.ms", 500);
  const auto socket = consumer.find_or("socket.timeout.ms", 10'000); // of ours
  if (wait.value > socket.value - margin)
    refuse(found, wait, socket,
           "fetch.wait.max.ms " + std::to_string(wait.value)
             + " must be at least 1000 below socket.timeout.ms, which is "
             + std::to_string(socket.value)
             + ", or other requests to the same broker time out behind a fetch");
}

/// What is prefetched of one partition, and one answer of a broker, is memory of the control
/// process beside the credit.
void check_prefetch(const client_numbers& consumer, const json& document,
                    std::vector<violation>& found) {
  constexpr int64_t usual_fetch = 52'428'800; // librdkafka's default
  const auto credit = number_at(document, "jobs", "max_in_flight_bytes");
  if (credit <= 0)
    return; // the schema reports it
  const auto limit = " jobs.max_in_flight_bytes, which is " + std::to_string(credit);
  const auto queued = consumer.find({"queued.max.messages.kbytes"});
  if (queued && queued->value > credit / 1024)
    refuse(found, *queued, {},
           "the encoded images that are prefetched of one partition must not exceed" + limit
             + ": set it to " + std::to_string(credit / 1024) + " at most");
  const auto fetch = consumer.find({"fetch.max.bytes"});
  if (fetch && fetch->value > std::max(usual_fetch, credit))
    refuse(found, *fetch, {},
           "one answer of a broker must not exceed" + limit + ": set it to "
             + std::to_string(std::max(usual_fetch, credit)) + " at most");
}

void check_group_id(const json& kafka, std::vector<violation>& found) {
  const auto group = find_property(kafka, "consumer", "group.id");
  if (group && group->text.empty() && group->path != "kafka.group.id") // else the schema says so
    found.push_back({group->path, group->path + " is empty: jobs are taken by a consumer group"});
}

void check_partitioner(const json& kafka, const json& document, std::vector<violation>& found) {
  const auto delivery = document.find("delivery");
  if (delivery == document.end() || !delivery->is_object()
      || delivery->value("ordering", json{}) == "unordered")
    return;
  const auto given = find_property(kafka, "producer", "partitioner");
  if (given && ascii_lower(given->text) == "random")
    found.push_back({given->path, given->path
                                    + "=random is refused: results of one key would go to several "
                                      "partitions, and delivery.ordering would mean nothing"});
}

/// Kafka's mechanism for tokens: somebody must fetch them.
void check_tokens(const json& kafka, const char* client, std::vector<violation>& found) {
  const auto text = [&](const char* name) {
    const auto x = find_property(kafka, client, name);
    return x ? ascii_lower(x->text) : std::string{};
  };
  auto mechanism = find_property(kafka, client, "sasl.mechanisms");
  if (!mechanism)
    mechanism = find_property(kafka, client, "sasl.mechanism");
  if (!mechanism || mechanism->text != "OAUTHBEARER"
      || !text("security.protocol").starts_with("sasl"))
    return;
  const auto said = std::any_of(found.begin(), found.end(), [&mechanism](const violation& x) {
    return x.path == mechanism->path;
  });
  if (said || text("sasl.oauthbearer.method") == "oidc")
    return;
  const auto unsecured = text("enable.sasl.oauthbearer.unsecure.jwt");
  if (unsecured != "true" && unsecured != "t" && unsecured != "1")
    found.push_back(
      {mechanism->path,
       mechanism->path
         + "=OAUTHBEARER is refused: nobody would fetch tokens, so no broker would let ziyu in. "
           "Set sasl.oauthbearer.method to oidc, with the address of the token endpoint"});
  else if (text("sasl.oauthbearer.config").find("principal=") == std::string::npos)
    found.push_back(
      {mechanism->path,
       mechanism->path
         + "=OAUTHBEARER is refused: a token that is not signed needs sasl.oauthbearer.config with "
           "\"principal=NAME\""});
}

} // namespace

void check_kafka_bounds(const json& document, std::vector<violation>& found) {
  const auto& kafka = document.at("kafka");
  const client_numbers consumer{kafka, "consumer"};
  check_bounds(kafka, found);
  check_fetch_wait(consumer, found);
  check_prefetch(consumer, document, found);
  check_group_id(kafka, found);
  check_partitioner(kafka, document, found);
  for (const auto* client : {"consumer", "producer"})
    check_tokens(kafka, client, found);
}

} // namespace ziyu::configs
