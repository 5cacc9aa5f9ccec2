#include "messaging/kafka_membership.hpp"

namespace ziyu::messaging {

std::string member_name(rd_kafka_t* consumer) {
  const auto name = rd_kafka_memberid(consumer);
  std::string result{name == nullptr ? "" : name};
  rd_kafka_mem_free(consumer, name);
  return result;
}

std::shared_ptr<const group_membership> membership_of(rd_kafka_t* consumer) {
  // Without a name and a generation, brokers take offsets from anybody, and nothing would fence us.
  // The name is read twice, as it may arrive between the two answers.
  const auto before = member_name(consumer);
  auto result = std::make_shared<kafka_membership>(rd_kafka_consumer_group_metadata(consumer));
  if (before.empty() || result->what == nullptr || member_name(consumer) != before)
    return nullptr;
  return result;
}

} // namespace ziyu::messaging
