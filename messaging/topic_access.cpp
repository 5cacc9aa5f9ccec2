#include "messaging/topic_access.hpp"

#include "messaging/admin_client.hpp"

#include <algorithm>

namespace ziyu::messaging {

namespace {

using access_map = std::map<std::string, topic_access>;

/// What Kafka takes as a topic's name. A dead letter that another program wrote may name anything.
bool is_topic_name(const std::string& x) {
  constexpr const char* letters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  return !x.empty() && x.size() <= 249 && x != "." && x != ".."
         && x.find_first_not_of(letters) == std::string::npos;
}

error missing(const std::string& topic) {
  return {errc::unavailable, "topic " + topic + " does not exist; create it"};
}

std::string allow(const char* operation, const std::string& topic) {
  return std::string{"; allow "} + operation + " on it (kafka-acls --add --operation " + operation
         + " --topic " + topic + ")";
}

error trouble_of(rd_kafka_resp_err_t x, const std::string& topic) {
  if (x == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
    return missing(topic);
  if (x == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
    return {errc::kafka, "topic " + topic + " may not be described, and perhaps does not exist"
                           + allow("Describe", topic)};
  return to_error(x, "topic " + topic);
}

error no_answer(const kafka_properties& properties, std::chrono::milliseconds limit,
                const std::string& why) {
  const auto i = properties.find("bootstrap.servers");
  return {errc::unavailable, "no Kafka broker at "
                               + (i == properties.end() ? "(none given)" : i->second)
                               + " says within " + std::to_string(limit.count())
                               + " ms what may be done with its " + "topics: " + why};
}

#if RD_KAFKA_VERSION >= 0x02030000

topic_access access_of(const rd_kafka_TopicDescription_t& x, const std::string& name) {
  topic_access result;
  const auto* failure = rd_kafka_TopicDescription_error(&x);
  if (const auto code = rd_kafka_error_code(failure); code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    result.trouble = trouble_of(code, name);
    return result;
  }
  size_t partitions = 0, operations = 0;
  rd_kafka_TopicDescription_partitions(&x, &partitions);
  result.partitions = static_cast<int32_t>(partitions);
  const auto* first = rd_kafka_TopicDescription_authorized_operations(&x, &operations);
  if (first == nullptr)
    return result; // the broker does not tell
  const auto has = [&](rd_kafka_AclOperation_t wanted) {
    return std::any_of(first, first + operations, [&](auto operation) {
      return operation == wanted || operation == RD_KAFKA_ACL_OPERATION_ALL;
    });
  };
  result.may_read = has(RD_KAFKA_ACL_OPERATION_READ);
  result.may_write = has(RD_KAFKA_ACL_OPERATION_WRITE);
  return result;
}

/// Nothing for topics that the broker does not mention.
expected<access_map> ask(rd_kafka_t* client, const std::vector<const char*>& names,
                         const kafka_properties& properties, std::chrono::milliseconds limit) {
  auto event = ask_about_topics(client, names, true, limit);
  // A broker before Kafka 2.3 does not know the question for the operations.
  if (event && rd_kafka_event_error(event.get()) == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE)
    event = ask_about_topics(client, names, false, limit);
  if (!event)
    return tl::unexpected(no_answer(properties, limit, "no answer"));
  if (rd_kafka_event_error(event.get()) != RD_KAFKA_RESP_ERR_NO_ERROR)
    return tl::unexpected(no_answer(properties, limit, rd_kafka_event_error_string(event.get())));
  size_t count = 0;
  const auto* answers = rd_kafka_DescribeTopics_result_topics(
    rd_kafka_event_DescribeTopics_result(event.get()), &count);
  access_map result;
  for (size_t i = 0; i < count; ++i) {
    const std::string name = rd_kafka_TopicDescription_name(answers[i]);
    result.emplace(name, access_of(*answers[i], name));
  }
  return result;
}

#else

/// Without the operations: whether the topics exist.
expected<access_map> ask(rd_kafka_t*, const std::vector<const char*>& names,
                         const kafka_properties& properties, std::chrono::milliseconds limit) {
  const auto known = read_metadata(properties, limit);
  if (!known)
    return tl::unexpected(known.error());
  access_map result;
  for (const auto* name : names)
    if (const auto* found = known->find(name))
      result[name].partitions = found->partitions;
  return result;
}

#endif

} // namespace

std::optional<error> topic_access::unwritable(const std::string& name) const {
  if (trouble || may_write)
    return trouble;
  return error{errc::kafka, "topic " + name + " may not be written to" + allow("Write", name)};
}

std::optional<error> topic_access::unreadable(const std::string& name) const {
  if (trouble || may_read)
    return trouble;
  return error{errc::kafka, "topic " + name + " may not be read" + allow("Read", name)};
}

expected<access_map> describe_topics(const kafka_properties& properties,
                                     const std::set<std::string>& topics,
                                     std::chrono::milliseconds limit) {
  access_map result;
  std::vector<const char*> names; // librdkafka refuses all if one is empty
  for (const auto& name : topics)
    if (is_topic_name(name))
      names.push_back(name.c_str());
    else
      result[name].trouble = error{errc::kafka, "\"" + name + "\" is no name of a topic"};
  if (names.empty())
    return result;
  auto client = make_admin(properties);
  if (!client)
    return tl::unexpected(client.error());
  auto said = ask(client->get(), names, properties, limit);
  if (!said)
    return tl::unexpected(said.error());
  result.merge(*said);
  for (const auto* name : names)
    if (const auto [i, is_new] = result.try_emplace(name); is_new)
      i->second.trouble = missing(name);
  return result;
}

} // namespace ziyu::messaging
