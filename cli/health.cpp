// `ziyu health` shows /health or /readyz of a running service, for people, for scripts that wait,
// and for the health check of a container (without curl).

#include "base/bytes.hpp"
#include "cli/command.hpp"
#include "cli/connection.hpp"
#include "cli/drawing.hpp"
#include "cli/follow.hpp"
#include "cli/numbers.hpp"
#include "cli/service.hpp"
#include "cli/terminal.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>
#include <thread>

#include <unistd.h>

namespace ziyu::cli {

namespace {

using nlohmann::json;
using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds between_tries{100};

struct health_options {
  service_options service;
  double timeout_s = 5, wait_s = 0;
  bool ready = false, live = false, as_json = false;
  const char* path() const { return live ? "/livez" : ready ? "/readyz" : "/health"; }
};

milliseconds to_milliseconds(double seconds) {
  return milliseconds{static_cast<int64_t>(seconds * 1000)};
}

struct answer {
  bool good = false;
  json body; ///< An object.
};

/// The service's answer. `unavailable` when nothing answers, `io` when the answer is not ziyu's.
expected<answer> ask(const std::string& url, const health_options& options, milliseconds limit) {
  auto said = ask_service(url, options.path(), limit);
  if (!said)
    return tl::unexpected(said.error());
  answer result;
  result.body = std::move(said->body);
  result.good = said->status == 200
                && (options.live    ? result.body.value("status", json{}) == "ok"
                    : options.ready ? result.body.value("ready", json{}) == true
                                    : result.body.value("status", json{}) == "healthy");
  return result;
}

std::string text_of(const json& body, const char* key) {
  const auto i = body.find(key);
  return i == body.end() ? "?" : i->is_string() ? i->get<std::string>() : i->dump();
}

std::string bytes_of(const json& body, const char* key) {
  const auto i = body.find(key);
  return i != body.end() && i->is_number_integer() ? format_bytes(i->get<int64_t>()) : "?";
}

void print_row(const char* name, const std::string& text) {
  print_line(fit(name, 9) + printable(text));
}

void print_reasons(const json& body) {
  if (const auto reasons = body.find("reasons"); reasons != body.end() && reasons->is_array())
    for (const auto& reason : *reasons)
      print_row("because", reason.is_string() ? reason.get<std::string>() : reason.dump());
}

std::string kafka_of(const json& body) {
  if (body.value("consuming", json{}) != true) {
    const auto why = text_of(body, "kafka");
    return "not consuming" + (why.empty() || why == "?" ? "" : ": " + why);
  }
  const auto lag = body.value("lag_records", json{});
  char age[48] = "";
  if (const auto x = body.find("oldest_unfinished_s"); x != body.end() && x->is_number())
    std::snprintf(age, sizeof age, ", oldest job in hand %.1f s", x->get<double>());
  return "consuming, "
         + (lag.is_number() ? counted(lag.get<uint64_t>(), "record") + " behind" : "lag not known")
         + age;
}

void print_health(const json& body) {
  print_reasons(body);
  char percent[32] = "?";
  if (const auto i = body.find("memory_percent"); i != body.end() && i->is_number())
    std::snprintf(percent, sizeof percent, "%.1f", i->get<double>());
  print_row("memory", std::string{percent} + " % (" + bytes_of(body, "memory_used_bytes") + " of "
                        + bytes_of(body, "memory_limit_bytes") + ", "
                        + text_of(body, "memory_source") + "), threshold "
                        + (body.value("threshold_exceeded", json{}) == true ? "" : "not ")
                        + "exceeded");
  print_row("workers", text_of(body, "slots_up") + " of " + text_of(body, "slots") + " up, "
                         + text_of(body, "standbys") + " warm, " + text_of(body, "replacements")
                         + " replaced so far");
  print_row("jobs", text_of(body, "waiting") + " waiting, " + text_of(body, "running")
                      + " running; " + text_of(body, "results") + " results, "
                      + text_of(body, "dead_letters") + " dead letters");
  print_row("kafka", kafka_of(body));
  const auto reason = text_of(body, "breaker_reason");
  print_row("breaker", text_of(body, "breaker") + (reason.empty() ? "" : ": " + reason));
}

void print(const std::string& url, const health_options& options, const answer& x) {
  if (options.as_json) {
    print_line(x.body.dump(-1, ' ', false, json::error_handler_t::replace));
    return;
  }
  const auto status = options.live    ? (x.good ? "alive" : "not alive")
                      : options.ready ? (x.good ? "ready" : "not ready")
                                      : text_of(x.body, "status");
  print_line(
    paint(printable(status), x.good ? colour::green : colour::red, wants_colour(STDOUT_FILENO))
    + "  " + url);
  if (const auto i = x.body.find("error"); i != x.body.end())
    print_row("error", text_of(x.body, "error"));
  else if (options.ready)
    print_reasons(x.body);
  else if (!options.live)
    print_health(x.body);
}

int health(const health_options& options) {
  const auto url = options.service.find();
  if (!url)
    return exit_wrong_usage;
  const auto deadline = clock::now() + to_milliseconds(options.wait_s);
  auto said = ask(*url, options, to_milliseconds(options.timeout_s));
  while (!(said && said->good) && clock::now() < deadline) {
    std::this_thread::sleep_for(between_tries);
    said = ask(*url, options, to_milliseconds(options.timeout_s));
  }
  if (!said) {
    print_error(said.error());
    return exit_code_for(said.error());
  }
  print(*url, options, *said);
  return said->good ? exit_ok : exit_failed;
}

} // namespace

void add_health_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("health", "Show the health of a running service");
  auto options = std::make_shared<health_options>();
  options->service.add_to(*command);
  command->add_flag("--ready", options->ready,
                    "Ask only whether a job submitted now would be worked on, and if not, why");
  command
    ->add_flag("--live", options->live,
               "Ask only whether its actors answer: if they do not, restart the service")
    ->excludes("--ready");
  command
    ->add_option("--wait", options->wait_s, "Ask again until all is well, for this time at most")
    ->check(in_range(0.0, 1e6))
    ->type_name("SECONDS");
  command->add_option("--timeout", options->timeout_s, "Longest wait for each answer")
    ->check(in_range(0.001, 1e6))
    ->type_name("SECONDS")
    ->capture_default_str();
  command->add_flag("--json", options->as_json, "The answer as JSON");
  command->footer("Exit codes: 0 healthy (or ready, or alive), 1 not, 2 wrong usage, 4 no answer,\n"
                  "130 interrupted.\n"
                  "Example: ziyu health --ready --wait 60 localhost:8080");
  command->callback([options, &exit_code] { exit_code = health(*options); });
}

} // namespace ziyu::cli
