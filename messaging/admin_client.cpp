#include "messaging/admin_client.hpp"

namespace ziyu::messaging {

expected<kafka_ptr> make_admin(const kafka_properties& properties) {
  kafka_properties own;
  // An admin client takes only the properties of the connection, not a consumer's or
  // producer's.
  for (const auto& [name, value] : properties)
    if (name != "group.id")
      own.emplace(name, value);
  auto conf = make_conf(own);
  if (!conf)
    return tl::unexpected(conf.error());
  char text[512];
  auto handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf->get(), text, sizeof text);
  if (handle == nullptr)
    return fail(errc::invalid_config, std::string{"kafka: "} + text);
  conf->release();
  return kafka_ptr{handle};
}

#if RD_KAFKA_VERSION >= 0x02030000
event_ptr ask_about_topics(rd_kafka_t* client, std::vector<const char*> names, bool with_operations,
                           std::chrono::milliseconds limit) {
  using collection_ptr =
    std::unique_ptr<rd_kafka_TopicCollection_t, destroy_with<rd_kafka_TopicCollection_destroy>>;
  using options_ptr =
    std::unique_ptr<rd_kafka_AdminOptions_t, destroy_with<rd_kafka_AdminOptions_destroy>>;
  const collection_ptr topics{rd_kafka_TopicCollection_of_topic_names(names.data(), names.size())};
  const options_ptr options{rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS)};
  rd_kafka_AdminOptions_set_request_timeout(options.get(), static_cast<int>(limit.count()), nullptr,
                                            0);
  const error_ptr refused{
    rd_kafka_AdminOptions_set_include_authorized_operations(options.get(), with_operations)};
  const queue_ptr queue{rd_kafka_queue_new(client)};
  rd_kafka_DescribeTopics(client, topics.get(), options.get(), queue.get());
  return event_ptr{rd_kafka_queue_poll(queue.get(), static_cast<int>(limit.count()) + 500)};
}
#endif

} // namespace ziyu::messaging
