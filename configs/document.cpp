#include "configs/document.hpp"

#include "configs/schema.hpp"

#include <cstdlib>
#include <set>

namespace ziyu::configs {

namespace {

using nlohmann::json;

/// Of objects and lists in each other: what is checked and copied goes as deep into the stack.
constexpr int most_depth = 64;

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
  // The parser takes a zero for the end of its input, whatever follows.
  if (const auto zero = text.find('\0'); zero != text.npos)
    return fail(errc::invalid_config,
                "not JSON: byte " + std::to_string(zero + 1) + " is a zero byte");
  std::vector<std::set<std::string>> open;
  std::string twice;
  auto too_deep = false;
  auto watch = [&](int depth, json::parse_event_t event, json& x) {
    too_deep = too_deep || depth > most_depth;
    if (too_deep)
      return false;
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
    if (too_deep)
      return fail(errc::invalid_config, "nested more than " + std::to_string(most_depth) + " deep");
    if (!twice.empty())
      return fail(errc::invalid_config, "the key \"" + twice + "\" is written twice in one object");
    return result;
  } catch (const json::exception& x) { // a number out of range is no parse_error
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
  auto value = json::parse(
    text, [](int depth, json::parse_event_t, json&) { return depth <= most_depth; }, false);
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
