#include "configs/schema.hpp"

#include "base/bytes.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <regex>

namespace ziyu::configs {

namespace {

using nlohmann::json;

std::string join(const std::string& path, const std::string& key) {
  return path.empty() ? key : path + "." + key;
}

bool has_type(const json& x, const std::string& type) {
  if (type == "integer")
    return x.is_number_integer();
  if (type == "number")
    return x.is_number();
  if (type == "string")
    return x.is_string();
  if (type == "boolean")
    return x.is_boolean();
  if (type == "object")
    return x.is_object();
  if (type == "array")
    return x.is_array();
  return type == "null" && x.is_null();
}

std::vector<std::string> types_of(const json& schema) {
  if (const auto i = schema.find("type"); i != schema.end())
    return i->is_array() ? i->get<std::vector<std::string>>() : std::vector{i->get<std::string>()};
  return {};
}

/// "a whole number", "true or false", "one of debug, info"…
std::string expectation(const json& schema) {
  if (const auto i = schema.find("enum"); i != schema.end()) {
    std::string result = "one of ";
    for (const auto& x : *i)
      result += (x == i->front() ? "" : ", ") + (x.is_string() ? x.get<std::string>() : x.dump());
    return result;
  }
  if (schema.value("format", "") == "bytes")
    return "an amount of bytes such as 4096, \"64KiB\" or \"6MiB\"";
  std::string result;
  for (const auto& x : types_of(schema)) {
    result += result.empty() ? "" : " or ";
    result += x == "integer"   ? "a whole number"
              : x == "number"  ? "a number"
              : x == "string"  ? "a text"
              : x == "boolean" ? "true or false"
              : x == "object"  ? "an object {…}"
              : x == "array"   ? "a list […]"
                               : "null";
  }
  return result;
}

/// What to quote in a message: never a whole subtree.
std::string shown(const json& x) {
  if (x.is_object() || x.is_array())
    return x.is_object() ? "an object" : "a list";
  auto text = x.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > 60)
    text = to_utf8(text.substr(0, 57)) + "…";
  return text;
}

class checker {
public:
  explicit checker(const json& root) : root_(root) {}

  void check(const json& schema, const json& x, const std::string& path) {
    const auto types = types_of(schema);
    if (!types.empty()
        && std::none_of(types.begin(), types.end(), [&x](const auto& t) { return has_type(x, t); }))
      return report(path, shown(x) + " is not " + expectation(schema));
    if (const auto i = schema.find("const"); i != schema.end() && x != *i)
      return report(path, shown(x) + " is not " + shown(*i));
    if (const auto i = schema.find("enum");
        i != schema.end() && std::find(i->begin(), i->end(), x) == i->end())
      return report(path, shown(x) + " is not " + expectation(schema));
    if (schema.value("format", "") == "bytes")
      return check_bytes(schema, x, path);
    if (x.is_number())
      check_range(schema, x, shown(x), path);
    if (x.is_string())
      check_text(schema, x.get_ref<const std::string&>(), path);
    if (x.is_array())
      check_list(schema, x, path);
    if (x.is_object())
      check_object(schema, x, path);
  }

  std::vector<violation> take() { return std::move(found_); }

private:
  void report(const std::string& path, const std::string& what) {
    found_.push_back({path, path.empty() ? "the document: " + what : path + ": " + what});
  }

  void check_bytes(const json& schema, const json& x, const std::string& path) {
    if (x.is_number()) {
      check_range(schema, x, shown(x), path);
    } else if (const auto amount = parse_bytes(x.get_ref<const std::string&>())) {
      check_range(schema, *amount, shown(x), path);
    } else {
      report(path, amount.error().message);
    }
  }

  void check_range(const json& schema, const json& x, const std::string& text,
                   const std::string& path) {
    auto bound = [&](const char* name, auto broken, const char* words) {
      if (const auto i = schema.find(name); i != schema.end() && broken(x, *i))
        report(path, text + " is not " + words + " " + i->dump());
    };
    bound(
      "minimum", [](const json& a, const json& b) { return a < b; }, "at least");
    bound(
      "maximum", [](const json& a, const json& b) { return a > b; }, "at most");
    bound(
      "exclusiveMinimum", [](const json& a, const json& b) { return a <= b; }, "greater than");
    bound(
      "exclusiveMaximum", [](const json& a, const json& b) { return a >= b; }, "less than");
  }

  void check_text(const json& schema, const std::string& x, const std::string& path) {
    if (const auto i = schema.find("minLength"); i != schema.end() && x.size() < i->get<size_t>())
      return report(path, "must not be empty");
    if (const auto i = schema.find("pattern");
        i != schema.end()
        && !std::regex_search(x, std::regex{i->get<std::string>(), std::regex::ECMAScript}))
      report(path, shown(x) + " does not match " + i->get<std::string>());
  }

