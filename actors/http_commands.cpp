#include "actors/http_commands.hpp"

#include "base/text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <vector>

namespace ziyu::actors {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

/// The most versions that an error names.
constexpr size_t most_names = 20;

bool takes_commands(const std::string& path) { return path == "/breaker" || path == "/models"; }

/// A folder `<name>/<version>`, also when it ends with a slash.
fs::path parent_of(const fs::path& model) {
  const auto whole = fs::absolute(model).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).parent_path();
}

std::string versions_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& x : fs::directory_iterator{folder, ignored})
    if (fs::exists(x.path() / "model.json", ignored))
      names.push_back(to_utf8(x.path().filename().string()));
  std::sort(names.begin(), names.end());
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), most_names); ++i)
    text += (i == 0 ? "" : ", ") + shorten(names[i], 40);
  return text.empty() ? "none" : text + (names.size() > most_names ? ", …" : "");
}

} // namespace

bool is_command(const http_request& x) { return x.method == "POST" && takes_commands(x.path); }

std::string methods_of(const std::string& path) {
  return takes_commands(path) ? "GET, HEAD, POST" : "GET, HEAD";
}

std::optional<http_reply> refuse_command(const http_request& x) {
  const auto& from = x.from;
  const std::string what = x.path == "/breaker" ? "the breaker can be switched"
                                                : "the model can be changed";
  if (!from.starts_with("127.") && from != "::1" && !from.starts_with("::ffff:127."))
    return http_refusal(403, what + " only from this machine, not from " + from);
  for (const auto& [name, shown] : {std::pair{"origin", "Origin"},
                                    {"forwarded", "Forwarded"},
                                    {"x-forwarded-for", "X-Forwarded-For"}})
    if (x.header(name) != nullptr)
      return http_refusal(403, what + " only by requests without the header " + shown);
  if (x.header("content-length") == nullptr)
    return http_refusal(411, "POST " + x.path + " needs a body, with Content-Length");
  return std::nullopt;
}

expected<breaker_command> parse_breaker_command(const std::string& text) {
  const auto body = json::parse(text, nullptr, false);
  breaker_command result;
  if (!body.is_object() || !body.contains("mode") || !body["mode"].is_string()
      || !from_string(body["mode"].get<std::string>(), result.mode))
    return fail(errc::invalid_usage,
                R"(expected {"mode": "auto"}, or "open" or "disable", and optionally a "reason")");
  if (const auto why = body.find("reason"); why != body.end() && !why->is_null()) {
    if (!why->is_string())
      return fail(errc::invalid_usage, "reason must be a text");
    result.why = shorten(to_utf8(why->get<std::string>()), 200);
  }
  return result;
}

expected<rollout_request> parse_rollout(const std::string& text, const fs::path& model) {
  const auto body = json::parse(text, nullptr, false);
  const auto given = body.is_object() ? body.find("version") : body.end();
  if (!body.is_object() || given == body.end() || !given->is_string())
    return fail(errc::invalid_usage, R"(expected {"version": "2"}, the name of a folder)");
  const auto name = given->get<std::string>();
  const auto parent = parent_of(model);
  std::error_code ignored;
  // A name, not a path: nobody may have any folder of the machine loaded.
  const auto is_name = !name.empty() && name != "." && name != ".." && name.size() <= 255
                       && name.find_first_of(std::string{"/\0", 2}) == std::string::npos;
  if (!is_name || !fs::is_directory(parent / name, ignored))
    return fail(errc::model_missing, "there is no version \"" + shorten(to_utf8(name), 60)
                                       + "\" in " + to_utf8(parent.string()) + ", but "
                                       + versions_in(parent));
  return rollout_request{(parent / name).string()};
}

} // namespace ziyu::actors
