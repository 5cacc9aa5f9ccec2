#include "messaging/job.hpp"

#include "base/file.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <filesystem>

namespace ziyu::messaging {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr auto job_schema = "ziyu.job.v1";

/// JSON deeper than this is no job; the parser recurses.
constexpr size_t max_depth = 32;

/// What the job says, for an error message: as UTF-8 and not all of it.
std::string excerpt(std::string_view text) { return shorten(to_utf8(text), 200); }

bool too_deep(std::string_view text) {
  size_t depth = 0, deepest = 0;
  auto in_string = false, escaped = false;
  for (auto c : text) {
    if (in_string) {
      in_string = escaped || c != '"';
      escaped = !escaped && c == '\\';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return deepest > max_depth;
}

bool looks_like_json(const record& x) {
  if (auto type = find_header(x.headers, "content-type");
      type && type->starts_with("application/json"))
    return true;
  std::string_view text = *x.value;
  if (text.starts_with("\xef\xbb\xbf"))
    text.remove_prefix(3);
  const auto first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '{';
}

tl::unexpected<error> too_large(uint64_t bytes, const job_limits& limits) {
  return fail(errc::job_too_large, "the image has " + std::to_string(bytes)
                                     + " bytes, jobs.max_bytes is "
                                     + std::to_string(limits.max_bytes));
}

int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

expected<std::string> percent_decode(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result += text[i];
      continue;
    }
    const auto high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const auto low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0)
      return fail(errc::bad_dataref, "a broken %-escape in ce_dataref");
    result += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return result;
}

/// Reads what a claim check points to (CloudEvents extension "dataref").
expected<std::string> read_dataref(const std::string& uri, const job_limits& limits) {
  if (limits.dataref_root.empty())
    return fail(errc::bad_dataref, "claim checks are off: jobs.dataref_root is not set");
  std::string_view rest = uri;
  if (!rest.starts_with("file:"))
    return fail(errc::bad_dataref, "ce_dataref must be a file: URI, not " + excerpt(uri));
  rest.remove_prefix(5);
  if (rest.starts_with("//")) { // file://host/path
    rest.remove_prefix(2);
    const auto slash = rest.find('/');
    const auto host = rest.substr(0, slash);
    if (slash == std::string_view::npos || (!host.empty() && host != "localhost"))
      return fail(errc::bad_dataref, "ce_dataref names another host: " + excerpt(uri));
    rest.remove_prefix(slash);
  }
  auto path = percent_decode(rest);
  if (!path)
    return path;
  if (path->empty() || path->find('\0') != std::string::npos)
    return fail(errc::bad_dataref, "ce_dataref holds no path");
  std::error_code status;
  const auto root = fs::canonical(limits.dataref_root, status);
  // Canonical: neither ".." nor a symbolic link leads out of the root.
  const auto file = status ? fs::path{} : fs::canonical(*path, status);
  if (status)
    return fail(errc::bad_dataref, "ce_dataref " + excerpt(uri) + ": " + status.message());
  const auto [end, unused] = std::mismatch(root.begin(), root.end(), file.begin(), file.end());
  if (end != root.end())
    return fail(errc::bad_dataref,
                "ce_dataref " + excerpt(uri) + " is outside of jobs.dataref_root");
  // Opening a pipe would wait for whoever writes to it.
  if (!fs::is_regular_file(file, status))
    return fail(errc::bad_dataref, "ce_dataref " + excerpt(uri) + " is no file");
  if (const auto size = fs::file_size(file, status); !status && size > limits.max_bytes)
    return too_large(size, limits);
  auto content = read_file(file, limits.max_bytes);
  if (!content)
    return fail(errc::bad_dataref, content.error().message);
  return content;
}

struct payload {
  std::optional<std::string> job_id;
  std::string image;
};

expected<payload> parse_json(const std::string& text, const job_limits& limits) {
  // Encoded, an image is a third larger; beyond that there is no need to parse.
  if (text.size() / 4 * 3 > limits.max_bytes + 64 * 1024)
    return too_large(text.size() / 4 * 3, limits);
  if (too_deep(text))
    return fail(errc::unknown_schema,
                "the JSON is nested more than " + std::to_string(max_depth) + " deep");
  const auto document = json::parse(text, nullptr, false);
  if (document.is_discarded())
    return fail(errc::unknown_schema, "the value begins like JSON but is none");
  if (!document.is_object())
    return fail(errc::unknown_schema, "the JSON is not an object");
  if (auto i = document.find("schema"); i != document.end() && *i != job_schema)
    return fail(errc::unknown_schema,
                "schema is " + excerpt(i->dump(-1, ' ', false, json::error_handler_t::replace))
                  + ", known is \"" + job_schema + "\"");
  payload result;
  if (auto i = document.find("job_id"); i != document.end()) {
    if (!i->is_string() || i->get_ref<const std::string&>().empty())
      return fail(errc::unknown_schema, "job_id must be a text that is not empty");
    result.job_id = i->get<std::string>();
  }
  const auto image = document.find("image");
  if (image == document.end())
    return fail(errc::missing_field, "the JSON has no field \"image\"");
  if (!image->is_string())
    return fail(errc::unknown_schema, "image must be a text in base64");
  auto bytes = base64_decode(image->get_ref<const std::string&>());
  if (!bytes)
    return fail(bytes.error().code, "image: " + bytes.error().message);
  result.image = std::move(*bytes);
  return result;
}

} // namespace

size_t job::bytes() const {
  return source.bytes() + (image == source.value || !image ? 0 : image->size());
}

std::string job_id_of(const record& source) {
  return source.key && !source.key->empty() ? to_utf8(*source.key) : to_string(source.id);
}

expected<job> decode_job(record source, const job_limits& limits) {
  job result;
  result.id = job_id_of(source);
  for (auto& [name, value] : source.headers) {
    name = to_utf8(name);
    if (value)
      value = to_utf8(*value);
  }
  result.fault = find_header(source.headers, "ziyu-fault").value_or("");
  if (auto uri = find_header(source.headers, "ce_dataref");
      uri && (!source.value || source.value->empty())) {
    auto bytes = read_dataref(*uri, limits);
    if (!bytes)
      return tl::unexpected(bytes.error());
    result.image = std::make_shared<const std::string>(std::move(*bytes));
  } else if (!source.value) {
    return fail(errc::tombstone, "the record has no value");
  } else if (source.value->empty()) {
    return fail(errc::empty_image, "the record's value is empty");
  } else if (looks_like_json(source)) {
    auto content = parse_json(*source.value, limits);
    if (!content)
      return tl::unexpected(content.error());
    if (content->job_id)
      result.id = *content->job_id;
    result.image = std::make_shared<const std::string>(std::move(content->image));
  } else {
    result.image = source.value;
  }
  if (result.image->empty())
    return fail(errc::empty_image, "the image has no bytes");
  if (result.image->size() > limits.max_bytes)
    return too_large(result.image->size(), limits);
  result.source = std::move(source);
  return result;
}

} // namespace ziyu::messaging
