#include "messaging/dead_letter.hpp"

#include "base/text.hpp"
#include "messaging/header_bound.hpp"
#include "messaging/job_id.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>

namespace ziyu::messaging {

using nlohmann::json;

namespace {

constexpr size_t max_message_bytes = 1024;
constexpr size_t max_slim_bytes = 256; // of a key or an id
constexpr size_t max_history = 5;
constexpr size_t max_history_bytes = 4096;

constexpr auto connect_prefix = "__connect.errors.";
constexpr auto spring_prefix = "kafka_dlt-";
constexpr auto job_id_header = "ziyu-job-id";
constexpr auto attempts_header = "ziyu-attempts";
constexpr auto time_header = "ziyu-dead-lettered-ms";
constexpr auto omitted_header = "ziyu-payload-omitted";
constexpr auto headers_omitted_header = "ziyu-headers-omitted";
constexpr auto replays_header = "ziyu-replays";
constexpr auto history_header = "ziyu-history";
constexpr auto mark_header = "ziyu-dlq-mark";
constexpr auto mark_schema = "ziyu.dlq-mark.v1";

template <class T>
T number_of(const std::string& text, T otherwise = 0) {
  T result{};
  const auto end = text.data() + text.size();
  const auto [at, status] = std::from_chars(text.data(), end, result);
  return status == std::errc{} && at == end ? result : otherwise;
}

std::string big_endian(uint64_t x, size_t bytes) {
  std::string result(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i)
    result[i] = static_cast<char>(x >> (8 * (bytes - 1 - i)));
  return result;
}

/// A number as Spring writes it, or as text.
int64_t spring_number(const std::string& x, size_t bytes, int64_t otherwise) {
  if (x.size() != bytes)
    return number_of<int64_t>(x, otherwise);
  uint64_t result = 0;
  for (const char c : x)
    result = result << 8 | static_cast<unsigned char>(c);
  return bytes == 4 ? int64_t{static_cast<int32_t>(result)} : static_cast<int64_t>(result);
}

std::string text_of(const header_list& headers, const std::string& name) {
  return to_utf8(find_header(headers, name).value_or(""));
}

bool is_springs(const header_list& headers) {
  return find_header(headers, "kafka_dlt-original-topic").has_value();
}

/// Where the job of a dead letter was; without a topic when its headers do not say.
record_id source_of(const header_list& headers) {
  record_id result;
  if (is_springs(headers)) {
    result.topic = text_of(headers, "kafka_dlt-original-topic");
    result.partition = static_cast<int32_t>(
      spring_number(find_header(headers, "kafka_dlt-original-partition").value_or(""), 4, -1));
    result.offset = spring_number(find_header(headers, "kafka_dlt-original-offset").value_or(""), 8,
                                  -1);
  } else {
    result.topic = text_of(headers, "__connect.errors.topic");
    result.partition = number_of<int32_t>(text_of(headers, "__connect.errors.partition"), -1);
    result.offset = number_of<int64_t>(text_of(headers, "__connect.errors.offset"), -1);
  }
  return result;
}

/// Whether a header is one that a dead letter adds to those of its job.
bool tells_reason(const std::string& name) {
  return name.starts_with(connect_prefix) || name.starts_with(spring_prefix)
         || name == attempts_header || name == time_header || name == omitted_header
         || name == headers_omitted_header || name == job_id_header;
}

/// The history that the job already has; empty if it is invalid.
json history_of(const record& x) {
  const auto text = find_header(x.headers, history_header).value_or("[]");
  auto result = text.size() <= max_history_bytes ? json::parse(text, nullptr, false)
                                                 : json::array();
  return result.is_array() ? result : json::array();
}

} // namespace

bool from_string(std::string_view word, dead_letter_style& to) noexcept {
  if (word != "connect" && word != "kafka_dlt")
    return false;
  to = word == "connect" ? dead_letter_style::connect : dead_letter_style::kafka_dlt;
  return true;
}

header_list dead_letter_headers(const record& source, const error& reason, uint32_t attempts,
                                int64_t wall_ms, dead_letter_style style) {
  const auto message = shorten(to_utf8(reason.message), max_message_bytes);
  const std::string code{to_string(reason.code)};
  header_list result;
  if (style == dead_letter_style::connect)
    result = {
      {"__connect.errors.topic", source.id.topic},
      {"__connect.errors.partition", std::to_string(source.id.partition)},
      {"__connect.errors.offset", std::to_string(source.id.offset)},
      {"__connect.errors.exception.class.name", code},
      {"__connect.errors.exception.message", message},
    };
  else
    result = {
      {"kafka_dlt-original-topic", source.id.topic},
      {"kafka_dlt-original-partition", big_endian(static_cast<uint32_t>(source.id.partition), 4)},
      {"kafka_dlt-original-offset", big_endian(static_cast<uint64_t>(source.id.offset), 8)},
      {"kafka_dlt-original-timestamp", big_endian(static_cast<uint64_t>(source.timestamp_ms), 8)},
      {"kafka_dlt-exception-fqcn", code},
      {"kafka_dlt-exception-message", message},
    };
  result.emplace_back(attempts_header, std::to_string(attempts));
  result.emplace_back(time_header, std::to_string(wall_ms));
  return result;
}

std::optional<outgoing> slimmed(const outgoing& x, const error& why) {
  const auto reason = shorten(to_utf8(why.message), max_message_bytes);
  outgoing slim{x.topic, x.key, std::nullopt, x.headers, x.token, x.partition};
  if (x.value && !find_header(x.headers, omitted_header)) {
    slim.headers.emplace_back(omitted_header, reason);
    return slim;
  }
  if (find_header(x.headers, headers_omitted_header))
    return std::nullopt;
  // The key stays: a compacted topic refuses records without a key and keeps one record per key.
  if (slim.key && slim.key->size() > max_slim_bytes)
    slim.key = to_string(source_of(x.headers));
  std::erase_if(slim.headers, [](const auto& each) { return !tells_reason(each.first); });
  for (auto& [name, value] : slim.headers)
    if (name == job_id_header && value)
      value = shorten(*value, max_slim_bytes);
  slim.headers.emplace_back(headers_omitted_header, reason);
  return slim;
}

header_list without_reason(const header_list& headers) {
  header_list result;
  for (const auto& x : headers)
    if (!tells_reason(x.first))
      result.push_back(x);
  return result;
}

dead_letter read_dead_letter(const record& x) {
  dead_letter result;
  result.source = source_of(x.headers);
  const auto spring = is_springs(x.headers);
  result.code = text_of(x.headers, spring ? "kafka_dlt-exception-fqcn"
                                          : "__connect.errors.exception.class.name");
  result.message = text_of(x.headers, spring ? "kafka_dlt-exception-message"
                                             : "__connect.errors.exception.message");
  result.attempts = number_of<uint32_t>(text_of(x.headers, attempts_header));
  result.time_ms = number_of<int64_t>(text_of(x.headers, time_header), x.timestamp_ms);
  result.replays = number_of<uint64_t>(text_of(x.headers, replays_header));
  result.incomplete = find_header(x.headers, omitted_header)
                      || find_header(x.headers, headers_omitted_header)
                      || find_header(x.headers, unread_headers);
  if (auto id = find_header(x.headers, job_id_header); id && !id->empty())
    result.job_id = to_utf8(*id);
  else
    result.job_id = job_id_of(result.source.topic.empty() ? x.id : result.source,
                              x.key.value_or(""));
  return result;
}

expected<outgoing> replay_of(const record& x) {
  const auto letter = read_dead_letter(x);
  if (letter.source.topic.empty())
    return fail(errc::unknown_schema,
                to_string(x.id) + " does not say which topic its job came from");
  if (letter.incomplete)
    return fail(
      errc::job_too_large,
      to_string(x.id)
        + " is not complete, since it was too large for its topic; the job itself may still be at "
        + to_string(letter.source));
  auto history = history_of(x);
  history.push_back({{"code", shorten(letter.code, 64)},
                     {"attempts", letter.attempts},
                     {"dead_lettered_ms", letter.time_ms},
                     {"record", to_string(x.id)}});
  while (history.size() > max_history)
    history.erase(history.begin());
  auto text = history.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > max_history_bytes) // another program wrote it
    text = json::array({history.back()}).dump(-1, ' ', false, json::error_handler_t::replace);
  outgoing result;
  result.topic = letter.source.topic;
  // The partition of its key: order by key or partition is kept.
  if (letter.source.partition >= 0)
    result.partition = letter.source.partition;
  result.key = x.key;
  if (x.value)
    result.value = *x.value;
  for (auto& h : without_reason(x.headers))
    if (h.first != replays_header && h.first != history_header)
      result.headers.push_back(std::move(h));
  result.headers.emplace_back(replays_header, std::to_string(letter.replays + 1));
  result.headers.emplace_back(history_header, std::move(text));
  return result;
}

