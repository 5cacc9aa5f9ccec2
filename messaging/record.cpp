#include "messaging/record.hpp"

#include "messaging/producer.hpp"

namespace ziyu::messaging {

namespace {

size_t size_of(const header_list& headers) {
  // Tiny headers weigh little in Kafka, and much here.
  auto result = headers.size() * sizeof(header_list::value_type);
  for (const auto& [name, value] : headers)
    result += name.size() + (value ? value->size() : 0);
  return result;
}

} // namespace

std::string to_string(const record_id& id) {
  return id.topic + "-" + std::to_string(id.partition) + "-" + std::to_string(id.offset);
}

std::optional<std::string> find_header(const header_list& headers, const std::string& name) {
  for (auto i = headers.rbegin(); i != headers.rend(); ++i)
    if (i->first == name)
      return i->second.value_or("");
  return std::nullopt;
}

size_t record::bytes() const {
  return (key ? key->size() : 0) + (value ? value->size() : 0) + size_of(headers);
}

size_t outgoing::bytes() const {
  return (key ? key->size() : 0) + (value ? value->size() : 0) + size_of(headers);
}

} // namespace ziyu::messaging
