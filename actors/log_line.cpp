#include "actors/log_line.hpp"

#include "base/log.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace ziyu::actors {

using nlohmann::json;

namespace {

/// Longer texts are left out of the log.
constexpr size_t max_logged = 300;

/// The bound for a reason, which matters most in its line.
constexpr size_t max_why = 1'000;

/// Values that identify things come first.
constexpr std::array<std::string_view, 8> first_keys{"job_id",  "source", "slot", "generation",
                                                     "process", "pid",    "code", "cause"};

/// The members of an event that tell why it happened; the first one that exists counts.
constexpr std::array<const char*, 4> why_keys{"reason", "message", "judgement", "how"};

/// The same for values with parts, which only JSON lines have.
constexpr size_t max_structured = 1'000;

std::string dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

bool is_short(const json& value) {
  return !value.is_structured()
         && (!value.is_string() || value.get_ref<const std::string&>().size() <= max_logged);
}

std::string shown(const json& value) {
  return value.is_string() ? to_utf8(value.get_ref<const std::string&>()) : dumped(value);
}

std::string head_of(std::string_view what, std::string_view why) {
  auto result = to_utf8(what);
  if (!why.empty())
    result += ": " + shorten(to_utf8(why), max_why);
  return result;
}

} // namespace

std::string why_of(const json& detail) {
  for (const auto* key : why_keys) {
    const auto i = detail.find(key);
    if (i == detail.end() || !i->is_string() || i->get_ref<const std::string&>().empty())
      continue;
    const auto code = detail.find("code");
    return code != detail.end() && code->is_string()
             ? code->get<std::string>() + ": " + i->get<std::string>()
             : i->get<std::string>();
  }
  return {};
}

std::string as_text(std::string_view what, std::string_view why, const json& detail) {
  auto result = head_of(what, why);
  auto add = [&](const std::string& key, const json& value) {
    const auto may_be_told = key == "code"
                             || std::find(why_keys.begin(), why_keys.end(), key) != why_keys.end();
    const auto told = may_be_told && value.is_string()
                      && why.find(value.get_ref<const std::string&>()) != std::string_view::npos;
    if (is_short(value) && !told)
      result += " " + key + "=" + shown(value);
  };
  for (const auto& key : first_keys)
    if (const auto i = detail.find(std::string{key}); i != detail.end())
      add(std::string{key}, *i);
  for (const auto& [key, value] : detail.items())
    if (std::find(first_keys.begin(), first_keys.end(), key) == first_keys.end())
      add(key, value);
  return result;
}

void log_line(spdlog::level::level_enum level, std::string_view what, std::string_view why,
              const json& detail, std::string_view event) {
  if (!spdlog::should_log(level))
    return;
  if (!log_is_json()) {
    spdlog::log(level, "{}", as_text(what, why, detail));
    return;
  }
  auto values = json::object();
  for (const auto& [key, value] : detail.items())
    if (is_short(value) || (value.is_structured() && dumped(value).size() <= max_structured))
      values[key] = value;
  json members{{"detail", std::move(values)}};
  if (!event.empty())
    members["event"] = event;
  // Without its braces: each line adds further members.
  const auto text = dumped(members);
  log_with_members(level, head_of(what, why), text.substr(1, text.size() - 2));
}

} // namespace ziyu::actors
