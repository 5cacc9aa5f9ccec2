#include "messaging/kafka_client.hpp"

#include "base/log.hpp"
#include "messaging/admin_client.hpp"
#include "messaging/header_bound.hpp"

#include <algorithm>
#include <cstdlib>
#include <thread>

namespace ziyu::messaging {

namespace {

void forward_log(const rd_kafka_t*, int level, const char* facility, const char* text) {
  // Connection trouble is repeated each second for each broker. The consumer or producer reports it
  // as an event.
  const auto routine = std::string_view{facility} == "FAIL"
                       || std::string_view{facility} == "ERROR";
  const auto to = routine      ? spdlog::level::debug
                  : level <= 3 ? spdlog::level::err
                  : level <= 4 ? spdlog::level::warn
                               : spdlog::level::debug;
  spdlog::log(to, "librdkafka {}: {}", facility, text);
}

/// The headers of a message, within `max_headers`.
header_list headers_of(const rd_kafka_message_t& message) {
  rd_kafka_headers_t* headers = nullptr;
  const auto status = rd_kafka_message_headers(&message, &headers);
  if (status == RD_KAFKA_RESP_ERR__NOENT)
    return {};
  if (status != RD_KAFKA_RESP_ERR_NO_ERROR) // librdkafka reads none of more than 100,000
    return {{unread_headers, "all"}};
  const auto count = rd_kafka_header_cnt(headers);
  const auto left_out = count <= max_headers ? 0 : count - 2 * kept_at_each_end;
  header_list result;
  result.reserve(count - left_out + 1);
  for (size_t i = 0; i < count; ++i) {
    if (left_out > 0 && i == kept_at_each_end)
      i += left_out;
    const char* name = nullptr;
    const void* value = nullptr;
    size_t size = 0;
    if (rd_kafka_header_get_all(headers, i, &name, &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR)
      break;
    result.emplace_back(name, value
                                ? std::optional{std::string{static_cast<const char*>(value), size}}
                                : std::nullopt);
  }
  if (left_out > 0)
    result.emplace_back(unread_headers, std::to_string(left_out));
  return result;
}

} // namespace

expected<conf_ptr> make_conf(const kafka_properties& properties) {
  conf_ptr conf{rd_kafka_conf_new()};
  for (const auto& [name, value] : properties) {
    char text[512];
    if (rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), text, sizeof text)
        != RD_KAFKA_CONF_OK)
      return fail(errc::invalid_config, "kafka." + name + ": " + text);
  }
  rd_kafka_conf_set_log_cb(conf.get(), forward_log);
  return conf;
}

std::string default_queue_kbytes(const kafka_properties& properties) {
  constexpr int64_t usual = 65'536;
  const auto i = properties.find("message.max.bytes");
  // librdkafka itself refuses a value that is not a number.
  const int64_t largest = i == properties.end() ? 0 : std::strtoll(i->second.c_str(), nullptr, 10);
  return std::to_string(std::max(usual, largest / 1024 + 1));
}

error to_error(rd_kafka_resp_err_t x, const std::string& what) {
  auto code = errc::kafka;
  switch (x) {
  case RD_KAFKA_RESP_ERR__FATAL:
  case RD_KAFKA_RESP_ERR__FENCED: code = errc::kafka_fatal; break;
  case RD_KAFKA_RESP_ERR__QUEUE_FULL: code = errc::queue_full; break;
  case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE: code = errc::job_too_large; break;
  case RD_KAFKA_RESP_ERR__TIMED_OUT:
  case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT: code = errc::timeout; break;
  case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
  case RD_KAFKA_RESP_ERR__TRANSPORT:
  case RD_KAFKA_RESP_ERR__RESOLVE:
  case RD_KAFKA_RESP_ERR__AUTHENTICATION: code = errc::unavailable; break;
  case RD_KAFKA_RESP_ERR__STATE: code = errc::revoked; break;
  default: break;
  }
  return {code, what.empty() ? rd_kafka_err2str(x) : what + ": " + rd_kafka_err2str(x)};
}

refusal refusal_of(rd_kafka_resp_err_t x) noexcept {
  switch (x) {
  case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
  case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
  case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID:
  case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
  case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
  case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
  case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
  case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
  case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
  case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
  case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
  case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE: return refusal::topic;
  case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
  case RD_KAFKA_RESP_ERR_INVALID_RECORD:
  case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
  case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: return refusal::record;
  default: return refusal::none;
  }
}