// -- marks ------------------------------------------------------------------------------

std::string_view to_string(dead_letter_action x) noexcept {
  return x == dead_letter_action::replayed ? "replayed" : "dropped";
}

outgoing make_mark(const record_id& letter, dead_letter_action what, int64_t wall_ms) {
  outgoing result;
  result.topic = letter.topic;
  result.partition = letter.partition;
  // A key of its own, so that a compacted topic keeps both the mark and the dead letter.
  result.key = "ziyu-dlq-mark/" + std::to_string(letter.partition) + "-"
               + std::to_string(letter.offset);
  result.value = json{
    {"schema", mark_schema},
    {"partition", letter.partition},
    {"offset", letter.offset},
    {"action", to_string(what)},
    {"time_ms",
     wall_ms}}.dump();
  result.headers = {{mark_header, "1"}, {"content-type", "application/json"}};
  return result;
}

std::optional<dead_letter_mark> read_mark(const record& x) {
  if (!x.value || !find_header(x.headers, mark_header))
    return std::nullopt;
  const auto document = json::parse(*x.value, nullptr, false);
  try {
    if (document.is_discarded() || document.at("schema") != mark_schema)
      return std::nullopt;
    dead_letter_mark result;
    result.letter = {x.id.topic, document.at("partition").get<int32_t>(),
                     document.at("offset").get<int64_t>()};
    result.what = document.at("action") == "replayed" ? dead_letter_action::replayed
                                                      : dead_letter_action::dropped;
    result.time_ms = document.at("time_ms").get<int64_t>();
    return result;
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

} // namespace ziyu::messaging
