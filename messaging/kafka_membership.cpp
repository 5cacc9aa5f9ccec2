#include "messaging/kafka_membership.hpp"

#include <cstdlib>

namespace ziyu::messaging {

std::shared_ptr<const group_membership> membership_of(rd_kafka_t* consumer) {
  using text_ptr = std::unique_ptr<char, decltype(&std::free)>;
  const auto name = [consumer] {
    text_ptr x{rd_kafka_memberid(consumer), std::free};
    return std::string{x ? x.get() : ""};
  };
  // Without a name and a generation brokers take offsets from anybody: nothing would fence
  // us. The name is asked twice, as it may come between the two answers.
  const auto before = name();
  auto result = std::make_shared<kafka_membership>(rd_kafka_consumer_group_metadata(consumer));
  if (before.empty() || result->what == nullptr || name() != before)
    return nullptr;
  return result;
}

} // namespace ziyu::messaging
