#include "cli/view/rows.hpp"

#include "base/text.hpp"
#include "cli/common/json.hpp"
#include "cli/view/drawing.hpp"
#include "messaging/dead_letter.hpp"
#include "messaging/result.hpp"

#include <ctime>

namespace ziyu::cli {

namespace {

using messaging::find_header;
using nlohmann::json;

constexpr size_t id_columns = 34;

std::string not_ours(const messaging::record& x, const char* what, bool colours) {
  return paint(messaging::to_string(x.id) + " is no " + what, colour::yellow, colours);
}

std::string header_or(const messaging::record& x, const char* name, const char* otherwise = "") {
  return to_utf8(find_header(x.headers, name).value_or(otherwise));
}

} // namespace

std::string time_of(int64_t ms) {
  const auto seconds = static_cast<std::time_t>(ms / 1000);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  char buffer[32];
  std::strftime(buffer, sizeof buffer, "%m-%d %H:%M:%S", &parts);
  return buffer + format(".%03d", static_cast<int>(ms % 1000));
}

// -- results ------------------------------------------------------------------------

std::string result_head(bool colours) {
  return paint(fit("JOB", id_columns) + " " + fit("LABEL", 20) + " " + fit("CONFIDENCE", 10, true)
                 + " " + fit("MS", 8, true) + " " + fit("DELTA", 10, true) + " WORKER",
               colour::bold, colours);
}

std::string result_row(const messaging::record& x, bool colours) {
  const auto r = messaging::result_from_json(value_of(x));
  if (!r)
    return not_ours(x, "result", colours);
  const auto worker = " " + std::to_string(r->slot) + "." + std::to_string(r->generation);
  const auto numbers = fit(format("%.1f", r->total_ms), 8, true) + " "
                       + paint(fit(signed_bytes(r->delta_bytes), 10, true),
                               r->delta_bytes > 0 ? colour::yellow : colour::grey,
                               colours && r->delta_bytes != 0);
  if (!r->ok)
    return fit(r->job_id, id_columns) + " "
           + paint(fit(to_string(r->reason.code), 31), colour::red, colours) + " " + numbers
           + worker + " " + printable(r->reason.message);
  // A result may have no label: none reaches the model's threshold.
  const auto best = r->top_k.empty() ? messaging::scored_label{"(none)", 0, 0} : r->top_k.front();
  // Without an activation, a confidence may be any number.
  const auto confidence = r->top_k.empty() ? std::string{}
                          : best.confidence < 0 || best.confidence > 1
                            ? format("%.4g", best.confidence)
                            : format("%.1f %%", best.confidence * 100);
  return fit(r->job_id, id_columns) + " " + paint(fit(best.label, 20), colour::cyan, colours) + " "
         + fit(confidence, 10, true) + " " + numbers + worker
         + (r->attempt > 1 ? " attempt " + std::to_string(r->attempt) : "")
         + (r->duplicate_id ? paint(" duplicate id", colour::yellow, colours) : "");
}

// -- events ------------------------------------------------------------------------

std::string event_head(bool colours) {
  return paint(fit("TIME", 18) + " " + fit("EVENT", 26) + " DETAIL", colour::bold, colours);
}

std::string event_row(const messaging::record& x, bool colours) {
  const auto document = value_of(x);
  if (!field(document, "type").is_string())
    return not_ours(x, "event", colours);
  const auto type = text_in(document, "type");
  auto has = [&type](std::string_view part) { return type.find(part) != std::string::npos; };
  const auto bad = has("died") || has("killed") || has("exceeded") || has("opened")
                   || has("unavailable") || has("dead_lettered");
  const auto healing = has("leak") || has("growth") || has("replaced") || has("trimmed")
                       || has("half_open");
  std::string detail;
  if (const auto& values = field(document, "detail"); values.is_object())
    for (const auto& [key, value] : values.items())
      detail += " " + key + "=" + (value.is_string() ? value.get<std::string>() : dumped(value));
  const auto& time = field(document, "time_ms");
  return fit(time.is_number_integer() ? time_of(time.get<int64_t>()) : "?", 18) + " "
         + paint(fit(type, 26),
                 bad       ? colour::red
                 : healing ? colour::yellow
                           : colour::green,
                 colours)
         + printable(detail);
}

// -- dead letters ---------------------------------------------------------------------

std::string dead_letter_head(bool colours) {
  return paint(fit("JOB", id_columns) + " " + fit("REASON", 18) + " " + fit("TRIES", 5, true) + " "
                 + fit("BYTES", 10, true) + " " + fit("SOURCE", 20) + " MESSAGE",
               colour::bold, colours);
}

std::string dead_letter_row(const messaging::record& x, std::optional<size_t> payload_bytes,
                            bool colours) {
  const auto letter = messaging::read_dead_letter(x);
  const auto known = !letter.source.topic.empty();
  return fit(letter.job_id, id_columns) + " "
         + paint(fit(letter.code.empty() ? "?" : letter.code, 18), colour::red, colours) + " "
         + fit(header_or(x, "ziyu-attempts", "?"), 5, true) + " "
         + fit(payload_bytes ? bytes_of(*payload_bytes) : "none", 10, true) + " "
         + fit(known ? messaging::to_string(letter.source) : "?-?-?", 20) + " "
         + printable(letter.message);
}

std::string dead_letter_answer_row(const messaging::record& x, bool colours) {
  const auto letter = messaging::read_dead_letter(x);
  return fit(letter.job_id, id_columns) + " "
         + paint(fit(letter.code.empty() ? "?" : letter.code, 31), colour::red, colours) + " "
         + printable(letter.message);
}

json dead_letter_json(const messaging::record& x, std::optional<size_t> payload_bytes) {
  const auto letter = messaging::read_dead_letter(x);
  const auto known = !letter.source.topic.empty();
  auto headers = json::array();
  for (const auto& [name, value] : x.headers)
    headers.push_back({{"name", to_utf8(name)}, {"value", value ? json(to_utf8(*value)) : json()}});
  return {
    {"job_id", letter.job_id},
    {"reason", {{"code", letter.code}, {"message", letter.message}}},
    {"attempts", letter.attempts},
    {"dead_lettered_ms", letter.time_ms},
    {"replays", letter.replays},
    {"source",
     {{"topic", letter.source.topic},
      {"partition", known ? json(letter.source.partition) : json()},
      {"offset", known ? json(letter.source.offset) : json()}}},
    {"record", {{"topic", x.id.topic}, {"partition", x.id.partition}, {"offset", x.id.offset}}},
    {"payload_bytes", payload_bytes ? json(*payload_bytes) : json()},
    {"headers", std::move(headers)}};
}

} // namespace ziyu::cli
