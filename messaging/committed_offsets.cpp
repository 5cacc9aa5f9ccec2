#include "messaging/committed_offsets.hpp"

#include "base/log.hpp"

namespace ziyu::messaging {

namespace {

partition_list_ptr with_metadata(const rd_kafka_topic_partition_list_t& list) {
  partition_list_ptr result{rd_kafka_topic_partition_list_new(list.cnt)};
  for (int i = 0; i < list.cnt; ++i)
    if (list.elems[i].metadata_size > 0)
      rd_kafka_topic_partition_list_add(result.get(), list.elems[i].topic, list.elems[i].partition);
  return result;
}

} // namespace

expected<std::map<topic_partition, committed_state>> read_committed(
  rd_kafka_t* client, const rd_kafka_topic_partition_list_t& list,
  std::chrono::milliseconds limit) {
  partition_list_ptr found{rd_kafka_topic_partition_list_copy(&list)};
  const auto status = rd_kafka_committed(client, found.get(), static_cast<int>(limit.count()));
  if (status != RD_KAFKA_RESP_ERR_NO_ERROR)
    return tl::unexpected(error{to_error(status, "").code, rd_kafka_err2str(status)});
  std::map<topic_partition, committed_state> result;
  const auto ends = log_ends(client, *with_metadata(*found), limit);
  for (int i = 0; i < found->cnt; ++i) {
    const auto& x = found->elems[i];
    if (x.err != RD_KAFKA_RESP_ERR_NO_ERROR || x.offset < 0)
      continue;
    const topic_partition where{x.topic, x.partition};
    const std::string_view metadata{static_cast<const char*>(x.metadata), x.metadata_size};
    const auto end = ends.find(where);
    auto decoded = decode_offset_map(metadata, x.offset,
                                     end == ends.end() ? std::nullopt : std::optional{end->second});
    if (!decoded.map.finished.empty() && end == ends.end()) {
      decoded.map.finished.clear();
      decoded.ignored = "the end of the log could not be asked";
    }
    if (!decoded.ignored.empty())
      spdlog::warn("the map in the commit of {}-{} at offset {} is not used: {}", where.topic,
                   where.partition, x.offset, decoded.ignored);
    result.emplace(where,
                   committed_state{x.offset, std::move(decoded.map), std::move(decoded.ignored)});
  }
  return result;
}

std::map<topic_partition, int64_t> log_ends(rd_kafka_t* client,
                                            rd_kafka_topic_partition_list_t& list,
                                            std::chrono::milliseconds limit) {
  std::map<topic_partition, int64_t> result;
  for (int i = 0; i < list.cnt; ++i)
    list.elems[i].offset = RD_KAFKA_OFFSET_END;
  if (list.cnt == 0
      || rd_kafka_offsets_for_times(client, &list, static_cast<int>(limit.count()))
           != RD_KAFKA_RESP_ERR_NO_ERROR)
    return result;
  for (int i = 0; i < list.cnt; ++i)
    if (const auto& x = list.elems[i]; x.err == RD_KAFKA_RESP_ERR_NO_ERROR && x.offset >= 0)
      result.emplace(topic_partition{x.topic, x.partition}, x.offset);
  return result;
}

} // namespace ziyu::messaging
