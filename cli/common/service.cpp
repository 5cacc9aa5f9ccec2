#include "cli/common/service.hpp"

#include "base/ascii.hpp"
#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/json.hpp"

#include <httplib.h>

namespace ziyu::cli {

using nlohmann::json;

namespace {

/// Says more than httplib, whose texts are single words such as "Read".
std::string why(httplib::Error x) {
  switch (x) {
  case httplib::Error::Connection:
    return "no connection: nothing listens there, or it cannot be reached";
  case httplib::Error::Read:
    return "no HTTP answer came in time, or the server does not speak HTTP";
  default: return httplib::to_string(x);
  }
}

/// True unless the text after the last colon should be a port and is none.
bool has_valid_port(std::string_view url) {
  const auto colon = url.rfind(':');
  const auto bracket = url.rfind(']');
  const auto before_port = colon != std::string_view::npos
                           && (bracket == std::string_view::npos || colon > bracket);
  if (!before_port)
    return true;
  return is_port(url.substr(colon + 1));
}

/// "http://host:port" from an address with or without scheme and last slash.
expected<std::string> normalised(std::string url) {
  if (url.starts_with("https://"))
    return fail(errc::invalid_usage, url + ": the service supports http only");
  if (!url.starts_with("http://"))
    url = "http://" + url;
  constexpr auto scheme = std::string_view{"http://"}.size();
  const auto slash = url.find('/', scheme);
  if (slash != std::string::npos && slash + 1 != url.size())
    return fail(errc::invalid_usage, url + ": give no path; --ready asks /readyz");
  if (const auto host = url.substr(scheme, slash - scheme); host.empty() || !has_valid_port(host))
    return fail(errc::invalid_usage, url + ": expected host:port, with a port of 1 to 65535");
  return url.substr(0, slash);
}

} // namespace

expected<std::string> service_address(const configs::config& x) {
  if (x.http.port == 0)
    return fail(errc::invalid_usage, "http.port is 0, so the service prints its address when it"
                                     " starts: give that as URL");
  const auto& host = x.http.host;
  const auto reachable = host == "0.0.0.0" ? "127.0.0.1" : host == "::" ? "::1" : host;
  const auto is_v6 = reachable.find(':') != std::string::npos;
  return "http://" + (is_v6 ? "[" + reachable + "]" : reachable) + ":"
         + std::to_string(x.http.port);
}

void service_options::add_to(CLI::App& command) {
  command
    .add_option("url", url_,
                "host:port or http://host:port; default: the address of the configuration, else "
                "http://127.0.0.1:8080")
    ->type_name("URL");
  configuration_.add_file(command, "Configuration file of the service");
  configuration_.add_overrides(command);
}

int service_options::use(const std::function<int(const std::string& url)>& work) const {
  const auto url = find();
  return url ? work(*url) : int{exit_wrong_usage};
}

std::optional<std::string> service_options::find() const {
  if (url_.empty() && configuration_.file.empty())
    return "http://127.0.0.1:8080";
  auto url = normalised(url_);
  if (url_.empty()) {
    const auto loaded = configuration_.load();
    if (!loaded)
      return {};
    url = service_address(loaded->values);
  }
  if (url)
    return std::move(*url);
  print_error(url.error());
  return {};
}

namespace {

template <class Request>
expected<service_answer> talk(const std::string& url, const std::string& path,
                              std::chrono::milliseconds limit, Request&& request) {
  httplib::Client client{url};
  client.set_connection_timeout(limit);
  client.set_read_timeout(limit);
  client.set_write_timeout(limit);
  const auto said = request(client);
  if (!said)
    return fail(errc::unavailable, url + " does not answer: " + why(said.error()));
  service_answer result{said->status, parse_foreign(said->body)};
  if (!result.body.is_object())
    return fail(errc::io, url + path + " does not answer as ziyu does (HTTP "
                            + std::to_string(said->status) + ")");
  return result;
}

} // namespace

expected<json> body_of(const std::string& url, expected<service_answer> said, int wanted) {
  if (!said)
    return tl::unexpected(said.error());
  if (said->status != wanted)
    return fail(errc::io, url + " refuses (HTTP " + std::to_string(said->status)
                            + "): " + shown_in(said->body, "error"));
  return std::move(said->body);
}

expected<service_answer> ask_service(const std::string& url, const std::string& path,
                                     std::chrono::milliseconds limit) {
  return talk(url, path, limit, [&](httplib::Client& client) { return client.Get(path); });
}

expected<service_answer> tell_service(const std::string& url, const std::string& path,
                                      const json& body, std::chrono::milliseconds limit) {
  return talk(url, path, limit, [&](httplib::Client& client) {
    return client.Post(path, dumped(body), "application/json");
  });
}

} // namespace ziyu::cli