// Before 2.1.0 librdkafka knows nothing of leader epochs.
#if RD_KAFKA_VERSION >= 0x02010000
int32_t leader_epoch_of(const rd_kafka_message_t& x) noexcept {
  return rd_kafka_message_leader_epoch(&x);
}
int32_t leader_epoch_of(const rd_kafka_topic_partition_t& x) noexcept {
  return rd_kafka_topic_partition_get_leader_epoch(&x);
}
void set_leader_epoch(rd_kafka_topic_partition_t& x, int32_t epoch) noexcept {
  rd_kafka_topic_partition_set_leader_epoch(&x, epoch);
}
#else
int32_t leader_epoch_of(const rd_kafka_message_t&) noexcept { return -1; }
int32_t leader_epoch_of(const rd_kafka_topic_partition_t&) noexcept { return -1; }
void set_leader_epoch(rd_kafka_topic_partition_t&, int32_t) noexcept {}
#endif

record to_record(const rd_kafka_message_t& message, uint64_t epoch) {
  record x;
  x.leader_epoch = leader_epoch_of(message);
  x.id.topic = rd_kafka_topic_name(message.rkt);
  x.id.partition = message.partition;
  x.id.offset = message.offset;
  x.epoch = epoch;
  if (message.key != nullptr)
    x.key.emplace(static_cast<const char*>(message.key), message.key_len);
  if (message.payload != nullptr)
    x.value = std::make_shared<const std::string>(static_cast<const char*>(message.payload),
                                                  message.len);
  x.headers = headers_of(message);
  rd_kafka_timestamp_type_t type{};
  x.timestamp_ms = rd_kafka_message_timestamp(&message, &type);
  return x;
}

expected<void> produce_record(rd_kafka_t* client, const outgoing& x, uint64_t opaque) {
  const auto status = try_produce(client, x, opaque);
  if (status == RD_KAFKA_RESP_ERR_NO_ERROR)
    return {};
  return tl::unexpected(to_error(status, "produce to " + x.topic));
}

rd_kafka_resp_err_t try_produce(rd_kafka_t* client, const outgoing& x, uint64_t opaque) {
  auto headers = rd_kafka_headers_new(x.headers.size());
  for (const auto& [name, text] : x.headers)
    rd_kafka_header_add(headers, name.data(), static_cast<ssize_t>(name.size()),
                        text ? text->data() : nullptr,
                        text ? static_cast<ssize_t>(text->size()) : 0);
  const auto token = reinterpret_cast<void*>(static_cast<uintptr_t>(opaque));
  // The macros take plain pointers only.
  const void* key = x.key ? x.key->data() : nullptr;
  const size_t key_size = x.key ? x.key->size() : 0;
  void* value = x.value ? const_cast<char*>(x.value->data()) : nullptr;
  const size_t value_size = x.value ? x.value->size() : 0;
  const auto status = rd_kafka_producev(
    client, RD_KAFKA_V_TOPIC(x.topic.c_str()),
    RD_KAFKA_V_PARTITION(x.partition.value_or(RD_KAFKA_PARTITION_UA)),
    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, key_size),
    RD_KAFKA_V_VALUE(value, value_size), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(token),
    RD_KAFKA_V_END);
  if (status != RD_KAFKA_RESP_ERR_NO_ERROR)
    rd_kafka_headers_destroy(headers); // not taken over by librdkafka
  return status;
}

const topic_metadata* cluster_metadata::find(const std::string& topic) const {
  auto i = std::find_if(topics.begin(), topics.end(),
                        [&](const auto& x) { return x.name == topic; });
  return i == topics.end() ? nullptr : &*i;
}

