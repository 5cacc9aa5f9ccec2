#include "messaging/topic_check.hpp"

#include "messaging/offsets_caller.hpp"

#include <algorithm>
#include <thread>

namespace ziyu::messaging {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

/// Time for a new topic to get its leaders.
constexpr auto leader_patience = 1s;

/// What prevents writing to `topic`; nothing when no broker answers.
std::optional<rd_kafka_resp_err_t> ask(rd_kafka_t* client, rd_kafka_topic_t* topic,
                                       clock::time_point deadline) {
  const rd_kafka_metadata_t* found = nullptr;
  if (rd_kafka_metadata(client, 0, topic, &found, remaining(deadline))
      != RD_KAFKA_RESP_ERR_NO_ERROR)
    return std::nullopt;
  auto result = RD_KAFKA_RESP_ERR_NO_ERROR;
  if (found->topic_cnt == 1) {
    const auto& it = found->topics[0];
    const auto led = [](const auto& partition) { return partition.leader >= 0; };
    result = it.err;
    if (result == RD_KAFKA_RESP_ERR_NO_ERROR
        && std::none_of(it.partitions, it.partitions + it.partition_cnt, led))
      result = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
  }
  rd_kafka_metadata_destroy(found);
  return result;
}

} // namespace

std::optional<error> unwritable(rd_kafka_t* client, const std::string& topic,
                                clock::time_point deadline) {
  using topic_ptr = std::unique_ptr<rd_kafka_topic_t, destroy_with<rd_kafka_topic_destroy>>;
  const topic_ptr handle{rd_kafka_topic_new(client, topic.c_str(), nullptr)};
  if (!handle)
    return to_error(rd_kafka_last_error(), topic);
  const auto until = std::min(deadline, clock::now() + leader_patience);
  for (;;) {
    const auto status = ask(client, handle.get(), deadline);
    if (!status || refusal_of(*status) != refusal::topic)
      return std::nullopt;
    if (*status != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE || clock::now() >= until)
      return to_error(*status, topic);
    std::this_thread::sleep_for(100ms);
  }
}

} // namespace ziyu::messaging
