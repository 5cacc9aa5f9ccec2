#include "configs/config.hpp"

#include "base/file.hpp"
#include "configs/document.hpp"
#include "configs/fields.hpp"
#include "configs/kafka_rules.hpp"
#include "configs/rules.hpp"
#include "configs/schema.hpp"

#include <algorithm>
#include <regex>
#include <type_traits>

namespace ziyu::configs {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

const json& schema() {
  static const auto result = json::parse(schema_text());
  return result;
}

/// Relative texts of `"format": "path"` become absolute.
void resolve_paths(const json& part, json& x, const fs::path& base) {
  if (part.value("format", "") == "path" && x.is_string()) {
    const auto& text = x.get_ref<const std::string&>();
    if (!text.empty())
      x = (base / text).lexically_normal().string();
  } else if (x.is_object() && part.contains("properties")) {
    for (auto& [key, value] : x.items())
      if (part["properties"].contains(key))
        resolve_paths(part["properties"][key], value, base);
  }
}

properties read_properties(const json& map) {
  properties result;
  for (const auto& [key, value] : map.items())
    if (!value.is_object())
      result[key] = value.is_string() ? value.get<std::string>() : value.dump();
  return result;
}

config read_values(const json& document) {
  config result;
  for_each_field(result, [&document](const std::string& path, auto& member) {
    using type = std::remove_reference_t<decltype(member)>;
    const auto dot = path.find('.');
    const auto& value = document.at(path.substr(0, dot)).at(path.substr(dot + 1));
    if constexpr (std::is_same_v<type, fs::path>)
      member = value.get<std::string>();
    else
      member = value.get<type>();
  });
  const auto& kafka = document.at("kafka");
  result.kafka.common = read_properties(kafka);
  result.kafka.consumer = read_properties(kafka.at("consumer"));
  result.kafka.producer = read_properties(kafka.at("producer"));
  for (const auto& [slot, fault] : document.at("faults").at("slots").items())
    result.faults.slots[static_cast<uint32_t>(std::stoul(slot))] = fault.get<std::string>();
  return result;
}

tl::unexpected<std::vector<error>> only(error x) {
  return tl::unexpected<std::vector<error>>({std::move(x)});
}

properties merged(properties first, const properties& second) {
  for (const auto& [key, value] : second)
    first[key] = value;
  return first;
}

/// What librdkafka demands of `receive.message.max.bytes` beyond the largest answer, and the most
/// that it takes.
constexpr uint64_t of_an_answer = 512, most_receive_bytes = 2'147'483'647;

} // namespace

tl::expected<loaded, std::vector<error>> load(const fs::path& file,
                                              const std::vector<std::string>& overrides) {
  const auto text = read_file(file, uint64_t{4} << 20);
  if (!text)
    return only({errc::invalid_config, text.error().message});
  auto result = parse(*text, fs::absolute(file).parent_path(), overrides);
  if (!result)
    for (auto& x : result.error())
      if (x.code == errc::invalid_config)
        x.message = file.string() + ": " + x.message;
  return result;
}

tl::expected<loaded, std::vector<error>> parse(const std::string& text, const fs::path& base,
                                               const std::vector<std::string>& overrides) {
  auto document = parse_document(text);
  if (!document)
    return only(document.error());
  auto errors = expand_environment(*document);
  resolve_paths(schema(), *document, base);
  // Relative paths on a command line are relative to the current folder.
  for (const auto& x : overrides)
    if (auto applied = apply_override(schema(), *document, x); !applied)
      errors.push_back(applied.error());
  resolve_paths(schema(), *document, fs::current_path());
  auto violations = validate(schema(), *document);
  complete(schema(), *document);
  fit_pixels(*document, violations);
  for (auto& x : check_rules(*document, violations))
    violations.push_back(std::move(x));
  for (auto& x : violations)
    errors.push_back({errc::invalid_config, std::move(x.message)});
  if (!errors.empty())
    return tl::unexpected<std::vector<error>>(std::move(errors));
  auto values = read_values(*document);
  return loaded{std::move(*document), std::move(values)};
}

properties consumer_properties(const config& x) {
  auto result = merged(x.kafka.common, x.kafka.consumer);
  // At least librdkafka's default; more for larger jobs, since a record above it is never fetched,
  // and for a larger answer, since librdkafka demands it.
  auto bytes = std::max(default_receive_bytes, least_receive_bytes(x));
  for (const auto* name : {"fetch.max.bytes", "message.max.bytes"})
    if (const auto i = result.find(name); i != result.end())
      bytes = std::max<uint64_t>(bytes,
                                 std::strtoull(i->second.c_str(), nullptr, 10) + of_an_answer);
  result.try_emplace("receive.message.max.bytes",
                     std::to_string(std::min(bytes, most_receive_bytes)));
  return result;
}

uint64_t least_receive_bytes(const config& x) { return max_record_bytes(x) + of_an_answer; }

properties producer_properties(const config& x) {
  auto result = merged(common_properties(x), x.kafka.producer);
  // Within librdkafka's range. A dead letter has more headers than its job had.
  result.try_emplace("message.max.bytes",
                     std::to_string(std::min<uint64_t>(2 * max_record_bytes(x), 1'000'000'000)));
  return result;
}

properties transactional_properties(const config& x, const std::string& host, int32_t pid) {
  auto result = producer_properties(x);
  auto id = x.delivery.transactional_id;
  if (id.empty()) {
    const auto consumer = consumer_properties(x);
    const auto of = [&consumer](const char* key) {
      const auto i = consumer.find(key);
      return i == consumer.end() ? std::string{} : i->second;
    };
    const auto instance = of("group.instance.id");
    id = of("group.id") + "-"
         + (!instance.empty()  ? instance
            : x.http.port != 0 ? host + "-" + std::to_string(x.http.port)
                               : host + "-p" + std::to_string(pid));
  }
  result["transactional.id"] = id;
  result["transaction.timeout.ms"] = std::to_string(transaction_timeout(x).count());
  return result;
}

std::chrono::milliseconds transaction_timeout(const config& x) {
  const auto given = merged(x.kafka.common, x.kafka.producer);
  const auto i = given.find("transaction.timeout.ms");
  const auto ms = i == given.end() ? 0 : std::strtoll(i->second.c_str(), nullptr, 10);
  return std::chrono::milliseconds{ms > 0 ? ms : default_transaction_timeout_ms};
}

properties common_properties(const config& x) {
  auto result = x.kafka.common;
  result.erase("group.id"); // A consumer's property: it is in the common section of the file.
  return result;
}

uint64_t max_record_bytes(const config& x) {
  constexpr uint64_t most = 500'000'000;
  return std::min(x.jobs.max_bytes, most) / 3 * 4 + (uint64_t{1} << 20);
}

json masked(const json& document) {
  static const std::regex secret{
    R"(password|passphrase|secret|token|credential|\.pem$|oauthbearer\.config|jaas)",
    std::regex::ECMAScript | std::regex::icase};
  auto result = document;
  if (result.is_object())
    for (auto& [key, value] : result.items())
      value = !value.is_structured() && std::regex_search(key, secret) ? json("***")
                                                                       : masked(value);
  else if (result.is_array())
    for (auto& value : result)
      value = masked(value);
  return result;
}

} // namespace ziyu::configs