namespace {

expected<cluster_metadata> ask_metadata(rd_kafka_t* client, std::chrono::milliseconds limit) {
  const rd_kafka_metadata_t* answer = nullptr;
  const auto status = rd_kafka_metadata(client, 1, nullptr, &answer,
                                        static_cast<int>(limit.count()));
  if (status != RD_KAFKA_RESP_ERR_NO_ERROR)
    return fail(errc::unavailable, rd_kafka_err2str(status));
  cluster_metadata result;
  for (int i = 0; i < answer->broker_cnt; ++i)
    result.brokers.push_back(std::string{answer->brokers[i].host} + ":"
                             + std::to_string(answer->brokers[i].port));
  for (int i = 0; i < answer->topic_cnt; ++i)
    if (answer->topics[i].err == RD_KAFKA_RESP_ERR_NO_ERROR)
      result.topics.push_back({answer->topics[i].topic, answer->topics[i].partition_cnt});
  rd_kafka_metadata_destroy(answer);
  return result;
}

/// A KRaft broker answers CreateTopics before it knows the new topics itself.
expected<void> await_topics(rd_kafka_t* client, const std::vector<std::string>& names,
                            std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (;;) {
    auto known = ask_metadata(client, limit);
    if (known && std::all_of(names.begin(), names.end(), [&](const auto& name) {
          return known->find(name) != nullptr;
        }))
      return {};
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(errc::timeout,
                  "the new topics are not visible within " + std::to_string(limit.count()) + " ms");
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
}

} // namespace

expected<cluster_metadata> read_metadata(const kafka_properties& properties,
                                         std::chrono::milliseconds limit) {
  auto client = make_admin(properties);
  if (!client)
    return tl::unexpected(client.error());
  auto result = ask_metadata(client->get(), limit);
  if (result)
    return result;
  auto i = properties.find("bootstrap.servers");
  return fail(errc::unavailable,
              "no Kafka broker answers at " + (i == properties.end() ? "(none given)" : i->second)
                + " within " + std::to_string(limit.count()) + " ms: " + result.error().message);
}

expected<std::vector<std::string>> create_topics(const kafka_properties& properties,
                                                 const std::vector<topic_specification>& topics,
                                                 std::chrono::milliseconds limit) {
  auto client = make_admin(properties);
  if (!client)
    return tl::unexpected(client.error());
  std::vector<rd_kafka_NewTopic_t*> specs;
  char text[512];
  for (const auto& x : topics) {
    auto spec = rd_kafka_NewTopic_new(x.name.c_str(), x.partitions, x.replication, text,
                                      sizeof text);
    if (spec == nullptr) {
      rd_kafka_NewTopic_destroy_array(specs.data(), specs.size());
      return fail(errc::invalid_config, "topic " + x.name + ": " + text);
    }
    for (const auto& [name, value] : x.settings)
      rd_kafka_NewTopic_set_config(spec, name.c_str(), value.c_str());
    specs.push_back(spec);
  }
  queue_ptr queue{rd_kafka_queue_new(client->get())};
  rd_kafka_CreateTopics(client->get(), specs.data(), specs.size(), nullptr, queue.get());
  rd_kafka_NewTopic_destroy_array(specs.data(), specs.size());
  event_ptr event{rd_kafka_queue_poll(queue.get(), static_cast<int>(limit.count()))};
  if (!event)
    return fail(errc::unavailable,
                "no answer to CreateTopics within " + std::to_string(limit.count()) + " ms");
  if (auto status = rd_kafka_event_error(event.get()); status != RD_KAFKA_RESP_ERR_NO_ERROR)
    return fail(errc::unavailable,
                std::string{"CreateTopics: "} + rd_kafka_event_error_string(event.get()));
  size_t count = 0;
  auto answers = rd_kafka_CreateTopics_result_topics(
    rd_kafka_event_CreateTopics_result(event.get()), &count);
  std::vector<std::string> created;
  for (size_t i = 0; i < count; ++i) {
    const auto status = rd_kafka_topic_result_error(answers[i]);
    const std::string name = rd_kafka_topic_result_name(answers[i]);
    if (status == RD_KAFKA_RESP_ERR_NO_ERROR)
      created.push_back(name);
    else if (status != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
      return fail(errc::kafka,
                  "topic " + name + ": " + rd_kafka_topic_result_error_string(answers[i]));
  }
  if (auto ok = await_topics(client->get(), created, limit); !ok)
    return tl::unexpected(ok.error());
  return created;
}

expected<void> seek_to(rd_kafka_t* consumer, const topic_partition& where, int64_t offset,
                       std::chrono::milliseconds limit) {
  partition_list_ptr list{rd_kafka_topic_partition_list_new(1)};
  auto item = rd_kafka_topic_partition_list_add(list.get(), where.topic.c_str(), where.partition);
  item->offset = offset < 0 ? RD_KAFKA_OFFSET_BEGINNING : offset;
  auto status = RD_KAFKA_RESP_ERR_NO_ERROR;
  if (auto failure = rd_kafka_seek_partitions(consumer, list.get(),
                                              static_cast<int>(limit.count()))) {
    status = rd_kafka_error_code(failure);
    rd_kafka_error_destroy(failure);
  } else {
    status = item->err;
  }
  if (status == RD_KAFKA_RESP_ERR_NO_ERROR)
    return {};
  return tl::unexpected(to_error(status, "seek to " + std::to_string(offset) + " of " + where.topic
                                           + "-" + std::to_string(where.partition)));
}

} // namespace ziyu::messaging
