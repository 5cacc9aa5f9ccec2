#include "configs/document.hpp"

#include "configs/schema.hpp"

#include <cstdlib>
#include <set>

namespace ziyu::configs {

namespace {

using nlohmann::json;

bool wants_text_only(const json* schema) {
  if (schema == nullptr)
    return false;
  const auto type = schema->find("type");
  return type != schema->end() && *type == "string";
}

expected<std::string> expand(const std::string& text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (text[i] != '$' || (next != '$' && next != '{')) {
      result += text[i];
    } else if (next == '$') {
      result += '$';
      ++i;
    } else {
      const auto end = text.find('}', i);
      if (end == text.npos)
        return fail(errc::invalid_config, "\"${\" without \"}\"; a dollar sign is written $$");
      const auto name = text.substr(i + 2, end - i - 2);
      const auto* value = std::getenv(name.c_str());
      if (value == nullptr)
        return fail(errc::invalid_config, "the environment variable " + name + " is not set");
      result += value;
      i = end;
    }
  }
  return result;
}

void expand_all(json& x, const std::string& path, std::vector<error>& errors) {
  if (x.is_string()) {
    if (auto text = expand(x.get_ref<const std::string&>()))
      x = std::move(*text);
    else
      errors.push_back({text.error().code, path + ": " + text.error().message});
  } else if (x.is_object()) {
    for (auto& [key, value] : x.items())
      expand_all(value, path.empty() ? key : path + "." + key, errors);
  } else if (x.is_array()) {
    for (size_t i = 0; i < x.size(); ++i)
      expand_all(x[i], path + "[" + std::to_string(i) + "]", errors);
  }
}

} // namespace

expected<json> parse_document(const std::string& text) {
  std::vector<std::set<std::string>> open;
  std::string twice;
  auto watch = [&](int, json::parse_event_t event, json& x) {
    if (event == json::parse_event_t::object_start)
      open.emplace_back();
    else if (event == json::parse_event_t::object_end)
      open.pop_back();
    else if (event == json::parse_event_t::key && !open.back().insert(x.get<std::string>()).second
             && twice.empty())
      twice = x.get<std::string>();
    return true;
  };
  try {
    auto result = json::parse(text, watch, true, true);
    if (!twice.empty())
      return fail(errc::invalid_config, "the key \"" + twice + "\" is written twice in one object");
    return result;
  } catch (const json::parse_error& x) {
    // "[json.exception.parse_error.101] parse error at line 3, column 5: …"
    std::string what = x.what();
    if (const auto i = what.find("] "); i != what.npos)
      what.erase(0, i + 2);
    return fail(errc::invalid_config, "not JSON: " + what);
  }
}

expected<void> apply_override(const json& schema, json& document, const std::string& assignment) {
  const auto equals = assignment.find('=');
  if (equals == assignment.npos || equals == 0)
    return fail(errc::invalid_usage,
                "--set " + assignment + ": expected key.path=value, e.g., workers.slots=4");
  const auto path = assignment.substr(0, equals);
  const auto text = assignment.substr(equals + 1);
  const auto keys = split_path(schema, path);
  auto* at = &document;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (at->is_null())
      *at = json::object();
    if (!at->is_object())
      return fail(errc::invalid_usage,
                  "--set " + path + ": " + keys[i - 1] + " has no keys below it");
    at = &(*at)[keys[i]];
  }
  auto value = json::parse(text, nullptr, false);
  if (value.is_discarded() || (!value.is_string() && wants_text_only(subschema(schema, keys))))
    value = text;
  std::vector<error> errors;
  expand_all(value, path, errors);
  if (!errors.empty())
    return tl::unexpected<error>(errors.front());
  *at = std::move(value);
  return {};
}

std::vector<error> expand_environment(json& document) {
  std::vector<error> errors;
  expand_all(document, "", errors);
  return errors;
}

} // namespace ziyu::configs