  void check_list(const json& schema, const json& x, const std::string& path) {
    if (const auto i = schema.find("minItems"); i != schema.end() && x.size() < i->get<size_t>())
      report(path, "needs at least " + i->dump() + " entries");
    if (const auto i = schema.find("items"); i != schema.end())
      for (size_t k = 0; k < x.size(); ++k)
        check(*i, x[k], path + "[" + std::to_string(k) + "]");
  }

  void check_object(const json& schema, const json& x, const std::string& path) {
    static const json none = json::object();
    const auto& properties = schema.contains("properties") ? schema["properties"] : none;
    if (const auto i = schema.find("required"); i != schema.end())
      for (const auto& key : *i)
        if (!x.contains(key.get_ref<const std::string&>())) {
          const auto& name = key.get_ref<const std::string&>();
          const auto part = properties.find(name);
          const auto full = join(path, name);
          found_.push_back({full, full + " is missing"
                                    + (part != properties.end() && part->contains("description")
                                         ? ": " + (*part)["description"].get<std::string>()
                                         : "")});
        }
    const auto additional = schema.find("additionalProperties");
    const auto names = schema.find("propertyNames");
    for (const auto& [key, value] : x.items()) {
      const auto full = join(path, key);
      if (const auto i = properties.find(key); i != properties.end()) {
        check(*i, value, full);
      } else if (additional != schema.end() && additional->is_boolean()
                 && !additional->get<bool>()) {
        report_unknown(properties, key, full);
      } else {
        if (names != schema.end())
          check_text(*names, key, full);
        if (additional != schema.end() && additional->is_object())
          check(*additional, value, full);
      }
    }
  }

  void report_unknown(const json& properties, const std::string& key, const std::string& full) {
    std::vector<std::string> siblings;
    for (const auto& [name, unused] : properties.items())
      siblings.push_back(name);
    auto prefix = full.substr(0, full.size() - key.size());
    auto suggestion = closest(key, siblings);
    if (suggestion.empty()) {
      // Right key, wrong place?
      prefix.clear();
      suggestion = find_elsewhere(root_, key, "");
    }
    found_.push_back(
      {full, "unknown key " + full
               + (suggestion.empty() ? "" : ": did you mean " + prefix + suggestion + "?")});
  }

  static std::string find_elsewhere(const json& schema, const std::string& key,
                                    const std::string& path) {
    if (const auto i = schema.find("properties"); i != schema.end())
      for (const auto& [name, part] : i->items()) {
        if (name == key)
          return join(path, name);
        if (auto deeper = find_elsewhere(part, key, join(path, name)); !deeper.empty())
          return deeper;
      }
    return {};
  }

  const json& root_;
  std::vector<violation> found_;
};

} // namespace

std::vector<violation> validate(const json& schema, const json& document) {
  checker result{schema};
  result.check(schema, document, "");
  return result.take();
}

void complete(const json& schema, json& document) {
  const auto properties = schema.find("properties");
  if (!document.is_object() || properties == schema.end())
    return;
  for (const auto& [name, part] : properties->items()) {
    if (!document.contains(name)) {
      if (const auto i = part.find("default"); i != part.end())
        document[name] = *i;
      else if (part.contains("properties"))
        document[name] = json::object();
      else
        continue;
    }
    auto& value = document[name];
    if (part.value("format", "") == "bytes" && value.is_string())
      if (const auto amount = parse_bytes(value.get_ref<const std::string&>()))
        value = *amount;
    complete(part, value);
  }
}

const json* subschema(const json& schema, const std::vector<std::string>& keys) {
  const auto* at = &schema;
  for (const auto& key : keys) {
    if (const auto i = at->find("properties"); i != at->end() && i->contains(key))
      at = &(*i)[key];
    else if (const auto k = at->find("additionalProperties"); k != at->end() && k->is_object())
      at = &*k;
    else
      return nullptr;
  }
  return at;
}

std::vector<std::string> split_path(const json& schema, const std::string& path) {
  std::vector<std::string> result;
  const auto* at = &schema;
  std::string_view rest = path;
  for (;;) {
    const auto dot = rest.find('.');
    const std::string first{rest.substr(0, dot)};
    const json* next = nullptr;
    if (at != nullptr) {
      if (const auto i = at->find("properties"); i != at->end() && i->contains(first))
        next = &(*i)[first];
      else if (const auto k = at->find("additionalProperties"); k != at->end() && k->is_object()) {
        result.emplace_back(rest);
        return result;
      }
    }
    result.push_back(first);
    if (dot == rest.npos)
      return result;
    rest.remove_prefix(dot + 1);
    at = next;
  }
}

std::vector<std::string> event_types() {
  return json::parse(event_schema_text()).at("properties").at("type").at("enum");
}

} // namespace ziyu::configs
