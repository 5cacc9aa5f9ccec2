#include "messaging/committed_offsets.hpp"

#include "base/log.hpp"
#include "messaging/admin_client.hpp"

#include <utility>

namespace ziyu::messaging {

namespace {

using std::chrono::milliseconds;

partition_list_ptr to_list(const std::vector<topic_partition>& partitions) {
  partition_list_ptr result{rd_kafka_topic_partition_list_new(static_cast<int>(partitions.size()))};
  for (const auto& where : partitions)
    rd_kafka_topic_partition_list_add(result.get(), where.topic.c_str(), where.partition);
  return result;
}

std::string_view metadata_of(const rd_kafka_topic_partition_t& x) {
  return {static_cast<const char*>(x.metadata), x.metadata == nullptr ? 0 : x.metadata_size};
}

/// Partitions whose commit has finished records: their map must be compared with the log's end.
std::set<topic_partition> with_finished(const rd_kafka_topic_partition_list_t& list) {
  std::set<topic_partition> result;
  for (int i = 0; i < list.cnt; ++i)
    if (const auto& x = list.elems[i];
        x.offset >= 0 && !decode_offset_map(metadata_of(x), x.offset).map.finished.empty())
      result.insert({x.topic, x.partition});
  return result;
}

/// Partitions by leader, without those that have none.
std::map<int32_t, std::vector<topic_partition>> by_leader(
  rd_kafka_t* client, const std::set<topic_partition>& partitions, milliseconds limit) {
  std::map<int32_t, std::vector<topic_partition>> result;
  const rd_kafka_metadata_t* found = nullptr;
  if (rd_kafka_metadata(client, 0, nullptr, &found, static_cast<int>(limit.count()))
      != RD_KAFKA_RESP_ERR_NO_ERROR)
    return result;
  for (int t = 0; t < found->topic_cnt; ++t)
    for (int p = 0; p < found->topics[t].partition_cnt; ++p) {
      const auto& x = found->topics[t].partitions[p];
      if (topic_partition where{found->topics[t].topic, x.id};
          x.leader >= 0 && partitions.contains(where))
        result[x.leader].push_back(std::move(where));
    }
  rd_kafka_metadata_destroy(found);
  return result;
}

} // namespace

expected<committed_states> read_committed(rd_kafka_t* client,
                                          const std::vector<topic_partition>& partitions,
                                          milliseconds limit, milliseconds leader_limit) {
  const auto answered = to_list(partitions);
  const auto status = rd_kafka_committed(client, answered.get(), static_cast<int>(limit.count()));
  if (status != RD_KAFKA_RESP_ERR_NO_ERROR)
    return tl::unexpected(to_error(status, "the committed offsets"));
  const auto ends = log_ends(client, with_finished(*answered), leader_limit);
  committed_states result;
  for (int i = 0; i < answered->cnt; ++i) {
    const auto& x = answered->elems[i];
    if (x.err != RD_KAFKA_RESP_ERR_NO_ERROR)
      continue;
    const topic_partition where{x.topic, x.partition};
    if (x.offset < 0) {
      result.emplace(where, std::nullopt);
      continue;
    }
    const auto end = ends.find(where);
    auto decoded = decode_offset_map(metadata_of(x), x.offset,
                                     end == ends.end() ? std::nullopt : std::optional{end->second});
    if (!decoded.map.finished.empty() && end == ends.end())
      continue;
    if (!decoded.ignored.empty())
      spdlog::warn("the map in the commit of {}-{} at offset {} is not used: {}", where.topic,
                   where.partition, x.offset, decoded.ignored);
    result.emplace(where, committed_state{x.offset, std::move(decoded.map),
                                          std::move(decoded.ignored), leader_epoch_of(x)});
  }
  return result;
}

namespace {

/// @param which RD_KAFKA_OFFSET_END or RD_KAFKA_OFFSET_BEGINNING.
std::map<topic_partition, int64_t> log_bounds(rd_kafka_t* client,
                                              const std::set<topic_partition>& partitions,
                                              int64_t which, milliseconds limit) {
  std::map<topic_partition, int64_t> result;
  if (partitions.empty())
    return result;
  const auto ask = [&](const std::vector<topic_partition>& some) {
    const auto list = to_list(some);
    for (int i = 0; i < list->cnt; ++i)
      list->elems[i].offset = which;
    if (rd_kafka_offsets_for_times(client, list.get(), static_cast<int>(limit.count()))
        != RD_KAFKA_RESP_ERR_NO_ERROR)
      return false;
    for (int i = 0; i < list->cnt; ++i)
      if (const auto& x = list->elems[i]; x.err == RD_KAFKA_RESP_ERR_NO_ERROR && x.offset >= 0)
        result.emplace(topic_partition{x.topic, x.partition}, x.offset);
    return true;
  };
  const auto leaders = by_leader(client, partitions, limit);
  std::vector<topic_partition> with_leader;
  for (const auto& [leader, its] : leaders)
    with_leader.insert(with_leader.end(), its.begin(), its.end());
  // Asks all leaders at once first; librdkafka then answers for all of them or for none.
  if (with_leader.empty() || ask(with_leader) || leaders.size() == 1)
    return result;
  for (const auto& [leader, its] : leaders)
    ask(its);
  return result;
}

} // namespace

std::map<topic_partition, int64_t> log_ends(rd_kafka_t* client,
                                            const std::set<topic_partition>& partitions,
                                            milliseconds limit) {
  return log_bounds(client, partitions, RD_KAFKA_OFFSET_END, limit);
}

std::map<topic_partition, int64_t> log_starts(rd_kafka_t* client,
                                              const std::set<topic_partition>& partitions,
                                              milliseconds limit) {
  return log_bounds(client, partitions, RD_KAFKA_OFFSET_BEGINNING, limit);
}

// librdkafka returns topic ids since 2.3.0.
#if RD_KAFKA_VERSION >= 0x02030000
std::map<std::string, std::string> topic_ids(rd_kafka_t* client,
                                             const std::set<std::string>& topics,
                                             milliseconds limit) {
  std::map<std::string, std::string> result;
  std::vector<const char*> names;
  names.reserve(topics.size());
  for (const auto& x : topics)
    names.push_back(x.c_str());
  if (names.empty())
    return result;
  const auto event = ask_about_topics(client, names, false, limit);
  if (!event || rd_kafka_event_error(event.get()) != RD_KAFKA_RESP_ERR_NO_ERROR)
    return result;
  size_t count = 0;
  const auto found = rd_kafka_DescribeTopics_result_topics(
    rd_kafka_event_DescribeTopics_result(event.get()), &count);
  for (size_t i = 0; i < count; ++i) {
    const auto failed = rd_kafka_TopicDescription_error(found[i]);
    const auto id = rd_kafka_TopicDescription_topic_id(found[i]);
    if (rd_kafka_error_code(failed) == RD_KAFKA_RESP_ERR_NO_ERROR && id != nullptr)
      result.emplace(rd_kafka_TopicDescription_name(found[i]), rd_kafka_Uuid_base64str(id));
  }
  return result;
}
#else
std::map<std::string, std::string> topic_ids(rd_kafka_t*, const std::set<std::string>&,
                                             milliseconds) {
  return {};
}
#endif

expected<std::vector<stable_commit>> read_stable(rd_kafka_t* client, const std::string& group,
                                                 const std::vector<topic_partition>& partitions,
                                                 milliseconds limit) {
  const auto wanted = to_list(partitions);
  using request_ptr = std::unique_ptr<rd_kafka_ListConsumerGroupOffsets_t,
                                      destroy_with<rd_kafka_ListConsumerGroupOffsets_destroy>>;
  request_ptr request{rd_kafka_ListConsumerGroupOffsets_new(group.c_str(), wanted.get())};
  using options_ptr =
    std::unique_ptr<rd_kafka_AdminOptions_t, destroy_with<rd_kafka_AdminOptions_destroy>>;
  options_ptr options{
    rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS)};
  rd_kafka_AdminOptions_set_request_timeout(options.get(), static_cast<int>(limit.count()), nullptr,
                                            0);
  // Unstable offsets would be those before a commit that is still being written.
  if (error_ptr failed{rd_kafka_AdminOptions_set_require_stable_offsets(options.get(), 1)})
    return fail(errc::kafka, rd_kafka_error_string(failed.get()));
  queue_ptr answers{rd_kafka_queue_new(client)};
  auto one = request.get();
  rd_kafka_ListConsumerGroupOffsets(client, &one, 1, options.get(), answers.get());
  event_ptr event{rd_kafka_queue_poll(answers.get(), static_cast<int>(limit.count()) + 1'000)};
  if (!event)
    return fail(errc::timeout, "no answer");
  if (const auto status = rd_kafka_event_error(event.get()); status != RD_KAFKA_RESP_ERR_NO_ERROR)
    return tl::unexpected(to_error(status, rd_kafka_event_error_string(event.get())));
  size_t count = 0;
  auto groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
    rd_kafka_event_ListConsumerGroupOffsets_result(event.get()), &count);
  if (count != 1)
    return fail(errc::kafka, "an answer for " + std::to_string(count) + " groups");
  if (auto failed = rd_kafka_group_result_error(groups[0]))
    return tl::unexpected(to_error(rd_kafka_error_code(failed), rd_kafka_error_string(failed)));
  const auto list = rd_kafka_group_result_partitions(groups[0]);
  std::vector<stable_commit> result;
  for (int i = 0; list != nullptr && i < list->cnt; ++i) {
    const auto& found = list->elems[i];
    if (found.err != RD_KAFKA_RESP_ERR_NO_ERROR)
      return tl::unexpected(to_error(found.err, "offset fetch"));
    result.push_back(
      {{found.topic, found.partition}, found.offset, std::string{metadata_of(found)}});
  }
  if (result.size() != partitions.size())
    return fail(errc::kafka, "an answer for " + std::to_string(result.size()) + " partitions of "
                               + std::to_string(partitions.size()));
  return result;
}

} // namespace ziyu::messaging
