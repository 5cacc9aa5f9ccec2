#include "messaging/job_id.hpp"

#include "base/text.hpp"

#include <algorithm>

namespace ziyu::messaging {

namespace {

constexpr std::string_view prefix = "hex:";
constexpr std::string_view digits = "0123456789abcdef";

/// Whether well-formed UTF-8 holds U+0000 to U+001F or U+007F to U+009F.
bool has_controls(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte < 0x20 || byte == 0x7f)
      return true;
    if (byte == 0xc2 && i + 1 < text.size() && static_cast<uint8_t>(text[i + 1]) < 0xa0)
      return true;
  }
  return false;
}

std::string in_hex(std::string_view bytes) {
  std::string result{prefix};
  result.reserve(prefix.size() + 2 * bytes.size());
  for (const char c : bytes) {
    result += digits[static_cast<uint8_t>(c) >> 4];
    result += digits[static_cast<uint8_t>(c) & 15];
  }
  return result;
}

/// Whether a text is its own id.
bool is_plain(std::string_view text) {
  return !text.empty() && !text.starts_with(prefix) && is_utf8(text) && !has_controls(text);
}

bool is_number(std::string_view text) {
  return !text.empty()
         && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Whether `text` is what `to_string` says of a record of `topic`.
bool is_place(std::string_view text, std::string_view topic) {
  if (!text.starts_with(topic) || text.substr(topic.size(), 1) != "-")
    return false;
  text.remove_prefix(topic.size() + 1);
  const auto dash = text.find('-');
  return dash != std::string_view::npos && is_number(text.substr(0, dash))
         && is_number(text.substr(dash + 1));
}

} // namespace

std::string id_of_key(std::string_view key) {
  return is_plain(key) ? std::string{key} : in_hex(key);
}

std::optional<std::string> key_of_id(std::string_view id) {
  if (!id.starts_with(prefix))
    return is_plain(id) ? std::optional{std::string{id}} : std::nullopt;
  id.remove_prefix(prefix.size());
  if (id.size() % 2 != 0)
    return std::nullopt;
  std::string result;
  for (size_t i = 0; i < id.size(); i += 2) {
    const auto high = digits.find(id[i]), low = digits.find(id[i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos)
      return std::nullopt;
    result += static_cast<char>(high * 16 + low);
  }
  return result;
}

std::string job_id_of(const record_id& at, std::string_view key) {
  if (key.empty())
    return to_string(at);
  return is_place(key, at.topic) ? in_hex(key) : id_of_key(key);
}

std::string job_id_of(const record& source) {
  return job_id_of(source.id, source.key ? std::string_view{*source.key} : std::string_view{});
}

} // namespace ziyu::messaging
